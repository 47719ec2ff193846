"""What a batch is: the fields a consumer may ask for, and where their values come from.

In: sample indices of a batch. Out: tensors gathered from the sample table, which costs microseconds, or read from the
samples' records, which costs tens of microseconds per sample.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.stream.columns import Columns
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

_PADDING = {"labels": IGNORED_LABEL, "soft_labels": 0.0}
"""What other fields have in a padding row follows from their type."""

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
    """The columns of one split that batches are made from, see :class:`Columns`."""

    def __init__(self, opened: OpenSplit, fields: Sequence[str]) -> None:
        self._names = {name: column for name, column in _COLUMNS.items() if name in fields}
        self._set_starts = opened.set_starts
        self._columns = Columns(opened, self._names)
        self.labels = self._columns.labels
        """Returns all labels, ``[N]`` of any integer type."""
        self.gather = self._columns.gather
        """Returns a column's values for samples, without padding."""
        self.expect, self.complete, self.close = self._columns.expect, self._columns.complete, self._columns.close

    def __len__(self) -> int:
        return len(self._columns)

    def values(self, fields: Sequence[str], indices: np.ndarray, read_records: ReadRecords) -> dict[str, Any]:
        """Return every field but ``images`` for samples, int64 ``[N]``, -1 for padding; all of them can be sliced."""
        # NumPy gathers in a tenth of the time: torch takes some 20 µs for a call, however little there is to do.
        mask = indices >= 0
        padded = not mask.all()
        rows = np.maximum(indices, 0) if padded else indices
        records = _records(indices, read_records) if any(name in _OF_RECORDS for name in fields) else []
        values: dict[str, Any] = {}
        for name in fields:
            if name in self._names:
                column = self.gather(name, rows)
                if name == "labels":
                    column = column.astype(np.int64)
                if padded:
                    column[~mask] = _PADDING.get(name, {"f": np.nan, "O": ""}.get(column.dtype.kind, 0))
                values[name] = column.tolist() if column.dtype.kind == "O" else torch.from_numpy(column)
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


def _records(indices: np.ndarray, read_records: ReadRecords) -> list[dict[str, Any]]:
    """Return the records of samples in any order, read in disk order; an empty one for padding."""
    wanted, places = np.unique(indices, return_inverse=True)
    skipped = int(np.searchsorted(wanted, 0))
    found: list[dict[str, Any]] = [{}] * skipped + read_records(wanted[skipped:])
    return [found[place] for place in places.tolist()]
