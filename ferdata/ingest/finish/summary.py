"""What an ingest amounts to: every row of the source in exactly one of accepted, skipped, rejected.

In: counts. Out: an :class:`IngestSummary` for the screen, for ``--json`` and, without the clock, for the index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ferdata.errors import IngestError
from ferdata.format.index import DatasetIndex

__all__ = ["IngestSummary"]

_KEPT = (
    "rows",
    "accepted",
    "skipped",
    "rejected",
    "repairs",
    "label_map",
    "bytes_in",
    "bytes_out",
    "leaked_images",
    "leak_examples",
    "complete",
    "notes",
)
"""What the index keeps, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSummary:
    """The result of an ingest.

    Attributes:
        out: Folder or URL of the data set.
        source: ``affectnet``, ``fer2013``, ``folder``, ``table`` ...
        layout: Layout the source was read as.
        codec: How pixels are stored.
        rows: Rows of the source: accepted, skipped and rejected together.
        accepted: Samples written.
        skipped: Rule -> rows left out by it.
        rejected: Reason -> rows or images that cannot be used.
        repairs: Repair -> samples accepted after it.
        label_map: Class name -> the ids or words of the source that became it; at most 20 of each.
        class_counts: Split -> class name -> samples.
        bytes_in: Bytes of image files read for this data set.
        bytes_out: Bytes of all shards.
        num_shards: Shards of the data set.
        leaked_images: Different images that are, byte for byte, in more than one split.
        leak_examples: Pairs of ``split/key`` of a few of them.
        complete: Whether the counts equal a known release exactly; None where there is none to compare with.
        notes: Sentences for the user.
        scan_seconds: Time to find the items.
        seconds: Time of everything after the scan, in this run.
        images_written: Samples written in this run; those of an earlier, stopped run are not among them.
        resumed_shards: Shards found finished.
        is_new: False where the data set was there already, finished, and nothing was done.
    """

    out: str
    source: str
    layout: str
    codec: str
    rows: int
    accepted: int
    skipped: Mapping[str, int]
    rejected: Mapping[str, int]
    repairs: Mapping[str, int]
    class_counts: Mapping[str, Mapping[str, int]]
    bytes_in: int
    bytes_out: int
    num_shards: int
    leaked_images: int
    leak_examples: tuple[tuple[str, str], ...] = ()
    label_map: Mapping[str, Sequence[str]] = field(default_factory=dict)
    complete: bool | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    scan_seconds: float = 0.0
    seconds: float = 0.0
    images_written: int = 0
    resumed_shards: int = 0
    is_new: bool = True

    def __post_init__(self) -> None:
        skipped, rejected = sum(self.skipped.values()), sum(self.rejected.values())
        if self.accepted + skipped + rejected != self.rows or sum(self.samples.values()) != self.accepted:
            raise IngestError(
                f"{self.out}: {self.accepted:,} accepted, {skipped:,} skipped and {rejected:,} rejected "
                f"of {self.rows:,} rows, expected each row exactly once; this is a bug of ferdata, please report it"
            )

    @classmethod
    def from_index(cls, index: DatasetIndex, *, out: str) -> "IngestSummary":
        """Return the summary of a data set that was finished before."""
        kept = {name: index.summary[name] for name in _KEPT}
        kept |= {"leak_examples": tuple(map(tuple, kept["leak_examples"])), "notes": tuple(kept["notes"])}
        kept["label_map"] = {name: kept["label_map"][name] for name in index.classes if name in kept["label_map"]}
        return cls(
            **kept,
            out=out,
            source=index.source,
            layout=index.source_layout,
            codec=index.codec.name,
            class_counts={
                split: dict(zip(index.classes, counts, strict=True)) for split, counts in index.counts.items()
            },
            num_shards=len(index.shards),
            resumed_shards=len(index.shards),
            is_new=False,
        )

    @property
    def samples(self) -> dict[str, int]:
        """Split -> samples."""
        return {split: sum(counts.values()) for split, counts in self.class_counts.items()}

    @property
    def images_per_second(self) -> float:
        """Rate of this run, from the end of the scan to the finished index."""
        return self.images_written / self.seconds if self.seconds > 0 else 0.0

    def __repr__(self) -> str:
        samples = ", ".join(f"{split} {count:,}" for split, count in self.samples.items())
        return (
            f"IngestSummary({self.out!r}): {self.source}, layout {self.layout}; {samples}; "
            f"{sum(self.skipped.values()):,} skipped, {sum(self.rejected.values()):,} rejected; "
            f"{self.num_shards:,} shards, codec {self.codec}, {self.bytes_out / 1e6:,.1f} MB"
        )

    def to_json(self) -> dict[str, Any]:
        """Return every figure as JSON-ready values."""
        names = ("out", "source", "layout", "codec", "samples", "images_written", "resumed_shards", "is_new")
        return self.for_index() | {
            **{name: getattr(self, name) for name in names},
            "class_counts": {split: dict(counts) for split, counts in self.class_counts.items()},
            "shards": self.num_shards,
            "scan_seconds": round(self.scan_seconds, 3),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
        }

    def for_index(self) -> dict[str, Any]:
        """Return what the index keeps: the same for every run with the same source and settings."""
        values = ((name, getattr(self, name)) for name in _KEPT)
        return {name: dict(sorted(value.items())) if isinstance(value, Mapping) else value for name, value in values}
