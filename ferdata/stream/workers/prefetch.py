"""Prefetches windows: submits them in order as slots become free, and knows which are filled.

In: windows and a ring. Out: windows submitted to the workers, and the slots of those that are filled. No processes,
no clock.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ferdata.errors import FerdataError
from ferdata.stream.memory.ring import Ring
from ferdata.stream.order.windows import Window, sort_window
from ferdata.stream.workers.channel import Ack

__all__ = ["Executor", "Filling", "Prefetcher"]


class Executor(Protocol):
    """Who fills windows."""

    def submit(self, window: int, samples: np.ndarray, rows: np.ndarray, *, verify: int) -> int | None:
        """Begin to read a window's samples, int64 ``[n]`` ascending, into their ring rows.

        Returns:
            The number of the window's jobs, or None if it must wait.
        """


@dataclass(slots=True)
class Filling:
    """A window whose jobs are submitted.

    Attributes:
        window: The window.
        slots: Ring slots of its batches that nobody has taken yet.
        missing: Jobs that are not acknowledged yet.
        num_bytes: Bytes read by its finished jobs.
        busy_ns: Nanoseconds they took in total.
        error: The error of the first of its jobs to fail.
    """

    window: Window
    slots: deque[int]
    missing: int
    num_bytes: int = 0
    busy_ns: int = 0
    error: FerdataError | None = None


class Prefetcher:
    """The windows on their way through the ring, epoch after epoch.

    Args:
        windows: The windows in order; those of later epochs follow if the next epoch is to begin before this one ends.
        ring: Where batches are built.
        executor: Who fills them.
        verify: Returns which checksums of a window to verify, see :func:`ferdata.stream.order.windows.due`.
    """

    def __init__(
        self, windows: Iterator[Window], ring: Ring, executor: Executor, *, verify: Callable[[Window], int]
    ) -> None:
        self._windows = windows
        self._ring = ring
        self._executor = executor
        self._verify = verify
        self._next_window = next(windows, None)
        self._filling: deque[Filling] = deque()
        self._first = 0
        self._epoch = 0

    def fill(self) -> None:
        """Submit windows while there is room; of the next epoch only the first, since nobody may ever ask for it."""
        while (
            self._next_window is not None
            and not self._is_too_early(self._next_window)
            and self._submit(self._next_window)
        ):
            self._next_window = next(self._windows, None)

    def windows(self, epoch: int) -> Iterator[Filling]:
        """Yield an epoch's windows; the caller waits until :attr:`Filling.missing` is 0, then takes the slots."""
        self._epoch = epoch
        self.fill()
        while self._filling and self._filling[0].window.epoch == epoch:
            yield self._filling[0]
            done = self._filling.popleft()
            assert not done.slots, "a window is left only when its batches are taken"
            self._first += 1
            self.fill()
        ended = self._next_window is None or self._next_window.epoch != epoch
        assert ended, "a window and the batches a consumer may hold always fit the ring"

    def acknowledge(self, ack: Ack) -> None:
        """Note that a job of a window is finished."""
        filling = self._filling[ack.window - self._first]
        filling.missing -= 1
        filling.num_bytes += ack.num_bytes
        filling.busy_ns += ack.busy_ns
        filling.error = filling.error or ack.error

    def _is_too_early(self, window: Window) -> bool:
        """Tell whether a window is of an epoch that nobody has asked for while another such window is in flight."""
        return window.epoch > self._epoch and bool(self._filling) and self._filling[-1].window.epoch > self._epoch

    def _submit(self, window: Window) -> bool:
        slots = self._ring.take(window.num_batches)
        if slots is None:
            return False
        batch = self._ring.batch_size
        slot_rows = (np.array(slots, np.int64)[:, None] * batch + np.arange(batch)).ravel()
        samples, rows = sort_window(window)
        jobs = self._executor.submit(
            self._first + len(self._filling), samples, slot_rows[rows], verify=self._verify(window)
        )
        if jobs is None:
            for slot in slots:
                self._ring.give_back(slot)
            return False
        self._filling.append(Filling(window, deque(slots), jobs))
        return True
