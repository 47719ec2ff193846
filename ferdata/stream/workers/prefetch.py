"""Hands out windows in order, as slots come free, and knows which window is filled.

In: windows and a ring. Out: windows sent to the workers, and the slots of those that are filled. No processes, no clock.
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

__all__ = ["Desk", "Feed", "Filling"]


class Desk(Protocol):
    """Where a window's work is handed in."""

    def submit(self, window: int, samples: np.ndarray, rows: np.ndarray, *, verify: int) -> int | None:
        """Take in a window's samples, int64 ``[n]`` ascending, and their ring rows.

        Returns:
            The number of the window's jobs, or None where it must wait.
        """


@dataclass(slots=True)
class Filling:
    """A window whose jobs are handed in.

    Attributes:
        window: The window.
        slots: Ring slots of its batches that are not taken yet.
        missing: Jobs that are not acknowledged yet.
        num_bytes: Bytes its finished jobs have read.
        busy_ns: Nanoseconds they took, summed.
        error: What the first of its jobs to fail said.
    """

    window: Window
    slots: deque[int]
    missing: int
    num_bytes: int = 0
    busy_ns: int = 0
    error: FerdataError | None = None


class Feed:
    """Windows on their way through the ring, one epoch's after the other's.

    Args:
        windows: The windows in order; those of later epochs follow where the next epoch is to begin before this one ends.
        ring: Where batches are built.
        desk: Who does the work.
        verify: Tells of a window whose checksums workers verify, see :func:`ferdata.stream.order.windows.due`.
    """

    def __init__(self, windows: Iterator[Window], ring: Ring, desk: Desk, *, verify: Callable[[Window], int]) -> None:
        self._windows = windows
        self._ring = ring
        self._desk = desk
        self._verify = verify
        self._next_window = next(windows, None)
        self._filling: deque[Filling] = deque()
        self._first = 0
        self._epoch = 0

    def fill(self) -> None:
        """Hand in windows as long as there is room for them; of the epoch after this one only the first, since nobody may ask for it."""
        while self._next_window is not None and not self._is_far(self._next_window) and self._open_window(self._next_window):
            self._next_window = next(self._windows, None)

    def windows(self, epoch: int) -> Iterator[Filling]:
        """Yield the windows of an epoch in order, to be asked for with :attr:`Filling.missing` and emptied of their slots."""
        self._epoch = epoch
        self.fill()
        while self._filling and self._filling[0].window.epoch == epoch:
            yield self._filling[0]
            left = self._filling.popleft()
            assert not left.slots, "a window is left only when its batches are taken"
            self._first += 1
            self.fill()
        far = self._next_window is None or self._next_window.epoch != epoch
        assert far, "a window and the batches a consumer may hold always fit the ring"

    def acknowledge(self, ack: Ack) -> None:
        """Note that a job of a window is done."""
        filling = self._filling[ack.window - self._first]
        filling.missing -= 1
        filling.num_bytes += ack.num_bytes
        filling.busy_ns += ack.busy_ns
        filling.error = filling.error or ack.error

    def _is_far(self, window: Window) -> bool:
        """Tell whether a window is of an epoch that nobody has asked for, and another such is under way."""
        return window.epoch > self._epoch and bool(self._filling) and self._filling[-1].window.epoch > self._epoch

    def _open_window(self, window: Window) -> bool:
        slots = self._ring.take(window.num_batches)
        if slots is None:
            return False
        batch = self._ring.batch_size
        slot_rows = (np.array(slots, np.int64)[:, None] * batch + np.arange(batch)).ravel()
        samples, rows = sort_window(window)
        jobs = self._desk.submit(self._first + len(self._filling), samples, slot_rows[rows], verify=self._verify(window))
        if jobs is None:
            for slot in slots:
                self._ring.give_back(slot)
            return False
        self._filling.append(Filling(window, deque(slots), jobs))
        return True
