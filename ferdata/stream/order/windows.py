"""Cuts a rank's sequence into windows, these into portions, and sorts samples into disk order. Pure.

In: sample indices. Out: windows, portions, and samples in disk order with the rows they go to. What they hold never
depends on the number of workers. A window is an order: its samples are mixed. A portion is what is read at a time.
"""

import contextlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = [
    "VERIFY_ALL",
    "VERIFY_EPOCHS",
    "Checked",
    "Order",
    "Portion",
    "ShardMap",
    "Window",
    "cut_portions",
    "cut_windows",
    "due",
    "own_windows",
    "sort_samples",
]

VERIFY_EPOCHS = 64
"""Within this many epochs every sample is verified again; a power of two. Verifying costs as much as copying: 1.5 %."""
VERIFY_ALL = -1
_BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)


class Order(Protocol):
    """What one rank reads in one epoch, in order: sample indices, computed as they are sliced; -1 is padding."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """Return int64 ``[n]``."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a rank's sequence whose samples are mixed.

    Attributes:
        first_batch: Number of its first batch in the epoch.
        samples: int64 ``[n]``, sample indices in row order; -1 is padding.
        num_batches: Batches it holds.
        epoch: The epoch it belongs to.
    """

    first_batch: int
    samples: np.ndarray
    num_batches: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Portion:
    """Some neighbouring batches of a window, which are read together.

    Attributes:
        window: The window.
        first_batch: Number of its first batch in the window.
        num_batches: Batches it holds.
        samples: int64 ``[n]``, sample indices in row order; -1 is padding.
    """

    window: Window
    first_batch: int
    num_batches: int
    samples: np.ndarray


class Checked:
    """Remembers which samples were read with their checksums verified, and has a 64th verified in every epoch.

    Args:
        num_samples: Samples in the split.
        always: Verify every sample every time.
    """

    def __init__(self, num_samples: int, *, always: bool) -> None:
        memory = mmap.mmap(-1, num_samples // 8 + 1)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            with contextlib.suppress(OSError):  # a huge page for each of a batch's samples would be zeroed for one bit
                memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._bits = np.frombuffer(memory, np.uint8)
        self._missing = num_samples
        self._always = always

    def needs(self, samples: np.ndarray, epoch: int) -> int:
        """Return which of some samples :func:`due` is to verify: all if one never was, else the epoch's 64th."""
        if self._always or (self._missing > 0 and not bool(self._seen(samples[samples >= 0]).all())):
            return VERIFY_ALL
        return -epoch % VERIFY_EPOCHS

    def note(self, samples: np.ndarray) -> None:
        """Note that samples were read without an error."""
        if self._missing:
            samples = samples[samples >= 0]
            fresh = np.unique(samples[~self._seen(samples)])  # weighted draws may repeat one
            np.bitwise_or.at(self._bits, fresh >> 3, _BITS[fresh & 7])
            self._missing -= len(fresh)

    def _seen(self, samples: np.ndarray) -> np.ndarray:
        seen: np.ndarray = (self._bits[samples >> 3] & _BITS[samples & 7]) != 0
        return seen


def due(samples: np.ndarray, verify: int) -> bool | np.ndarray:
    """Return which samples of a job to verify, True for all: those whose index and epoch add up to a multiple of 64."""
    return True if verify == VERIFY_ALL else (samples & (VERIFY_EPOCHS - 1)) == verify


class ShardMap:
    """Turns sample indices of a split into (shard, position)."""

    def __init__(self, shard_sizes: np.ndarray) -> None:
        self.ends = np.cumsum(shard_sizes)
        self.starts = self.ends - shard_sizes

    def by_shard(self, samples: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yield ``(shard, slice of samples, positions in the shard)`` for ascending sample indices."""
        done = 0
        while done < len(samples):
            shard = int(np.searchsorted(self.ends, samples[done], side="right"))
            stop = int(np.searchsorted(samples, self.ends[shard], side="left"))
            yield shard, slice(done, stop), samples[done:stop] - self.starts[shard]
            done = stop


def cut_windows(
    sequence: Order, *, batch_size: int, window_samples: int, start: int = 0, epoch: int = 0
) -> Iterator[Window]:
    """Yield the windows of a rank's sequence from sample ``start`` on; after a resume the first holds what is left."""
    total = len(sequence)
    while start < total:
        stop = min(total, (start // window_samples + 1) * window_samples)
        samples = sequence[start:stop]
        yield Window(
            first_batch=start // batch_size, samples=samples, num_batches=-(-len(samples) // batch_size), epoch=epoch
        )
        start = stop


def own_windows(
    sequence: Order, *, batch_size: int, window_samples: int, first_batch: int, step: int, epoch: int
) -> Iterator[Window]:
    """Yield what each window has of every ``step``-th batch from ``first_batch`` on, unless it has nothing."""
    total = len(sequence)
    for start in range(0, total, window_samples):
        stop = min(total, start + window_samples)
        first, end = start // batch_size, -(-stop // batch_size)
        numbers = [n for n in range(first, end) if n >= first_batch and (n - first_batch) % step == 0]
        if numbers:
            parts = [sequence[n * batch_size : min(stop, (n + 1) * batch_size)] for n in numbers]
            samples = np.concatenate(parts)
            yield Window(first_batch=numbers[0], samples=samples, num_batches=len(numbers), epoch=epoch)


def cut_portions(window: Window, *, batch_size: int, batches: int) -> Iterator[Portion]:
    """Yield a window in portions of so many batches."""
    for first in range(0, window.num_batches, batches):
        samples = window.samples[first * batch_size : (first + batches) * batch_size]
        yield Portion(window, first, min(batches, window.num_batches - first), samples)


def sort_samples(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sample indices in disk order, int64 ``[n]`` ascending, and the row of each.

    Padding is left out: the loader clears and masks those rows.
    """
    rows = np.argsort(samples)  # unstable, in a fifth of the time: rows of one sample get the same pixels anyway
    ordered = samples[rows]
    first = int(np.searchsorted(ordered, 0))
    return ordered[first:], rows[first:]
