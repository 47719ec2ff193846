"""Ctrl-C, SIGTERM and the terminal's end: a wish to stop after the step. In: signals. Out: a flag the loop looks at."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from ferdata.program import STOPS, note_stop

__all__ = ["StopSignal"]

_SIGNALS = tuple(getattr(signal, name) for name in STOPS if hasattr(signal, name))


class StopSignal:
    """While open, the first of the signals only sets ``requested``; a second SIGINT interrupts at once.

    Loader workers are forked while it is open and inherit the handlers: they ignore SIGINT, which a terminal sends to
    them too, because their trainer decides when they stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            listened = [
                number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
            ]  # as nohup has it
            self._before = {number: signal.signal(number, self._handle) for number in listened}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        note_stop(number)
        self.requested = True
