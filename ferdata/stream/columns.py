"""The columns of one split that batches are made from, read as they are needed.

In: sample indices. Out: values. A small split is read at once: a byte per sample for its label, more with valence and
arousal, keys or other columns. Of a large one, the row groups that hold the samples of a window are read, a fraction of
a millisecond each, and kept up to :data:`KEPT_BYTES`. What lies behind a URL is read by threads until it is needed.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.format import SamplesFile
from ferdata.remote import Patience
from ferdata.stream.sets import OpenSplit, SetSplit

__all__ = ["KEPT_BYTES", "Columns"]

KEPT_BYTES = 512 << 20
"""Of a large split's columns: the labels of 5 * 10^8 samples."""
WHOLE_ROWS = 1 << 22
"""A split of up to so many samples is read at once, in a fraction of a second."""
_INT8_CLASSES = 1 << 7
"""Labels of so few classes take a byte."""
_NAME = "ferdata-table"
_SECONDS_TO_LEAVE = 5.0


class Columns:
    """Columns of a split.

    Args:
        opened: The split.
        names: Name here -> column of ``samples.parquet``; ``labels`` is always there.

    Raises:
        ShardMissingError, ShardCorruptError: If a table is not what its index says; one behind a URL is found to be so
            by whoever needs it.
    """

    def __init__(self, opened: OpenSplit, names: Mapping[str, str]) -> None:
        self._names, self._num_classes = {"labels": "label", **names}, len(opened.index.classes)
        self._kept: dict[int, _Stretch] = {}
        self._coming: dict[int, _Coming] = {}
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
        self._far = {number for number, (one, _, _) in enumerate(self._of) if not one.store.is_local}
        for number, (_, file, _) in enumerate(self._of):
            if file is None and number in self._far:
                self._begin(number)
            elif file is None:  # what is wrong with it is found now
                self._kept[number] = self._read(number)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def labels(self) -> np.ndarray:
        """Return all labels, ``[N]`` of any integer type; of a large split, that reads the whole column."""
        numbers = range(len(self._ends))
        stretches = (
            self._kept.get(one) or (self._read(one) if self._may_go(one) else self._stretch(one)) for one in numbers
        )
        parts = [stretch.arrays["labels"] for stretch in stretches]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def expect(self, samples: np.ndarray) -> None:
        """Begin to read what samples, int64 ``[n]``, will need of tables behind URLs."""
        if self._far:
            for number in np.unique(np.searchsorted(self._ends, samples[samples >= 0], side="right")).tolist():
                if number in self._far:
                    self._begin(number)

    def complete(self) -> None:
        """Wait for what is being read: whoever is copied to other processes has it there, too."""
        for number in [*self._coming]:
            self._stretch(number)

    def close(self) -> None:
        """Drop what is being read, once reading was ended; no thread is left."""
        while self._coming:
            self._coming.popitem()[1].join()

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
            yield np.arange(len(samples)), self._stretch(0), samples
            return
        numbers = np.searchsorted(self._ends, samples, side="right")
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            yield rows, self._stretch(number), samples[rows] - (self._ends[number - 1] if number else 0)

    def _stretch(self, number: int) -> "_Stretch":
        stretch = self._kept.get(number)
        if stretch is None:
            self._kept[number] = stretch = self._take(number)
            num_bytes = sum(one.num_bytes for one in self._kept.values())
            for old in [each for each in self._kept if self._may_go(each) and each != number]:
                if num_bytes <= KEPT_BYTES:  # the first that came go first: any may be asked for next
                    break
                num_bytes -= self._kept.pop(old).num_bytes
        return stretch

    def _take(self, number: int) -> "_Stretch":
        coming = self._coming.get(number)
        if coming is None:
            return self._read(number)
        try:
            return coming.take()
        finally:
            if coming.is_over:  # otherwise who waited was interrupted
                self._coming.pop(number, None)

    def _may_go(self, number: int) -> bool:
        """Tell whether a stretch is one of several of a table, and may go again."""
        return self._of[number][1] is not None

    def _begin(self, number: int) -> None:
        if number not in self._kept and number not in self._coming:
            self._coming[number] = _Coming(lambda: self._read(number), self._of[number][0].patience)

    def _read(self, number: int) -> "_Stretch":
        one, file, start = self._of[number]
        first, stop = (int(self._ends[number - 1]) if number else 0) - start, int(self._ends[number]) - start
        table = one.table([*self._names.values()], self._num_classes, rows=(first, stop), file=file)
        return _Stretch(table, self._names, self._num_classes)


class _Coming:
    """A stretch that a thread reads.

    Args:
        read: Reads it.
        patience: What ends reading.
    """

    def __init__(self, read: "Callable[[], _Stretch]", patience: Patience) -> None:
        self._read, self._found, self._process = read, Future["_Stretch"](), os.getpid()
        self._ended = patience.ended
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        weakref.finalize(self, _leave, self._thread, patience)  # with the interpreter, which Arrow must not outlive
        try:
            self._thread.start()
        except RuntimeError:  # there may be no more threads
            self._run()

    @property
    def is_over(self) -> bool:
        """Whether it was read, or could not be."""
        return self._found.done()

    def take(self) -> "_Stretch":
        """Return it once it is there; it is read here if the thread was left behind by a fork, or reading was ended.

        Raises:
            FerdataError: If it cannot be read.
        """
        if os.getpid() != self._process and not self.is_over:
            return self._read()
        error = self._found.exception()
        self.join()
        return self._read() if error is not None and self._ended.is_set() else self._found.result()

    def join(self) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None and os.getpid() == self._process:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._found.set_result(self._read())
        except BaseException as error:
            self._found.set_exception(error)


def _leave(thread: threading.Thread, patience: Patience) -> None:
    if thread.is_alive():
        patience.end()
        thread.join(_SECONDS_TO_LEAVE)


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
