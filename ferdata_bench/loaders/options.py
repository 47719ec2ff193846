"""What a benchmark is asked to do, and what it found.

In: the command line's choices. Out: checked options; a result that is ready for JSON, tables and plots.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ferdata.errors import OptionError
from ferdata.parallel import check_workers

__all__ = ["SWEEP_AXES", "BenchOptions", "BenchResult", "BenchRow"]

SWEEP_AXES = ("workers", "batch-size", "codec")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        shards: Folder or URL of a data set that ferdata wrote, to be measured as it is; None makes one from the source.
        source: A class-folder tree (``<class>/*.jpg``, all of one size); None writes photographs.
        num_workers: Worker processes (or threads, where a contender works with threads).
        batch_size: Images in a batch.
        against: Contenders by name; ``usual`` (what most people run), ``all`` or ``none``.
        image_size: Side in pixels of the photographs written when there is no source.
        count: How many images to write; None: 8,192 when every contender is asked for, else 2,048.
        epochs: Timed epochs of each contender, at least 3.
        min_seconds: Shortest timed run; epochs are repeated until then.
        cold: Read fresh copies that the page cache has been asked to forget, once an epoch.
        sweep: Axes to vary one at a time, out of :data:`SWEEP_AXES`.
        seed: Seed of photographs and orders.
        work: Folder for everything written; None: a folder in the user's cache, removed at the end.
        environments: Folders to look in for the extras' virtual environments; the working folder and the checkout are always looked in.
    """

    shards: str | Path | None = None
    source: Path | None = None
    num_workers: int = 8
    batch_size: int = 128
    against: Sequence[str] = ("usual",)
    image_size: int = 224
    count: int | None = None
    epochs: int = 3
    min_seconds: float = 0.5
    cold: bool = False
    sweep: Sequence[str] = ()
    seed: int = 0
    work: Path | None = None
    environments: Sequence[Path] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name, value, least in (
            ("batch-size", self.batch_size, 1),
            ("size", self.image_size, 8),
            ("count", self.count if self.count is not None else 1, 1),
            ("epochs", self.epochs, 3),
        ):
            if value < least:
                raise OptionError(f"{name}: {value} found, expected at least {least}; give a larger number")
        check_workers(self.num_workers, least=0)
        if unknown := [axis for axis in self.sweep if axis not in SWEEP_AXES]:
            raise OptionError(f"sweep: {', '.join(unknown)} found, expected axes out of {', '.join(SWEEP_AXES)}; name one of these")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One contender in one setting.

    Attributes:
        name: The contender.
        codec: How its stored images are coded.
        workers: Worker processes or threads.
        batch_size: Images in a batch.
        images_per_second: Median over the timed runs.
        spread: Best less worst, as a share of the median.
        fraction_of_ceiling: ``images_per_second`` as a share of the lower of the ceilings that apply to it; None without a ceiling.
        bytes_per_image: Stored bytes an image.
        peak_memory_bytes: Peak proportional set size of its process tree, in an epoch that is not timed.
        peak_private_bytes: The part of it that is not mapped files.
        first_batch_seconds: From building the loader to its first batch, libraries already imported.
        cpu_seconds_per_image: User and system seconds of its process tree, while timed.
        bytes_on_disk: Of all its files.
        ingest_seconds: To write them from the source; None where shards were given.
        images: In one epoch.
        runs: Images a second of each timed run.
        shuffle: What is mixed with what in an epoch.
        version: Its library's version.
        sweep: The axis of the sweep it belongs to; None for the main table.
    """

    name: str
    codec: str
    workers: int
    batch_size: int
    images_per_second: float
    spread: float
    fraction_of_ceiling: float | None
    bytes_per_image: float
    peak_memory_bytes: int
    peak_private_bytes: int
    first_batch_seconds: float
    cpu_seconds_per_image: float
    bytes_on_disk: int
    ingest_seconds: float | None
    images: int
    runs: tuple[float, ...]
    shuffle: str
    version: str | None
    sweep: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Everything a benchmark found.

    Attributes:
        conditions: Machine, versions and settings.
        ceilings: ``copy``, ``decode`` (of ferdata's default codec), ``disk``: images a second; ``decode_by_codec``; their ``spread``.
        rows: The main table, fastest first, then the sweeps' rows.
        notes: What the reader should know: who is missing and why, more workers than cores ...
        limit: One sentence on what limits this machine.
    """

    conditions: dict[str, Any]
    ceilings: dict[str, Any]
    rows: tuple[BenchRow, ...]
    notes: tuple[str, ...]
    limit: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "BenchResult":
        """Return the result that :meth:`to_json` gave."""
        rows = tuple(BenchRow(**{**row, "runs": tuple(row["runs"])}) for row in values["rows"])
        return cls(**{**values, "rows": rows, "notes": tuple(values["notes"])})
