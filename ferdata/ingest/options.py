"""What an ingest is asked to do, and what it tells while it runs."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ferdata.errors import OptionError
from ferdata.format.codecs import CODECS, Codec, make_codec
from ferdata.images.transform import TransformOptions
from ferdata.ingest.split_options import SplitOptions
from ferdata.parallel import ENGINES, check_workers, usable_cores
from ferdata.place import expand
from ferdata.setting import Setting, check_settings, flat
from ferdata.sources.options import ScanOptions
from ferdata.store import StrPath

__all__ = ["DEFAULT_CODEC", "Clock", "IngestOptions", "IngestProgress", "ProgressCallback"]

DEFAULT_CODEC = "compact"


@flat
@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """Every setting of an ingest.

    Attributes:
        source: ``affectnet``, ``fer2013``, ``folder``, ``table`` ...: whose images they are.
        src: Folder or URL of the source tree. With ``table``, also images that Python has: an iterable of
            ``(image, label)`` or ``(image, label, record)``, a Hugging Face data set, or a dict of splits of either.
        out: Folder or URL the data set is written to.
        scan: What is read of the source; how faces are cropped and how many workers read it are the transform's and
            this one's.
        transform: How an image becomes a tensor. Options of this, of ``scan`` and of ``splits`` may be given by their
            own names (``size=100``).
        codec: How pixels are stored; its name will do.
        splits: Which images are taken, and into which splits.

    Example:
        >>> images = ferdata.TransformOptions(size=100)
        >>> ferdata.IngestOptions(source="rafdb", src="data/rafdb", out="shards/rafdb", transform=images, val=0.1).out
        'shards/rafdb'
    """

    source: str
    src: StrPath | Iterable[Any]
    out: StrPath
    scan: ScanOptions = field(default_factory=ScanOptions)
    transform: TransformOptions = field(default_factory=TransformOptions)
    codec: Codec = CODECS[DEFAULT_CODEC]
    splits: SplitOptions = field(default_factory=SplitOptions)
    seed: Annotated[int, Setting("Draw the order, the splits and the limit from this seed.", "Splits", least=0)] = 0
    engine: Annotated[
        str,
        Setting(
            "Work in processes here, or on a Ray cluster (RAY_ADDRESS, or one on this machine).",
            "Run",
            choices=ENGINES,
        ),
    ] = "local"
    num_workers: Annotated[
        int | None, Setting("Start this many worker processes.", "Run", none="one per core", flag="--workers")
    ] = None
    resume: Annotated[
        bool,
        Setting(
            "Go on with a stopped run of the same settings, or remove what is there and start anew.",
            "Run",
            flag="--resume/--fresh",
        ),
    ] = True

    def __post_init__(self) -> None:
        for name, place in (("src", self.src), ("out", self.out)):
            if isinstance(place, (str, os.PathLike)):
                object.__setattr__(self, name, expand(place))
        is_sequence = hasattr(self.src, "__iter__") or hasattr(self.src, "__getitem__")
        if not self.is_of_files and (self.source != "table" or not is_sequence):
            raise OptionError(
                f"src: a {type(self.src).__name__} found, expected a folder or URL, or with source 'table' an iterable "
                "of (image, label); change it"
            )
        if isinstance(self.codec, str):
            object.__setattr__(self, "codec", make_codec(self.codec))
        check_settings(self)
        check_workers(self.num_workers)
        if self.codec.needs_source and self.transform.channels == 1:
            raise OptionError(
                f"codec: {self.codec.name} found with channels=1, expected 3 with it, since files are kept as they are "
                f"and decoded in colour; use codec={DEFAULT_CODEC}, or leave channels= out"
            )
        scan = replace(
            self.scan,
            crop=self.transform.crop,
            fold=self.splits.official_fold,
            num_workers=self.resolved_workers(),
        )
        object.__setattr__(self, "scan", scan)

    @property
    def is_of_files(self) -> bool:
        """Whether the source is on a disk or behind a URL, and not in Python."""
        return isinstance(self.src, (str, os.PathLike))

    def place(self) -> str:
        """Return the folder or URL of the source.

        Raises:
            OptionError: If it is in Python.
        """
        if not isinstance(self.src, (str, os.PathLike)):
            raise OptionError("src: images in Python found, expected a folder or URL; write them with a codec first")
        return os.fspath(self.src)

    def resolved_workers(self) -> int:
        """Return the number of processes to use."""
        return self.num_workers if self.num_workers is not None else usable_cores()

    def selection_settings(self) -> dict[str, Any]:
        """Return the settings that decide which samples are where, as they stand in the index."""
        scan = ("classes", "labels", "crop", "rafdb_images", "automatic", "frames", "keep_non_emotion", "votes")
        return {"seed": self.seed} | {name: getattr(self.scan, name) for name in scan} | self.splits.to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """Where an ingest stands.

    Attributes:
        phase: ``spool`` (images from Python), ``scan``, ``leaks``, ``check`` (codec jpeg), ``resume`` (shards are read
            again), ``write`` or ``finish``.
        done: Images dealt with, those of an earlier, stopped run included.
        total: Images to deal with in this phase; 0 while that is not known.
        accepted: Images stored so far in this run.
        rejected: Images rejected so far in this run.
        bytes_in: Bytes of image files read in this run.
        seconds: Since this phase began.
    """

    phase: str
    done: int = 0
    total: int = 0
    accepted: int = 0
    rejected: int = 0
    bytes_in: int = 0
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Rate of this run."""
        return (self.accepted + self.rejected) / self.seconds if self.seconds > 0 else 0.0


ProgressCallback = Callable[[IngestProgress], None]


class Clock:
    """Tells a callback where an ingest stands, phase by phase."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self._progress = progress

    def phase(self, name: str) -> Callable[..., None]:
        """Begin a phase; return what to call with (done, total) and, by name, fields of :class:`IngestProgress`."""
        started = time.monotonic()

        def tell(done: int = 0, total: int = 0, **counts: int) -> None:
            if self._progress is not None:
                self._progress(
                    IngestProgress(phase=name, done=done, total=total, seconds=time.monotonic() - started, **counts)
                )

        return tell
