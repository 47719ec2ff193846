"""The columns of one split that batches are made from, read as they are needed.

In: sample indices. Out: values. A small split is read at once: a byte per sample for its label, more with valence and
arousal, keys or other columns. Of a large one, the row groups that hold the samples of a window are read, a fraction of
a millisecond each, and kept up to :data:`KEPT_BYTES`.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.format import SamplesFile
from ferdata.stream.sets import OpenSplit, SetSplit

__all__ = ["KEPT_BYTES", "Columns"]

KEPT_BYTES = 512 << 20
"""Of a large split's columns: the labels of 5 * 10^8 samples."""
WHOLE_ROWS = 1 << 22
"""A split of up to so many samples is read at once, in a fraction of a second."""
_INT8_CLASSES = 1 << 7
"""Labels of so few classes take a byte."""


class Columns:
    """Columns of a split.

    Args:
        opened: The split.
        names: Name here -> column of ``samples.parquet``; ``labels`` is always there.
    """

    def __init__(self, opened: OpenSplit, names: Mapping[str, str]) -> None:
        self._names, self._num_classes = {"labels": "label", **names}, len(opened.index.classes)
        self._kept: dict[int, _Stretch] = {}
        self._of: list[tuple[SetSplit, SamplesFile | None, int]] = []
        ends: list[int] = []
        for one, start in zip(opened.sets, opened.set_starts.tolist(), strict=True):
            file, inner = None, [one.index.num_samples(one.split)]
            if inner[0] > WHOLE_ROWS:
                file, rows = SamplesFile(one.tables, one.index), one.index.rows(one.split)
                groups = file.group_ends[(file.group_ends > rows.start) & (file.group_ends < rows.stop)]
                inner = [*(groups - rows.start).tolist(), *inner]
            ends += [start + end for end in inner]
            self._of += [(one, file, start)] * len(inner)
        self._ends = np.array(ends)
        for number, (_, file, _) in enumerate(self._of):
            if file is None:  # what is wrong with it is found now
                self._kept[number] = self._read(number)
        self._pinned = len(self._kept)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def labels(self) -> np.ndarray:
        """Return all labels, ``[N]`` of any integer type; of a large split, that reads the whole column."""
        parts = [
            (self._kept[number] if number in self._kept else self._read(number)).arrays["labels"]
            for number in range(len(self._ends))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def gather(self, name: str, samples: np.ndarray) -> np.ndarray:
        """Return a column's values, ``[n, ...]``, for samples, int64 ``[n]``; texts are objects, "" for none."""
        values: np.ndarray | None = None
        for rows, stretch, own in self._stretches(samples):
            found = stretch.gather(name, own)
            if len(found) == len(samples):
                return found
            if values is None:
                values = np.empty((len(samples), *found.shape[1:]), found.dtype)
            values[rows] = found
        return np.empty(0, np.int64) if values is None else values

    def _stretches(self, samples: np.ndarray) -> Iterator[tuple[np.ndarray, "_Stretch", np.ndarray]]:
        """Yield which of the samples are in each stretch of the split, the stretch, and their rows in it."""
        if len(self._ends) == 1:
            yield np.arange(len(samples)), self._kept[0], samples
            return
        numbers = np.searchsorted(self._ends, samples, side="right")
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            yield rows, self._stretch(number), samples[rows] - (self._ends[number - 1] if number else 0)

    def _stretch(self, number: int) -> "_Stretch":
        stretch = self._kept.get(number)
        if stretch is None:
            self._kept[number] = stretch = self._read(number)
            num_bytes = sum(one.num_bytes for one in self._kept.values())
            for old in [*self._kept][self._pinned : -1]:  # the first that came: any may be asked for next
                if num_bytes <= KEPT_BYTES:
                    break
                num_bytes -= self._kept.pop(old).num_bytes
        return stretch

    def _read(self, number: int) -> "_Stretch":
        one, file, start = self._of[number]
        first, stop = (int(self._ends[number - 1]) if number else 0) - start, int(self._ends[number]) - start
        table = one.table([*self._names.values()], self._num_classes, rows=(first, stop), file=file)
        return _Stretch(table, self._names, self._num_classes)


class _Stretch:
    """Columns of some neighbouring samples.

    Attributes:
        arrays: Name -> values ``[n]``.
        num_bytes: What they take in memory, about.
    """

    def __init__(self, table: pa.Table, names: Mapping[str, str], num_classes: int) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._texts: dict[str, pa.Array] = {}
        for name, column in names.items():
            values = table.column(column).combine_chunks()
            if pa.types.is_list(values.type):
                self._soft = _SoftLabels(values, num_classes)
            elif pa.types.is_string(values.type):
                self._texts[name] = values
            elif pa.types.is_floating(values.type):
                self.arrays[name] = values.to_numpy(zero_copy_only=False).astype(np.float32)
            else:
                self.arrays[name] = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
        if num_classes <= _INT8_CLASSES:
            self.arrays["labels"] = self.arrays["labels"].astype(np.int8)
        self.num_bytes = sum(array.nbytes for array in self.arrays.values())
        self.num_bytes += sum(text.nbytes for text in self._texts.values())

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a column's values for rows, int64 ``[n]``."""
        if name in self._texts:
            return np.array([text or "" for text in self._texts[name].take(pa.array(rows)).to_pylist()], object)
        if name == "soft_labels":
            return self._soft.of(rows, self.arrays["labels"])
        values: np.ndarray = self.arrays[name][rows]
        return values


class _SoftLabels:
    """Soft labels where the source has them; 4 bytes a sample, and what is there."""

    def __init__(self, column: pa.Array, num_classes: int) -> None:
        has_any = column.is_valid().to_numpy(zero_copy_only=False)
        self._rows = np.where(has_any, np.cumsum(has_any, dtype=np.int32) - 1, np.int32(-1))
        self._values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, num_classes)

    def of(self, samples: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return float32 ``[n, classes]``: one-hot of the label where the source has none."""
        found = np.zeros((len(samples), self._values.shape[1]), np.float32)
        rows = self._rows[samples]
        hard = np.flatnonzero(rows < 0)
        found[hard, labels[samples[hard]]] = 1
        found[rows >= 0] = self._values[rows[rows >= 0]]
        return found
