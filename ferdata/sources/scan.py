"""What a scan of a source tree gives: items, rejects, counts and notes; and the builder that readers fill.

In: the rows a reader finds. Out: a :class:`Scan`, columnar and bounded. Costs about 1 µs and 20 bytes a row.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import SourceError
from ferdata.sample import soft_labels_problem
from ferdata.sources.files.listing import printable
from ferdata.sources.files.matching import KeyMaker
from ferdata.sources.items import ITEM_SCHEMA, ItemTable
from ferdata.sources.spill import Spill

__all__ = ["Reject", "Scan", "ScanBuilder", "Verdict", "judge_image", "rejected"]

_MAX_DETAIL_CHARS = 1000
_ROWS_AT_ONCE = 8192
_BATCHES_IN_MEMORY = 4
"""The rows of more wait on the disk: an item with landmarks takes 700 bytes."""


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
        source: ``affectnet``, ``fer2013``, ``folder``, ``table`` ...
        layout: Name of the layout as in the layout specification, e.g. ``AN-npy``.
        root: Folder or URL the item paths are relative to.
        classes: Class names; an item's label is an index into them.
        items: Accepted items, in the source's own natural order, split by split.
        rejects: Unusable rows and images.
        skipped: Rule -> number of rows left out by a rule the user can change (``contempt``, ``not_emotion``).
        repairs: Repair -> number of rows accepted after it (``box_clamped``, ``va_invalid`` ...).
        notes: Sentences for the user: layout found, completeness against the known totals, warnings.
        complete: True if the counts equal a known release exactly, False if they differ, None if none is known.
        side: Width and height of the images in pixels, where all of them should have the same.
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
    side: int | None = None


class Verdict(NamedTuple):
    """What becomes of one row.

    Attributes:
        outcome: ``accepted``; ``rejected``, as it cannot be used; or ``skipped`` by a rule of the user's.
        reason: Why it is not accepted; the same word for all rows alike.
        detail: What of this row is wrong.
        class_name: The class of a row that is accepted or skipped.
        label: Its index among the classes of the scan, if it is accepted.
    """

    outcome: Literal["accepted", "rejected", "skipped"]
    reason: str = ""
    detail: str = ""
    class_name: str = ""
    label: int = -1


def rejected(reason: str, detail: str) -> Verdict:
    """Return the verdict on a row that cannot be used."""
    return Verdict("rejected", reason, detail)


def judge_image(found: Sequence[str], missing: str) -> Verdict | None:
    """Reject a row that can mean no image, with the detail ``missing``, or several; None where it means one."""
    if not found:
        return rejected("image_missing", missing)
    return rejected("image_ambiguous", f"can be {' or '.join(found)}") if len(found) > 1 else None


class ScanBuilder:
    """Collects rows into columns while a layout is read.

    Attributes:
        rejects, skipped, repairs, notes: As in the :class:`Scan`.
        keys: Makes the items' keys unique.
        left_out: (split, class name) -> rows skipped, for the comparison with known totals.
        automatic: The same for accepted and skipped rows of the automatically annotated part, which has its own totals.
        is_automatic: Whether rows of that part are being read.
    """

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.skipped: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self.notes: list[str] = []
        self.keys = KeyMaker()
        self.left_out: Counter[tuple[str, str]] = Counter()
        self.automatic: Counter[tuple[str, str]] = Counter()
        self.is_automatic = False
        self._columns: list[list[Any]] = [[] for _ in ITEM_SCHEMA]
        self._batches: list[pa.RecordBatch] = []
        self._spill: Spill | None = None

    def passes(self, verdict: Verdict, path: str, *, split: str, row: int | None = None, key: str = "") -> bool:
        """Tell whether a row is accepted; one that is not is written down as a reject or counted as a skip."""
        if self.is_automatic and verdict.class_name:
            self.automatic[split, verdict.class_name] += 1
        if verdict.outcome == "rejected":
            self.reject(path, verdict.reason, verdict.detail, split=split, row=row, key=key)
        elif verdict.outcome == "skipped":
            self.skipped[verdict.reason] += 1
            self.left_out[split, verdict.class_name] += 1
        return verdict.outcome == "accepted"

    def accept(
        self,
        key: str,
        path: str,
        split: str,
        label: int,
        source_label: str,
        *,
        valence: float | None = None,
        arousal: float | None = None,
        box: Sequence[float] | None = None,
        landmarks: Sequence[float] | None = None,
        person: str | None = None,
        sequence: str | None = None,
        soft_labels: Sequence[float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one item; arguments as the attributes of :class:`ferdata.sample.SourceItem`.

        A path that is not UTF-8 on the disk cannot be written down and found again, so it becomes a reject.
        """
        if not path.isascii() and printable(path) != path:
            why = "the file's name or a folder's is not UTF-8; rename it"
            self.reject(path, "name_invalid", why, split=split, key=key)
            return
        more = json.dumps(extra, sort_keys=True) if extra else None
        row = (key, path, split, label, source_label, valence, arousal, box, landmarks, person, sequence, soft_labels)
        for column, value in zip(self._columns, (*row, more), strict=True):
            column.append(value)
        if len(self._columns[0]) == _ROWS_AT_ONCE:
            self._flush()

    def reject(
        self, path: str, reason: str, detail: str, *, split: str = "", row: int | None = None, key: str = ""
    ) -> None:
        """Record a row or image that cannot be used; of a very long detail only the start is kept."""
        if len(detail) > _MAX_DETAIL_CHARS:
            detail = f"{detail[:_MAX_DETAIL_CHARS]} ..."
        path, detail = printable(path), printable(detail)
        self.rejects.append(Reject(path=path, reason=reason, detail=detail, split=split, row=row, key=key))

    def reject_unlabelled(self, paths: Iterable[str], why: str, *, split: str = "") -> None:
        """Reject images that have no label."""
        for path in paths:
            self.reject(path, "label_missing", why, split=split)

    def build(self, *, source: str, layout: str, root: str, classes: Sequence[str]) -> Scan:
        """Return the finished scan.

        Raises:
            SourceError: If soft labels are not one probability per class.
        """
        self._flush()
        spilled = None if self._spill is None else self._spill.finish()
        table = pa.Table.from_batches(self._batches, schema=_PLAIN_SCHEMA) if spilled is None else spilled.table
        soft = table.column("soft_labels").drop_null()
        lengths, values = pc.list_value_length(soft).to_numpy(), pc.list_flatten(soft).to_numpy()
        if problem := soft_labels_problem(lengths, values, len(classes)):
            raise SourceError(f"{root}: {problem}; correct the soft labels of this source")
        return Scan(
            source=source,
            layout=layout,
            root=root,
            classes=tuple(classes),
            items=ItemTable(table, spilled),
            rejects=self.rejects,
            skipped=dict(+self.skipped),
            repairs=dict(+self.repairs),
            notes=self.notes,
        )

    def _flush(self) -> None:
        if self._columns[0]:
            columns = dict(zip(ITEM_SCHEMA.names, self._columns, strict=True))
            self._batches.append(pa.RecordBatch.from_pydict(columns, schema=_PLAIN_SCHEMA))
            self._columns = [[] for _ in ITEM_SCHEMA]
        if len(self._batches) > _BATCHES_IN_MEMORY or self._spill is not None:
            self._spill = self._spill or Spill(_PLAIN_SCHEMA)
            while self._batches:
                self._spill.add(self._batches.pop(0))


_PLAIN_SCHEMA = pa.schema(
    [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in ITEM_SCHEMA]
)
