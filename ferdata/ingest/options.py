"""What an ingest is asked to do, and what it tells while it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ferdata.errors import OptionError
from ferdata.format.codecs import Codec, make_codec
from ferdata.images.transform import TransformOptions
from ferdata.ingest.select.groups import check_group_by
from ferdata.parallel import check_workers, usable_cores
from ferdata.place import expand
from ferdata.sources.scan import ScanOptions
from ferdata.store import StrPath

__all__ = ["Clock", "IngestOptions", "IngestProgress", "ProgressCallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """Every setting of an ingest.

    Attributes:
        source: ``affectnet``, ``rafdb`` or ``folder``.
        src: Folder or URL of the source tree.
        out: Folder or URL the data set is written to.
        size: Height and width of the tensors.
        codec: How pixels are stored.
        level: zstd level; None takes the codec's own.
        engine: What runs the tasks: ``local`` processes, or a ``ray`` cluster; the bytes are the same.
        num_workers: Processes; None takes every core this process may use.
        limit: Take at most so many items, stratified by split and class; None takes all.
        seed: Of the order in the shards, the splits and the limit.
        classes: 8 or 7 AffectNet classes.
        labels: Order of numeric class folders, where they are ambiguous.
        crop: ``"box"`` cuts to the face box where the layout has one; ``"none"`` takes whole images.
        rafdb_images: ``"aligned"`` or ``"original"``.
        automatic: Add AffectNet's automatically annotated part to train.
        keep_non_emotion: Keep AffectNet's classes 8 to 10.
        val: Cuts a val split off train: a share of it below 1, or a whole number of images of each class. None cuts none.
        test: Likewise a test split.
        group_by: Keeps images that belong together in one of the cut splits: a field of theirs, or a regular expression with parentheses
            around the part of their path that names the group.
        drop_leaks: Leave out train images whose very bytes are in another split too.
        resume: Go on where a stopped run with the same settings left off; False starts afresh and removes what is there.
    """

    source: str
    src: StrPath
    out: StrPath
    size: int = 224
    codec: str = "zstd"
    level: int | None = None
    engine: str = "local"
    num_workers: int | None = None
    limit: int | None = None
    seed: int = 0
    classes: int = 8
    labels: str | None = None
    crop: str = "box"
    rafdb_images: str = "aligned"
    automatic: bool = False
    keep_non_emotion: bool = False
    val: float | None = None
    test: float | None = None
    group_by: str | None = None
    drop_leaks: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        for name in ("src", "out"):
            object.__setattr__(self, name, expand(getattr(self, name)))
        if self.engine not in ("local", "ray"):
            raise OptionError(f"engine: {self.engine!r} found, expected local or ray")
        check_workers(self.num_workers)
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"limit: {self.limit} found, expected at least 1")
        if self.seed < 0:
            raise OptionError(f"seed: {self.seed} found, expected 0 or more")
        for name in ("val", "test"):
            amount = getattr(self, name)
            if amount is not None and not (0 < amount < 1 or (amount >= 1 and amount == amount // 1)):
                raise OptionError(
                    f"{name}: {amount:g} found, expected a share of train below 1 (0.1), or how many images of each class (500)"
                )
        if sum(amount for amount in (self.val, self.test) if amount is not None and amount < 1) >= 1:
            raise OptionError(
                f"--val {self.val:g} and --test {self.test:g}: all of train found, expected some of it to be left; use smaller shares"
            )
        if self.group_by is not None:
            if self.val is None and self.test is None:
                raise OptionError(f"group-by: {self.group_by!r} found, but no split is cut, expected --val or --test with it")
            check_group_by(self.group_by)
        self.scan_options(), self.transform_options(), self.codec_options()

    def scan_options(self) -> ScanOptions:
        """Return what the scan is asked."""
        return ScanOptions(
            classes=self.classes,
            labels=self.labels,
            crop=self.crop,
            rafdb_images=self.rafdb_images,
            automatic=self.automatic,
            keep_non_emotion=self.keep_non_emotion,
            num_workers=self.resolved_workers(),
        )

    def transform_options(self) -> TransformOptions:
        """Return what the transform is asked."""
        return TransformOptions(size=self.size, crop=self.crop)

    def codec_options(self) -> Codec:
        """Return the codec with its default level where none is given."""
        return make_codec(self.codec, self.level)

    def resolved_workers(self) -> int:
        """Return the number of processes to use."""
        return self.num_workers if self.num_workers is not None else usable_cores()

    def selection_settings(self) -> dict[str, Any]:
        """Return the settings that decide which samples are where, as they stand in the index."""
        names = (
            "limit",
            "seed",
            "classes",
            "labels",
            "crop",
            "rafdb_images",
            "automatic",
            "keep_non_emotion",
            "val",
            "test",
            "group_by",
            "drop_leaks",
        )
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """Where an ingest stands.

    Attributes:
        phase: ``scan``, ``leaks``, ``check`` (codec jpeg), ``resume`` (finished shards are read), ``write`` or ``finish``.
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
        """Begin a phase, and return what is to be called with (done, total) and, by name, other fields of :class:`IngestProgress`."""
        started = time.monotonic()

        def tell(done: int = 0, total: int = 0, **counts: int) -> None:
            if self._progress is not None:
                self._progress(IngestProgress(phase=name, done=done, total=total, seconds=time.monotonic() - started, **counts))

        return tell
