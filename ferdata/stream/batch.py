"""What a batch is: the fields a consumer may ask for, and where their values come from.

In: sample indices of a batch. Out: tensors gathered from the sample table, which costs microseconds, or read from the
samples' records, which costs tens of microseconds per sample.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ferdata.errors import OptionError
from ferdata.stream.sets import OpenSplit

__all__ = ["FIELDS", "IGNORED_LABEL", "ReadRecords", "SampleTable", "batch_maker", "check_fields"]

ReadRecords = Callable[[np.ndarray], list[dict[str, Any]]]
"""Returns the records of samples (int64 ``[n]``, ascending)."""

_COLUMNS = {
    "labels": "label",
    "valence": "valence",
    "arousal": "arousal",
    "keys": "key",
    "path": "path",
    "source_label": "source_label",
    "person": "person",
    "sequence": "sequence",
    "soft_labels": "soft_labels",
    "source_bytes": "source_bytes",
    "source_xxh64": "source_xxh64",
    "shard": "shard",
    "frame": "frame",
    "position": "position",
}
"""Field -> column of ``samples.parquet``."""

_OF_RECORDS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "boxes": lambda records: torch.tensor(
        [record.get("box") or [np.nan] * 4 for record in records], dtype=torch.float32
    ).reshape(-1, 4),
    "landmarks": lambda records: [
        torch.tensor(one.get("landmarks") or [], dtype=torch.float32).reshape(-1, 2) for one in records
    ],
    "records": lambda records: records,
}

FIELDS = ("images", *_COLUMNS, "mask", "indices", "set_index", *_OF_RECORDS)
"""``images`` uint8 ``[N, C, H, W]``; ``labels`` int64 ``[N]``; ``valence`` and ``arousal`` float32 ``[N]``, NaN where
the source has none; ``keys`` list of N str; ``mask`` bool ``[N]``, False on padding; ``indices`` int64 ``[N]``,
sample indices, of several sets one after the other; ``set_index`` int64 ``[N]``, which of the sets a sample is from, -1
on padding.

Other columns of the sample table by their names: ``path``, ``source_label``, ``person`` and ``sequence``, lists of N
str, "" where the source has none; ``source_bytes``, ``source_xxh64``, ``shard``, ``frame``, ``position``, ``[N]`` of
the column's type; ``soft_labels`` float32 ``[N, classes]``, one-hot of the label where the source has none, zeros on
padding. What only the samples' records hold is read one sample at a time, in the consumer's process:
``boxes`` float32 ``[N, 4]`` (x, y, width, height in pixels of
the source image, NaN where there is none); ``landmarks``, a list of N float32 ``[points, 2]`` in pixels of the tensor,
of no points where there are none; ``records``, a list of N dicts.
"""

IGNORED_LABEL = -100
"""Label of a padding row: what torch's losses leave out by default."""

_DICT_NAMES = {"images": "pixel_values"}
"""What Hugging Face's vision models and ``Trainer`` call it."""


def check_fields(fields: Sequence[str]) -> tuple[str, ...]:
    """Return a choice of fields.

    Raises:
        OptionError: If a field is unknown or named twice, or ``images`` is not among them.
    """
    names = tuple(fields)
    unknown = [name for name in names if name not in FIELDS]
    if unknown or "images" not in names or len(set(names)) != len(names):
        raise OptionError(f"fields: {names} found, expected 'images' and others out of {', '.join(FIELDS)}, each once")
    return names


def batch_maker(fields: tuple[str, ...], *, as_dict: bool = False) -> Callable[..., Any]:
    """Return what makes a batch of its fields' values: a named tuple, or a dict with images as ``pixel_values``."""
    if not as_dict:
        return _batch_type(fields)
    names = [_DICT_NAMES.get(name, name) for name in fields]
    return lambda *values: dict(zip(names, values, strict=True))


@lru_cache
def _batch_type(fields: tuple[str, ...]) -> Callable[..., Any]:
    base = namedtuple("Batch", list(fields))  # type: ignore[misc]
    return type("Batch", (base,), {"__slots__": (), "__reduce__": lambda self: (_rebuild, (fields, tuple(self)))})


