"""Hands out one epoch's windows in order, as slots come free, and knows which window is filled.

In: windows and a ring. Out: windows sent to the workers, and the slots of those that are filled. No processes, no clock.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ferdata.stream.plan import Window, sort_window
from ferdata.stream.ring import Ring

__all__ = ["Desk", "Feed"]


class Desk(Protocol):
    """Where a window's work is handed in."""

    def submit(self, window: int, samples: np.ndarray, rows: np.ndarray, *, verify: bool) -> int | None:
        """Take in a window's samples, int64 ``[n]`` ascending, and their ring rows.

        Returns:
            The number of the window's jobs, or None where it must wait.
        """


@dataclass(slots=True)
class _Filling:
    """A window whose jobs are handed in; ``missing`` jobs are not acknowledged yet."""

    window: Window
    slots: deque[int]
    missing: int


class Feed:
    """One epoch's windows on their way through the ring.

    Args:
        windows: The epoch's windows in order.
        ring: Where batches are built.
        desk: Who does the work.
        verify: Whether workers verify checksums.
    """

    def __init__(self, windows: Iterator[Window], ring: Ring, desk: Desk, *, verify: bool) -> None:
        self._windows = windows
        self._ring = ring
        self._desk = desk
        self._verify = verify
        self._next_window = next(windows, None)
        self._filling: deque[_Filling] = deque()
        self._first = 0

    def fill(self) -> None:
        """Hand in windows as long as there is room for them."""
        while self._next_window is not None and self._open_window(self._next_window):
            self._next_window = next(self._windows, None)

    def windows(self) -> Iterator[Window]:
        """Yield the windows in order, to be asked for with :meth:`ready` and emptied with :meth:`take_slot`."""
        while True:
            self.fill()
            if not self._filling:
                assert self._next_window is None, "a window and the batches a consumer may hold always fit the ring"
                return
            filling = self._filling[0]
            yield filling.window
            assert not filling.slots, "a window is left only when its batches are taken"
            self._filling.popleft()
            self._first += 1

    def ready(self) -> bool:
        """Tell whether the oldest window is filled."""
        return self._filling[0].missing == 0

    def acknowledge(self, window: int) -> None:
        """Note that a job of a window is done."""
        self._filling[window - self._first].missing -= 1

    def take_slot(self) -> int:
        """Return the slot of the oldest window's next batch; it is the caller's now."""
        return self._filling[0].slots.popleft()

    def _open_window(self, window: Window) -> bool:
        slots = self._ring.take(window.num_batches)
        if slots is None:
            return False
        batch = self._ring.batch_size
        slot_rows = (np.array(slots, np.int64)[:, None] * batch + np.arange(batch)).ravel()
        samples, rows = sort_window(window)
        jobs = self._desk.submit(self._first + len(self._filling), samples, slot_rows[rows], verify=self._verify)
        if jobs is None:
            for slot in slots:
                self._ring.give_back(slot)
            return False
        self._filling.append(_Filling(window, deque(slots), jobs))
        return True
