"""The items of a source as a table.

In: what a source reader found. Out: columns, in memory or on the disk.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ferdata.sample import SourceItem
from ferdata.sources.spill import SpilledTable

__all__ = ["ITEM_SCHEMA", "ItemTable"]

ITEM_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.string()),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("label", pa.int16()),
        ("source_label", pa.dictionary(pa.int16(), pa.string())),
        ("valence", pa.float64()),
        ("arousal", pa.float64()),
        ("box", pa.list_(pa.float32())),
        ("landmarks", pa.list_(pa.float32())),
        ("person", pa.dictionary(pa.int32(), pa.string())),
        ("sequence", pa.dictionary(pa.int32(), pa.string())),
        ("soft_labels", pa.list_(pa.float32())),
        ("extra", pa.string()),
    ]
)
"""Columns of an :class:`ItemTable`; null: the source has no such value; ``extra`` is a JSON object as text."""


class ItemTable:
    """Source items as columns; behaves as a read-only sequence of :class:`SourceItem`."""

    def __init__(self, table: pa.Table, spilled: SpilledTable | None = None) -> None:
        self.table = table.cast(ITEM_SCHEMA).unify_dictionaries()
        self._spilled = spilled

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, position: int) -> SourceItem:
        return _item(self.table.slice(position, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[SourceItem]:
        for batch in self.table.to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                yield _item(row)

    def take(self, positions: "np.ndarray | Sequence[int]") -> "ItemTable":
        """Return the items at ``positions``, in that order."""
        return ItemTable(self.rows(positions))

    def rows(self, positions: "np.ndarray | Sequence[int]", columns: Sequence[str] | None = None) -> pa.Table:
        """Return all columns or some of the items at ``positions``, in that order, in memory of their own."""
        wanted, table = np.asarray(positions, np.int64), self.table.select(columns or self.table.column_names)
        # From each chunk alone: of texts and lists in several, pyarrow makes one copy of all before it takes any.
        batches, order = table.to_batches(), np.argsort(wanted, kind="stable")
        ends = np.cumsum([0, *map(len, batches)], dtype=np.int64)
        cuts = np.searchsorted(wanted[order], ends).tolist()
        parts = [
            batch.take(pa.array(wanted[order[start:stop]] - first))
            for batch, first, start, stop in zip(batches, ends.tolist(), cuts, cuts[1:], strict=False)
            if stop > start
        ]
        found = pa.Table.from_batches(parts, table.schema).combine_chunks().take(pa.array(np.argsort(order)))
        if self._spilled is not None:
            self._spilled.rest()
        return found

    def labels(self) -> np.ndarray:
        """Return int64 ``[len]``, the class index of every item."""
        return np.asarray(self.table.column("label"), np.int64)

    def splits(self) -> list[str]:
        """Return the split names present, in the order train, val, test."""
        present = set(self.table.column("split").unique().to_pylist())
        return [name for name in ("train", "val", "test") if name in present] + sorted(
            present - {"train", "val", "test"}
        )


def _item(row: dict[str, Any]) -> SourceItem:
    row["extra"] = json.loads(row["extra"]) if row["extra"] else None
    row["box"] = tuple(row["box"]) if row["box"] is not None else None
    return SourceItem(**row)