def _rebuild(fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """Rebuild a batch in the process it was sent to."""
    return _batch_type(fields)(*values)


class SampleTable:
    """The columns of one split that batches are made from; 2 bytes per sample, more with V/A, keys or other columns.

    Attributes:
        labels: int16 ``[N]``.
    """

    def __init__(self, opened: OpenSplit, fields: Sequence[str]) -> None:
        columns = {name: column for name, column in _COLUMNS.items() if name in fields or name == "labels"}
        table = opened.table([*columns.values()])
        self._set_starts = opened.set_starts
        self._columns: dict[str, np.ndarray] = {}
        self._texts: dict[str, pa.Array] = {}
        for name, column in columns.items():
            values = table.column(column).combine_chunks()
            if pa.types.is_list(values.type):
                self._soft = _SoftLabels(values, len(opened.index.classes))
            elif pa.types.is_string(values.type):
                self._texts[name] = values
            elif pa.types.is_floating(values.type):
                self._columns[name] = values.to_numpy(zero_copy_only=False).astype(np.float32)
            else:
                self._columns[name] = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
        self.labels = self._columns["labels"]

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, fields: Sequence[str], indices: np.ndarray, read_records: ReadRecords) -> dict[str, Any]:
        """Return every field but ``images`` for samples, int64 ``[N]``, -1 for padding; all of them can be sliced."""
        # NumPy gathers in a tenth of the time: torch takes some 20 µs for a call, however little there is to do.
        mask = indices >= 0
        padded = not mask.all()
        records = _records(indices, read_records) if any(name in _OF_RECORDS for name in fields) else []
        values: dict[str, Any] = {}
        for name in fields:
            if name in self._texts:
                texts = self._texts[name].take(pa.array(np.maximum(indices, 0))).to_pylist()
                values[name] = [(text or "") if real else "" for text, real in zip(texts, mask.tolist(), strict=True)]
            elif name == "soft_labels":
                values[name] = torch.from_numpy(self._soft.of(indices, self.labels))
            elif name in self._columns:
                column = self._columns[name][indices]
                if name == "labels":
                    column = column.astype(np.int64)
                if padded:
                    column[~mask] = IGNORED_LABEL if name == "labels" else np.nan if column.dtype.kind == "f" else 0
                values[name] = torch.from_numpy(column)
            elif name in _OF_RECORDS:
                values[name] = _OF_RECORDS[name](records)
            elif name != "images":
                values[name] = torch.from_numpy(self._computed(name, indices))
        return values

    def _computed(self, name: str, indices: np.ndarray) -> np.ndarray:
        if name == "mask":
            return indices >= 0
        if name == "set_index":
            return np.searchsorted(self._set_starts, indices, side="right") - 1
        return indices.copy()


class _SoftLabels:
    """Soft labels where the source has them; 4 bytes a sample, and what is there."""

    def __init__(self, column: pa.Array, num_classes: int) -> None:
        has_any = column.is_valid().to_numpy(zero_copy_only=False)
        self._rows = np.where(has_any, np.cumsum(has_any, dtype=np.int32) - 1, np.int32(-1))
        self._values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, num_classes)

    def of(self, indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return float32 ``[N, classes]``: one-hot of the label where the source has none, zeros on padding."""
        found = np.zeros((len(indices), self._values.shape[1]), np.float32)
        real = np.flatnonzero(indices >= 0)
        rows = self._rows[indices[real]]
        hard = real[rows < 0]
        found[hard, labels[indices[hard]]] = 1
        found[real[rows >= 0]] = self._values[rows[rows >= 0]]
        return found


def _records(indices: np.ndarray, read_records: ReadRecords) -> list[dict[str, Any]]:
    """Return the records of samples in any order, read in disk order; an empty one for padding."""
    wanted, places = np.unique(indices, return_inverse=True)
    skipped = int(np.searchsorted(wanted, 0))
    found: list[dict[str, Any]] = [{}] * skipped + read_records(wanted[skipped:])
    return [found[place] for place in places.tolist()]
