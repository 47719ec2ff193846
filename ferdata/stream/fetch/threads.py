"""Threads that wait for a network: tasks are begun in order, many at a time, and all of it ends at once.

In: tasks with a place in the order. Out: nothing; a task keeps what it found. Costs a thread per task in flight.
"""

import heapq
import os
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from ferdata.errors import WorkerError
from ferdata.remote import Patience

__all__ = ["RequestThreads", "Task"]

_NAME = "ferdata-fetch"
_JOIN_SECONDS = 0.05


class Task(Protocol):
    """One request."""

    def begin(self) -> bool:
        """Take what it needs and tell whether that was there; called under the lock, again after every change."""

    def run(self) -> None:
        """Do it, without the lock; it may raise nothing."""


class RequestThreads:
    """A few threads that do tasks, the first in order first.

    Args:
        count: Tasks that are done at a time.
        patience: What tasks wait with.

    Attributes:
        changed: The lock of all that tasks and whoever waits for them share; notified after every change.
    """

    def __init__(self, count: int, patience: Patience) -> None:
        self.changed = threading.Condition()
        self._is_ended, self._patience = False, patience
        self._running = 0
        self._count, self._process = count, os.getpid()
        self._tasks: list[tuple[Sequence[int], int, Task]] = []
        self._pushed = 0
        self._threads: list[threading.Thread] = []

    def push(self, key: Sequence[int], task: Task) -> None:
        """Have a task done, before those of larger keys."""
        with self.changed:
            heapq.heappush(self._tasks, (key, self._pushed, task))
            self._pushed += 1
            if len(self._threads) < min(self._count, self._running + len(self._tasks)):
                self._start()
            self.changed.notify()

    def end(self, seconds: float | None = None) -> None:
        """Drop what has not begun, and wait until what has is over, or so long for each thread."""
        if os.getpid() != self._process:  # a fork has none of the threads, and its lock may be held for ever
            return
        with self.changed:
            self._is_ended = True
            self._tasks.clear()
            self.changed.notify_all()
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            while thread.is_alive() and (until is None or time.monotonic() < until):
                if self._running:
                    self._patience.interrupt()  # again and again: a thread may have been about to begin
                thread.join(_JOIN_SECONDS)

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, name=_NAME, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise WorkerError(
                    f"loader: no thread could be started ({error}), expected room for {self._count}; raise the limit "
                    "(ulimit -u)"
                ) from error
        else:
            self._threads.append(thread)

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            try:
                task.run()
            finally:
                with self.changed:
                    self._running -= 1
            del task  # or an idle thread would keep all that it refers to

    def _next(self) -> Task | None:
        with self.changed:
            while not self._is_ended:
                if self._tasks and self._tasks[0][2].begin():
                    self._running += 1
                    return heapq.heappop(self._tasks)[2]
                self.changed.wait()
            return None
