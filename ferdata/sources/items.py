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
        self.table, self._spilled = table, spilled
        pieces = [piece.cast(ITEM_SCHEMA) for piece in self.pieces()] or [table.cast(ITEM_SCHEMA)]
        self.table = pa.concat_tables(pieces).unify_dictionaries()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, position: int) -> SourceItem:
        return _item(self.table.slice(position, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[SourceItem]:
        for piece in self.pieces(num_rows=4096):
            yield from map(_item, piece.to_pylist())

    def pieces(self, columns: Sequence[str] | None = None, *, num_rows: int = 1 << 16) -> Iterator[pa.Table]:
        """Yield all columns or some, so many rows at a time: of a table on the disk, no more is in memory."""
        table = self.table.select(columns or self.table.column_names)
        for start in range(0, len(self), num_rows):
            yield table.slice(start, num_rows)
            self._rest()

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
        parts = []
        for batch, first, start, stop in zip(batches, ends.tolist(), cuts, cuts[1:], strict=False):
            if stop > start:
                parts.append(batch.take(pa.array(wanted[order[start:stop]] - first)))
                self._rest()
        return pa.Table.from_batches(parts, table.schema).combine_chunks().take(pa.array(np.argsort(order)))

    def labels(self) -> np.ndarray:
        """Return int64 ``[len]``, the class index of every item."""
        labels = np.asarray(self.table.column("label"), np.int64)
        self._rest()
        return labels

    def splits(self) -> list[str]:
        """Return the split names present, in the order train, val, test."""
        present = set(self.table.column("split").unique().to_pylist())
        return [name for name in ("train", "val", "test") if name in present] + sorted(
            present - {"train", "val", "test"}
        )

    def _rest(self) -> None:
        if self._spilled is not None:
            self._spilled.rest()


def _item(row: dict[str, Any]) -> SourceItem:
    row["extra"] = json.loads(row["extra"]) if row["extra"] else None
    row["box"] = tuple(row["box"]) if row["box"] is not None else None
    return SourceItem(**row)
