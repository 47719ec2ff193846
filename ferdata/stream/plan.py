"""Cuts a rank's sequence into windows and jobs: which worker call fills which rows. Pure.

In: sample numbers. Out: jobs, each a few neighbouring samples and the rows they go to.
What a job holds never depends on the number of workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Job", "ShardMap", "Window", "cut_windows", "plan_window"]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a rank's sequence that is filled and mixed as one.

    Attributes:
        first_batch: Number of its first batch in the epoch.
        samples: int64 ``[n]``, sample numbers in row order; -1 is padding.
        num_batches: Batches it holds.
    """

    first_batch: int
    samples: np.ndarray
    num_batches: int


@dataclass(frozen=True, slots=True)
class Job:
    """What one worker call does.

    Attributes:
        samples: int64 ``[n]``, sample numbers, ascending.
        rows: int64 ``[n]``, rows of the window they go to.
    """

    samples: np.ndarray
    rows: np.ndarray


class ShardMap:
    """Turns sample numbers of a split into (shard, position)."""

    def __init__(self, shard_sizes: np.ndarray) -> None:
        self.ends = np.cumsum(shard_sizes)
        self.starts = self.ends - shard_sizes

    def pieces(self, samples: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yield ``(shard, slice of samples, positions in the shard)`` for ascending sample numbers."""
        done = 0
        while done < len(samples):
            shard = int(np.searchsorted(self.ends, samples[done], side="right"))
            stop = int(np.searchsorted(samples, self.ends[shard], side="left"))
            yield shard, slice(done, stop), samples[done:stop] - self.starts[shard]
            done = stop


def cut_windows(sequence: np.ndarray, *, batch_size: int, window_samples: int, start: int = 0) -> Iterator[Window]:
    """Yield the windows of a rank's sequence from sample ``start`` on; after a resume the first one is only what is left of it."""
    total = len(sequence)
    while start < total:
        stop = min(total, (start // window_samples + 1) * window_samples)
        samples = sequence[start:stop]
        yield Window(first_batch=start // batch_size, samples=samples, num_batches=-(-len(samples) // batch_size))
        start = stop


def plan_window(window: Window, *, job_samples: int) -> list[Job]:
    """Return the jobs of a window: its samples sorted as they stand on the disk, cut into pieces of ``job_samples``.

    Padding rows are nobody's job; the loader leaves them as they are and masks them.
    """
    rows = np.argsort(window.samples, kind="stable")
    samples = window.samples[rows]
    first = int(np.searchsorted(samples, 0))
    return [Job(samples[cut : cut + job_samples], rows[cut : cut + job_samples]) for cut in range(first, len(samples), job_samples)]
