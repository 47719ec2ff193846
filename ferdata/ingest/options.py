"""What an ingest is asked to do, and what it tells while it runs."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ferdata.errors import OptionError
from ferdata.format.codecs import CODECS, Codec, make_codec
from ferdata.images.transform import TransformOptions
from ferdata.parallel import check_workers, usable_cores
from ferdata.place import expand
from ferdata.setting import Setting, check_settings, flat
from ferdata.sources.options import ScanOptions
from ferdata.store import StrPath

__all__ = ["DEFAULT_CODEC", "Clock", "IngestOptions", "IngestProgress", "ProgressCallback"]

DEFAULT_CODEC = "compact"
_CUT = "Cut a {} split off train: a share (0.1), or so many images of each class (500)."


@flat
@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """Every setting of an ingest.

    Attributes:
        source: ``affectnet``, ``rafdb`` or ``folder``.
        src: Folder or URL of the source tree.
        out: Folder or URL the data set is written to.
        scan: What is read of the source; how faces are cropped and how many workers read it are the transform's and
            this one's.
        transform: How an image becomes a tensor. Options of this and of ``scan`` may be given by their own names
            (``size=100``).
        codec: How pixels are stored; its name will do.

    Example:
        >>> images = ferdata.TransformOptions(size=100)
        >>> ferdata.IngestOptions(source="rafdb", src="data/rafdb", out="shards/rafdb", transform=images, val=0.1).out
        'shards/rafdb'
    """

    source: str
    src: StrPath
    out: StrPath
    scan: ScanOptions = field(default_factory=ScanOptions)
    transform: TransformOptions = field(default_factory=TransformOptions)
    codec: Codec = CODECS[DEFAULT_CODEC]
    limit: Annotated[
        int | None,
        Setting(
            "Take only so many images, each split and class in its proportion.", "Splits", none="all of them", least=1
        ),
    ] = None
    val: Annotated[float | None, Setting(_CUT.format("val"), "Splits", none="none")] = None
    test: Annotated[float | None, Setting(_CUT.format("test"), "Splits", none="none")] = None
    group_by: Annotated[
        str | None,
        Setting(
            "Keep images that belong together in one split, by a field (gender) or a pattern in their path "
            "with the group in parentheses.",
            "Splits",
            none="each by itself",
        ),
    ] = None
    fold: Annotated[
        int | None,
        Setting("Read this one of the folds that the source comes in.", "Splits", none="the first", least=1),
    ] = None
    drop_leaks: Annotated[
        bool, Setting("Leave out train images whose very bytes are in another split too.", "Splits")
    ] = False
    seed: Annotated[int, Setting("Draw the order, the splits and the limit from this seed.", "Splits", least=0)] = 0
    engine: Annotated[
        str,
        Setting(
            "Work in processes here, or on a Ray cluster (RAY_ADDRESS, or one on this machine).",
            "Run",
            choices=("local", "ray"),
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
        for name in ("src", "out"):
            object.__setattr__(self, name, expand(getattr(self, name)))
        if isinstance(self.codec, str):
            object.__setattr__(self, "codec", make_codec(self.codec))
        check_settings(self)
        check_workers(self.num_workers)
        for name in ("val", "test"):
            amount = getattr(self, name)
            if amount is not None and not (0 < amount < 1 or (amount >= 1 and amount == amount // 1)):
                raise OptionError(
                    f"{name}: {amount:g} found, "
                    "expected a share of train below 1 (0.1), or how many images of each class (500)"
                )
        if sum(amount for amount in (self.val, self.test) if amount is not None and amount < 1) >= 1:
            raise OptionError(
                f"val and test: {self.val:g} and {self.test:g} of train found, expected some of it to be left; "
                "use smaller shares"
            )
        if self.group_by is not None:
            if self.val is None and self.test is None:
                raise OptionError(
                    f"group_by: {self.group_by!r} found, but no split is cut, expected val= or test= with it"
                )
            _check_group_by(self.group_by)
        scan = replace(self.scan, crop=self.transform.crop, fold=self.fold, num_workers=self.resolved_workers())
        object.__setattr__(self, "scan", scan)

    def resolved_workers(self) -> int:
        """Return the number of processes to use."""
        return self.num_workers if self.num_workers is not None else usable_cores()

    def selection_settings(self) -> dict[str, Any]:
        """Return the settings that decide which samples are where, as they stand in the index."""
        scan = ("classes", "labels", "crop", "rafdb_images", "automatic", "keep_non_emotion")
        return (
            {"limit": self.limit, "seed": self.seed}
            | {name: getattr(self.scan, name) for name in scan}
            | {name: getattr(self, name) for name in ("val", "test", "group_by", "fold", "drop_leaks")}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """Where an ingest stands.

    Attributes:
        phase: ``scan``, ``leaks``, ``check`` (codec jpeg), ``resume`` (shards are read again), ``write`` or ``finish``.
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


def _check_group_by(by: str) -> None:
    """See that a pattern is one: what has parentheses is a regular expression, anything else the name of a field.

    Raises:
        OptionError: If it is none.
    """
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise OptionError(
            f"group_by: {by!r} is no regular expression ({error}), expected one such as 'person([0-9]+)'"
        ) from error
    if "(" in by and not pattern.groups:
        raise OptionError(
            f"group_by: {by!r} found, expected parentheses around the part of the path that names the group, "
            "as in 'person([0-9]+)'"
        )
