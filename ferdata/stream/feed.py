"""Hands out one epoch's jobs in order, as slots come free, and knows which window is filled.

In: windows and a ring. Out: job requests, an iterator the ``DataLoader`` draws on as its sampler. No processes, no clock.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ferdata.stream.plan import Job, Window, plan_window
from ferdata.stream.ring import Ring
from ferdata.stream.worker import JobRequest

__all__ = ["Feed"]


@dataclass(slots=True)
class _Filling:
    """A window whose jobs are handed out; ``missing`` jobs are not acknowledged yet."""

    window: Window
    slots: deque[int]
    missing: int


class Feed:
    """One epoch's job requests.

    Iterating gives the next request, or None where no slots are free yet: a request to do nothing keeps the
    ``DataLoader``'s pipeline turning until the consumer has given slots back.

    Args:
        windows: The epoch's windows in order.
        ring: Where batches are built.
        job_samples: Samples of a job.
        verify: Whether workers verify checksums.
    """

    def __init__(self, windows: Iterator[Window], ring: Ring, *, job_samples: int, verify: bool) -> None:
        self._windows = windows
        self._ring = ring
        self._job_samples = job_samples
        self._verify = verify
        self._next_window = next(windows, None)
        self._filling: deque[_Filling] = deque()
        self._jobs: deque[tuple[Job, np.ndarray]] = deque()
        self._owner: dict[int, _Filling] = {}
        self._num_requests = 0

    def __iter__(self) -> Iterator["JobRequest | None"]:
        return self

    def __next__(self) -> "JobRequest | None":
        while not self._jobs:
            if self._next_window is None:
                raise StopIteration
            if not self._open_window(self._next_window):
                return None
            self._next_window = next(self._windows, None)
        job, slot_rows = self._jobs.popleft()
        number = self._num_requests
        self._num_requests += 1
        self._owner[number] = self._filling[-1]
        return number, job.samples, slot_rows[job.rows], self._verify

    def windows(self) -> Iterator[Window]:
        """Yield the windows in order, to be asked for with :meth:`ready` and emptied with :meth:`take_slot`."""
        while True:
            if not self._filling and (self._next_window is None or not self._open_window_early()):
                return
            filling = self._filling[0]
            yield filling.window
            assert not filling.slots, "a window is left only when its batches are taken"
            self._filling.popleft()

    def ready(self) -> bool:
        """Tell whether the oldest window is filled."""
        return self._filling[0].missing == 0

    def acknowledge(self, number: int) -> None:
        """Note that a job is done."""
        self._owner.pop(number).missing -= 1

    def take_slot(self) -> int:
        """Return the slot of the oldest window's next batch; it is the caller's now."""
        return self._filling[0].slots.popleft()

    def _open_window_early(self) -> bool:
        """Open the next window when the consumer asks before the pipeline did."""
        assert self._next_window is not None
        opened = self._open_window(self._next_window)
        assert opened, "two windows and the batches a consumer may hold always fit the ring"
        self._next_window = next(self._windows, None)
        return True

    def _open_window(self, window: Window) -> bool:
        slots = self._ring.take(window.num_batches)
        if slots is None:
            return False
        batch = self._ring.batch_size
        slot_rows = (np.array(slots, np.int64)[:, None] * batch + np.arange(batch)).ravel()
        jobs = plan_window(window, job_samples=self._job_samples)
        self._filling.append(_Filling(window, deque(slots), len(jobs)))
        self._jobs.extend((job, slot_rows) for job in jobs)
        return True
