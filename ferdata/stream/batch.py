"""What a batch is: the fields a consumer may ask for, and where their values come from.

In: sample numbers of a batch. Out: tensors gathered from the sample table, which costs microseconds.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ferdata.errors import OptionError
from ferdata.format import DatasetIndex, read_samples
from ferdata.store import Store

__all__ = ["FIELDS", "IGNORED_LABEL", "SampleTable", "batch_type"]

FIELDS = ("images", "labels", "valence", "arousal", "keys", "mask", "numbers")
"""``images`` uint8 ``[N, 3, H, W]``; ``labels`` int64 ``[N]``; ``valence`` and ``arousal`` float32 ``[N]``, NaN where the
source has none; ``keys`` list of N str; ``mask`` bool ``[N]``, False on padding; ``numbers`` int64 ``[N]``, sample numbers."""

IGNORED_LABEL = -100
"""Label of a padding row: what torch's losses leave out by default."""


@lru_cache
def batch_type(fields: tuple[str, ...]) -> Callable[..., Any]:
    """Return the named tuple class for a choice of fields.

    Raises:
        OptionError: If a field is unknown or named twice, or ``images`` is not among them.
    """
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or "images" not in fields or len(set(fields)) != len(fields):
        raise OptionError(f"fields: {fields} found, expected 'images' and others out of {', '.join(FIELDS)}, each once")
    base = namedtuple("Batch", list(fields))  # type: ignore[misc]
    return type("Batch", (base,), {"__slots__": (), "__reduce__": lambda self: (_rebuild, (fields, tuple(self)))})


def _rebuild(fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """Make a batch again in the process it was sent to."""
    return batch_type(fields)(*values)


class SampleTable:
    """The columns of one split that batches are made from; 2 bytes a sample, more with V/A or keys.

    Attributes:
        labels: int16 ``[N]``.
    """

    def __init__(self, store: Store, index: DatasetIndex, split: str, fields: Sequence[str]) -> None:
        columns = ["split", "label", *(name for name in ("valence", "arousal") if name in fields), *(["key"] if "keys" in fields else [])]
        rows = index.rows(split)
        table = read_samples(store, index, columns).slice(rows.start, rows.stop - rows.start)
        self.labels = table.column("label").to_numpy()
        floats = {name: table.column(name).to_numpy().astype(np.float32) for name in ("valence", "arousal") if name in fields}
        self._columns: dict[str, np.ndarray] = {"labels": self.labels, **floats}
        self._keys = table.column("key").combine_chunks() if "keys" in fields else None

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, fields: Sequence[str], numbers: np.ndarray) -> dict[str, Any]:
        """Return every field but ``images`` for samples ``numbers``, int64 ``[N]``; -1 is padding. All of them can be sliced."""
        # NumPy gathers in a tenth of the time: torch takes some 20 µs for a call, however little there is to do.
        mask = numbers >= 0
        padded = not mask.all()
        values: dict[str, Any] = {}
        for name in fields:
            if name == "keys":
                assert self._keys is not None
                keys = self._keys.take(pa.array(np.maximum(numbers, 0))).to_pylist()
                values[name] = [key if real else "" for key, real in zip(keys, mask.tolist(), strict=True)]
            elif name in self._columns:
                column = self._columns[name][numbers]
                if name == "labels":
                    column = column.astype(np.int64)
                if padded:
                    column[~mask] = IGNORED_LABEL if name == "labels" else np.nan
                values[name] = torch.from_numpy(column)
            elif name != "images":
                values[name] = torch.from_numpy(mask if name == "mask" else numbers.copy())
        return values
