"""What a benchmark is asked to do, and what it found.

In: the command line's choices. Out: checked options; a result that is ready for JSON, tables and plots.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ferdata.errors import OptionError
from ferdata.parallel import check_workers
from ferdata.setting import Setting, check_settings

__all__ = ["SWEEP_AXES", "BenchOptions", "BenchResult", "BenchRow"]

SWEEP_AXES = ("workers", "batch-size", "codec")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        shards: Folder or URL of a data set that ferdata wrote, to be measured as it is; None makes one from the source.
        source: A class-folder tree (``<class>/*.jpg``, all of one size); None writes photographs.
        min_seconds: Shortest timed run; epochs are repeated until then.
        seed: Seed of photographs and orders.
        work: Folder for everything written; None: a folder in the user's cache, removed at the end.
        environments: Folders to look in for the extras' environments, beside the working folder and the checkout.
    """

    shards: str | Path | None = None
    source: Path | None = None
    against: Annotated[
        Sequence[str],
        Setting("Measure these contenders, comma-separated, beside ferdata: names, usual, all or none.", "Measurement"),
    ] = ("usual",)
    sweep: Annotated[
        Sequence[str], Setting("Vary these, one at a time: workers, batch-size, codec; comma-separated.", "Measurement")
    ] = ()
    num_workers: Annotated[
        int, Setting("Give each contender this many worker processes.", "Measurement", flag="--workers")
    ] = 8
    batch_size: Annotated[int, Setting("Put this many images in a batch.", "Measurement", least=1)] = 128
    epochs: Annotated[
        int, Setting("Time at least this many epochs of each contender, 3 or more.", "Measurement", least=3)
    ] = 3
    cold: Annotated[bool, Setting("Read fresh copies that the page cache has been asked to forget.", "Measurement")] = (
        False
    )
    size: Annotated[
        int, Setting("Write photographs of this side in pixels.", "Where no data set is given", least=8)
    ] = 224
    count: Annotated[
        int | None,
        Setting(
            "Write this many photographs.",
            "Where no data set is given",
            none="2,048, or 8,192 for all contenders",
            least=1,
        ),
    ] = None
    min_seconds: float = 0.5
    seed: int = 0
    work: Path | None = None
    environments: Sequence[Path] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        check_settings(self)
        check_workers(self.num_workers, least=0)
        if unknown := [axis for axis in self.sweep if axis not in SWEEP_AXES]:
            raise OptionError(
                f"sweep: {', '.join(unknown)} found, expected axes out of {', '.join(SWEEP_AXES)}; name one of these"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One contender in one setting.

    Attributes:
        name: The contender.
        codec: How its stored images are coded.
        workers: Worker processes or threads.
        batch_size: Images in a batch.
        images_per_second: Median over the timed runs.
        spread: Best minus worst, as a fraction of the median.
        fraction_of_ceiling: ``images_per_second`` over the lowest ceiling that applies to it; None without a ceiling.
        bytes_per_image: Stored bytes per image.
        peak_memory_bytes: Peak proportional set size of its process tree, in an epoch that is not timed.
        peak_private_bytes: The part of it that is not mapped files.
        first_batch_seconds: From building the loader to its first batch, libraries already imported.
        cpu_seconds_per_image: User and system seconds of its process tree, while timed.
        bytes_on_disk: Of all its files.
        ingest_seconds: To write them from the source; None if shards were given.
        images: In one epoch.
        runs: Images per second of each timed run.
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
        ceilings: ``copy``, ``decode`` (of ferdata's default codec), ``disk``: images per second; ``decode_by_codec``;
            their ``spread``.
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
