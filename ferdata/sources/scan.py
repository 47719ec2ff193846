"""What a scan of a source tree gives: items, rejects, counts and notes; and the builder that readers fill.

In: the rows a layout reader finds. Out: a :class:`Scan`, columnar and bounded. Costs about 1 µs a row and 100 bytes an item.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ferdata.errors import OptionError
from ferdata.sample import ITEM_SCHEMA, ItemTable
from ferdata.sources.files.listing import printable

__all__ = ["LABEL_ORDERS", "Reject", "Scan", "ScanBuilder", "ScanOptions"]

_MAX_DETAIL_CHARS = 1000
LABEL_ORDERS = ("affectnet", "rafdb", "alphabetical")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """What the user asks of a scan.

    Attributes:
        classes: 8 or 7 AffectNet classes; 7 skips Contempt. RAF-DB basic always has 7.
        labels: Order of numeric class folders, one of ``LABEL_ORDERS``; None asks where it is ambiguous.
        crop: ``"box"`` rejects items whose face box is unusable; ``"none"`` keeps them without a box.
        rafdb_images: ``"aligned"`` or ``"original"`` images of RAF-DB.
        automatic: Read AffectNet's automatically annotated part too, as part of the train split.
        keep_non_emotion: Keep AffectNet ids 8..10 as classes of their own.
        num_workers: Threads or processes that read annotation files.
    """

    classes: int = 8
    labels: str | None = None
    crop: str = "none"
    rafdb_images: str = "aligned"
    automatic: bool = False
    keep_non_emotion: bool = False
    num_workers: int = 2

    def __post_init__(self) -> None:
        if self.classes not in (7, 8):
            raise OptionError(f"classes: {self.classes} found, expected 8 or 7")
        if self.labels is not None and self.labels not in LABEL_ORDERS:
            raise OptionError(f"labels: {self.labels!r} found, expected one of {', '.join(LABEL_ORDERS)}")
        if self.crop not in ("box", "none"):
            raise OptionError(f"crop: {self.crop!r} found, expected box or none")
        if self.rafdb_images not in ("aligned", "original"):
            raise OptionError(f"rafdb-images: {self.rafdb_images!r} found, expected aligned or original")
        if self.num_workers < 1:
            raise OptionError(f"workers: {self.num_workers} found, expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One source row or image that cannot be used, and why."""

    path: str
    reason: str
    detail: str
    split: str = ""
    row: int | None = None
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Everything a source holds, sorted out: each row is accepted, skipped or rejected.

    Attributes:
        source: ``affectnet``, ``rafdb`` or ``folder``.
        layout: Name of the layout as in the layout specification, e.g. ``AN-npy``.
        root: Folder or URL the item paths are relative to.
        classes: Class names; an item's label is an index into them.
        items: Accepted items, in the source's own natural order, split by split.
        rejects: Unusable rows and images.
        skipped: Rule -> number of rows left out by a rule the user can change (``contempt``, ``not_emotion``).
        repairs: Repair -> number of rows accepted after it (``box_clamped``, ``va_invalid`` ...).
        notes: Sentences for the user: layout found, completeness against the known totals, warnings.
        complete: True if the counts equal a known release exactly, False if they differ, None if there is none to compare.
        has_originals: The images are the original photographs, where the layout also has crops of one size.
    """

    source: str
    layout: str
    root: str
    classes: tuple[str, ...]
    items: ItemTable
    rejects: list[Reject] = field(default_factory=list)
    skipped: Mapping[str, int] = field(default_factory=dict)
    repairs: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool | None = None
    has_originals: bool = False


class ScanBuilder:
    """Collects rows into columns while a layout is read."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.skipped: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self.notes: list[str] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in ITEM_SCHEMA.names}
        self._batches: list[pa.RecordBatch] = []

    def accept(
        self,
        *,
        key: str,
        path: str,
        split: str,
        label: int,
        source_label: str,
        valence: float | None = None,
        arousal: float | None = None,
        box: Sequence[float] | None = None,
        landmarks: Sequence[float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one item; arguments as the attributes of :class:`ferdata.sample.SourceItem`.

        A path that is not UTF-8 on the disk cannot be written down and found again, so it becomes a reject.
        """
        if not path.isascii() and printable(path) != path:
            self.reject(path, "name_invalid", "the file's name or a folder's is not UTF-8; rename it", split=split, key=key)
            return
        columns = self._columns
        columns["key"].append(key)
        columns["path"].append(path)
        columns["split"].append(split)
        columns["label"].append(label)
        columns["source_label"].append(source_label)
        columns["valence"].append(valence)
        columns["arousal"].append(arousal)
        columns["box"].append(box)
        columns["landmarks"].append(landmarks)
        columns["extra"].append(json.dumps(extra, sort_keys=True) if extra else None)
        if len(columns["key"]) == 8192:
            self._flush()

    def reject(self, path: str, reason: str, detail: str, *, split: str = "", row: int | None = None, key: str = "") -> None:
        """Record a row or image that cannot be used; of a detail that is no sentence any more only the start is kept."""
        if len(detail) > _MAX_DETAIL_CHARS:
            detail = f"{detail[:_MAX_DETAIL_CHARS]} ..."
        self.rejects.append(Reject(path=printable(path), reason=reason, detail=printable(detail), split=split, row=row, key=key))

    def build(self, *, source: str, layout: str, root: str, classes: Sequence[str], complete: bool | None = None) -> Scan:
        """Return the finished scan."""
        self._flush()
        table = pa.Table.from_batches(self._batches, schema=_PLAIN_SCHEMA)
        return Scan(
            source=source,
            layout=layout,
            root=root,
            classes=tuple(classes),
            items=ItemTable(table),
            rejects=self.rejects,
            skipped=dict(self.skipped),
            repairs=dict(self.repairs),
            notes=self.notes,
            complete=complete,
        )

    def _flush(self) -> None:
        if self._columns["key"]:
            self._batches.append(pa.RecordBatch.from_pydict(self._columns, schema=_PLAIN_SCHEMA))
            self._columns = {name: [] for name in ITEM_SCHEMA.names}


_PLAIN_SCHEMA = pa.schema([(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in ITEM_SCHEMA])
