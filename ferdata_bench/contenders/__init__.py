"""The contenders: other ways to feed the same images, a small module each, found by name; ferdata's rows are one.

In: a class-folder tree of JPEG files at their final size. Out: shuffled uint8 batches and labels in the main process.
Importing this package imports no contender's library; :func:`load` does.
"""

import ast
import ctypes.util
import importlib
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from ferdata.errors import OptionError

if TYPE_CHECKING:
    import torch

__all__ = ["CONTENDERS", "EXTRAS", "OURS", "Batch", "Contender", "Entry", "choose", "find", "load"]

Batch: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Images uint8 ``[N, 3, H, W]`` in any memory order, and integer labels ``[N]``."""


class Contender(Protocol):
    """What every contender module has.

    Attributes:
        NAME: Its name in tables.
        CODEC: How a stored image is coded: ``jpeg``, ``raw``, ``zstd``, ``float32`` ...
        SHUFFLE: What is mixed with what in one epoch, in a few words.
        LOSSLESS: Whether its pixels are exactly Pillow's; otherwise they only have to be near (another JPEG decoder).

    A module whose labels are not places in the sorted class names has ``class_names(out)`` too, its own names by label.
    """

    NAME: str
    CODEC: str
    SHUFFLE: str
    LOSSLESS: bool

    def ingest(self, source: Path, out: Path) -> None:
        """Turn the class folders of ``source`` into this contender's own files below ``out`` (not there yet)."""

    def batches(self, out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
        """Return an object that gives one shuffled epoch each time it is iterated, every sample exactly once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a contender lives.

    Attributes:
        name: Its name on the command line and in tables.
        environment: The virtual environment its library needs; empty for the one ferdata runs in.
        requires: Modules that must be importable there.
        commands: Programs that must be on the path.
        libraries: System libraries that must be there.
        stored: Its bytes on disk as a fraction of the pixels' own, roughly, to see whether the disk has room.
        decoder: ``module:function`` that makes the decode ceiling's job of its files; empty where there is none.
        codec: The shards' codec, of ferdata's own rows.
        usual: Whether it is measured by default; these few leave time for a first look.
        shares: The entry before it whose files it reads; it ingests nothing.
    """

    name: str
    environment: str = ""
    requires: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    stored: float = 1.1
    decoder: str = ""
    codec: str = ""
    usual: bool = False
    shares: str = ""

    @property
    def module(self) -> str:
        """Dotted name of the module; ferdata's own rows, which have a codec, are one."""
        return f"{__name__}.{'ferdata_shards' if self.codec else self.name.replace('-', '_')}"

    def usage(self) -> str:
        """Return what its module says of how it reads and shuffles, without importing it."""
        spec = importlib.util.find_spec(self.module)
        assert spec is not None and spec.origin is not None
        said = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
        return " ".join(said.split()).replace("``", "`")

    def version(self) -> str | None:
        """Return the installed version of its library, the first of ``requires``."""
        if not self.requires:
            return None
        package = self.requires[0].partition(".")[0]
        for distribution in importlib.metadata.packages_distributions().get(package, []):
            if self.requires[0].partition(".")[2] in distribution:
                return f"{distribution} {importlib.metadata.version(distribution)}"
        return None

    def available(self) -> str | None:
        """Return None if it can run in this interpreter, else the reason it can't."""
        absent = [module for module in self.requires if not _importable(module)]
        absent += [f"the command {command}" for command in self.commands if shutil.which(command) is None]
        absent += [
            f"the system library {library}" for library in self.libraries if ctypes.util.find_library(library) is None
        ]
        return f"not installed: {', '.join(absent)}" if absent else None


_DECODER = "ferdata_bench.contenders.ferdata_shards:decoding"

OURS: tuple[Entry, ...] = (
    Entry(name="ferdata-raw", codec="raw", decoder=_DECODER),
    Entry(name="ferdata-zstd", codec="zstd", decoder=_DECODER),
    Entry(name="ferdata-compact", codec="compact", decoder=_DECODER),
    Entry(name="ferdata-jpeg", codec="jpeg", stored=0.2, decoder=_DECODER),
    Entry(name="ferdata-resident-compact", codec="compact", shares="ferdata-compact", stored=0.0),
    Entry(name="ferdata-device-compact", codec="compact", shares="ferdata-compact", stored=0.0, libraries=("cuda",)),
    Entry(name="ferdata-dataloader-raw", codec="raw", shares="ferdata-raw", stored=0.0),
    Entry(name="ferdata-dataloader-zstd", codec="zstd", shares="ferdata-zstd", stored=0.0),
    Entry(name="ferdata-dataloader-compact", codec="compact", shares="ferdata-compact", stored=0.0),
    Entry(name="ferdata-plain-raw", codec="raw", shares="ferdata-raw", stored=0.0),
    Entry(name="ferdata-plain-zstd", codec="zstd", shares="ferdata-zstd", stored=0.0),
    Entry(name="ferdata-plain-compact", codec="compact", shares="ferdata-compact", stored=0.0),
)
"""ferdata's own rows, in every run: the loader, one whose samples are in memory, one that decodes on a GPU where there
is one, and ``DataLoader``s: over its batches, and over samples."""

EXTRAS: tuple[Entry, ...] = (
    Entry(name="ffcv-raw", environment=".venv-ffcv", requires=("ffcv",)),
    Entry(name="ffcv-jpg", stored=0.2, environment=".venv-ffcv", requires=("ffcv",)),
    Entry(name="spdl-npy", environment=".venv-extras", requires=("spdl",)),
    Entry(name="spdl-jpg", stored=0.2, environment=".venv-extras", requires=("spdl",), libraries=("avdevice",)),
    Entry(name="dali", stored=0.2, environment=".venv-extras", requires=("nvidia.dali",)),
    Entry(name="grain-raw", environment=".venv-extras", requires=("grain", "array_record")),
    Entry(name="litdata-raw", environment=".venv-extras", requires=("litdata",)),
    Entry(name="litdata-jpeg", stored=0.2, environment=".venv-extras", requires=("litdata", "torchvision")),
    Entry(name="streaming-raw", environment=".venv-extras", requires=("streaming",)),
    Entry(name="streaming-jpeg", stored=0.2, environment=".venv-extras", requires=("streaming", "torchvision")),
    Entry(name="lance-raw", environment=".venv-extras", requires=("lance",)),
    Entry(name="lance-jpeg", stored=0.2, environment=".venv-extras", requires=("lance", "torchvision")),
    Entry(name="datasets-raw", environment=".venv-datasets", requires=("datasets",)),
    Entry(name="datasets-jpeg", stored=0.2, environment=".venv-datasets", requires=("datasets",)),
    Entry(name="webshart-jpeg", stored=0.2, environment=".venv-extras", requires=("webshart", "torchvision")),
    Entry(name="datago", stored=0.2, environment=".venv-extras", requires=("datago",)),
)
"""Contenders whose libraries are not among ferdata's own dependencies."""

CONTENDERS: tuple[Entry, ...] = (
    Entry(name="imagefolder-pillow", usual=True, stored=0.2, requires=("torchvision",)),
    Entry(name="imagefolder-torchvision", usual=True, stored=0.2, requires=("torchvision",)),
    Entry(name="pickle-batches", stored=4.1),
    Entry(name="webdataset-jpeg", usual=True, stored=0.2, requires=("webdataset", "torchvision")),
    Entry(name="webdataset-npy", requires=("webdataset", "zstandard"), commands=("zstd",)),
    Entry(name="memmap", usual=True),
    *EXTRAS,
)
"""Every contender, in the order of tables."""


def _importable(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the package around it is missing
        return False
    return spec is not None and spec.origin is not None  # a folder that happens to bear the name has no origin


def choose(against: Iterable[str]) -> list[Entry]:
    """Return the contenders that ``against`` names, in table order.

    ``all`` stands for every contender, ``usual`` for what most people run, ``none`` for no contender; otherwise names,
    of which a part up to a dash stands for all that begin so (``ffcv`` for ``ffcv-raw`` and ``ffcv-jpg``).

    Raises:
        OptionError: If a name is unknown.
    """
    chosen: set[str] = set()
    for word in against:
        names = {
            entry.name
            for entry in CONTENDERS
            if word in ("all", entry.name) or (word == "usual" and entry.usual) or entry.name.startswith(f"{word}-")
        }
        if not names and word != "none":
            known = ", ".join(entry.name for entry in CONTENDERS)
            raise OptionError(
                f"against: {word!r} found, expected all, usual, none or names out of {known}; name one of these"
            )
        chosen |= names
    return [entry for entry in CONTENDERS if entry.name in chosen]


def find(name: str) -> Entry:
    """Return the entry with this full name.

    Raises:
        OptionError: If the name is unknown.
    """
    for entry in (*OURS, *CONTENDERS):
        if entry.name == name:
            return entry
    raise OptionError(
        f"contender: {name!r} found, expected one of {', '.join(entry.name for entry in CONTENDERS)}; name one of these"
    )


def load(entry: Entry) -> Contender:
    """Import a contender's module, and with it its library."""
    module = importlib.import_module(entry.module)
    return cast(Contender, module.contender(entry) if entry.codec else module)
