"""Ctrl-C and SIGTERM as a wish to stop after the current step. In: signals. Out: a flag the loop looks at."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopSignal"]


class StopSignal:
    """While open, the first SIGINT or SIGTERM only sets ``requested``; a second SIGINT interrupts at once.

    Loader workers are forked while it is open and inherit the handlers: they ignore SIGINT, which a terminal sends to them too,
    because their trainer decides when they stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
