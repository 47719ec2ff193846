"""The values that travel: tensor specs, source items and their table.

In: what a source reader found. Out: columns that cost about 100 bytes per item, so that a million items fit in memory.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["ITEM_SCHEMA", "ItemTable", "SourceItem", "TensorSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """The dtype and shape of every tensor of a data set; ``uint8 [3, H, W]`` for images."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of one tensor in C order, without any header."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceItem:
    """One image on disk and everything its layout says about it.

    Attributes:
        key: Unique within the source; ASCII letters, digits, ``_`` and ``-`` only (no dots), at most 80 characters.
        path: Location below the source root, with ``/``; ``file.parquet#17`` is row 17 of a parquet file.
        split: ``train``, ``val`` or ``test``.
        label: Class index into the scan's class names.
        source_label: The label exactly as the source writes it (``"4"``, ``"anger"``).
        valence: In [-1, 1], or None if the source has none.
        arousal: In [-1, 1], or None if the source has none.
        box: Face box ``(x, y, width, height)`` in stored pixels of the image (before EXIF orientation), or None.
        landmarks: ``x0, y0, x1, y1, ...`` in stored pixels of the image, or None.
        extra: Whatever else the layout provides (gender, age, soft labels ...), as JSON-ready values.
    """

    key: str
    path: str
    split: str
    label: int
    source_label: str
    valence: float | None = None
    arousal: float | None = None
    box: tuple[float, float, float, float] | None = None
    landmarks: Sequence[float] | None = None
    extra: Mapping[str, Any] | None = None


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
        ("extra", pa.string()),
    ]
)
"""Columns of an :class:`ItemTable`; null: the source has no such value; ``extra`` is a JSON object as text."""


class ItemTable:
    """Source items as columns; behaves as a read-only sequence of :class:`SourceItem`."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.cast(ITEM_SCHEMA)

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
        return ItemTable(self.table.take(pa.array(positions, pa.int64())))

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
