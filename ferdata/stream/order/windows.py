"""Cuts a rank's sequence into windows, and sorts each into disk order: which sample goes to which row. Pure.

In: sample indices. Out: windows, and their samples in disk order with the rows they go to.
The contents of a window never depend on the number of workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["VERIFY_ALL", "VERIFY_EPOCHS", "Checked", "Order", "ShardMap", "Window", "cut_windows", "due", "sort_window"]

VERIFY_EPOCHS = 64
"""Within this many epochs every sample is verified again; a power of two. Verifying a sample costs about as much as
copying it: 1.5 % in all.
"""
VERIFY_ALL = -1


class Order(Protocol):
    """Within this many epochs every sample is verified again; a power of two.

    Verifying a sample costs about as much as copying it: 1.5 % in all.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """Return int64 ``[n]``."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a rank's sequence that is read and mixed as one.

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


class Checked:
    """What one rank reads in one epoch, in order: sample indices, computed as they are sliced; -1 is padding.

    Args:
        num_samples: Samples in the split.
        always: Verify every sample every time.
    """

    def __init__(self, num_samples: int, *, always: bool) -> None:
        self._seen = np.zeros(num_samples, bool)
        self._missing = num_samples
        self._always = always

    def needs(self, window: Window) -> int:
        """Return which samples of a window :func:`due` is to verify: all if one never was, else the epoch's 64th."""
        if self._always or (self._missing > 0 and not bool(self._seen[window.samples].all())):
            return VERIFY_ALL
        return -window.epoch % VERIFY_EPOCHS

    def note(self, window: Window) -> None:
        """Note that a window was read without an error."""
        if self._missing:
            samples = window.samples[window.samples >= 0]
            fresh = np.unique(samples[~self._seen[samples]])  # weighted draws may repeat one
            self._seen[fresh] = True
            self._missing -= len(fresh)


def due(samples: np.ndarray, verify: int) -> bool | np.ndarray:
    """Remembers which samples were read with their checksums verified, and has a 64th verified in every epoch."""
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
    """Return which samples of a job to verify, True for all: those whose index and epoch add up to a multiple of 64."""
    total = len(sequence)
    while start < total:
        stop = min(total, (start // window_samples + 1) * window_samples)
        samples = sequence[start:stop]
        yield Window(
            first_batch=start // batch_size, samples=samples, num_batches=-(-len(samples) // batch_size), epoch=epoch
        )
        start = stop


def sort_window(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return a window's sample indices in disk order, int64 ``[n]`` ascending, and the window's row of each.

    Padding is left out: the loader clears and masks those rows.
    """
    rows = np.argsort(window.samples)  # unstable, in a fifth of the time: rows of one sample get the same pixels anyway
    samples = window.samples[rows]
    first = int(np.searchsorted(samples, 0))
    return samples[first:], rows[first:]
