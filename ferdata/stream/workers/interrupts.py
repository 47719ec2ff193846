"""Ctrl-C is held back while workers start or stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["interrupts_held"]

_BLOCK, _RESTORE = (getattr(signal, name, 0) for name in ("SIG_BLOCK", "SIG_SETMASK"))


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends.

    An interrupt while workers start or stop would leave some of them running, and workers that are still importing
    modules could only print a traceback: they inherit the blocked signal.
    """
    held: list[int] = []
    in_main = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None
    mask: Any = getattr(signal, "pthread_sigmask", lambda *_: set())  # Windows has none, and no worker processes
    before = mask(_BLOCK, ())
    handler: Any = None
    try:
        # Both calls run the handlers of pending signals; whatever those raise, the previous state is restored.
        mask(_BLOCK, {signal.SIGINT})
        if in_main:
            handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        mask(_RESTORE, before)
        if held:
            signal.raise_signal(signal.SIGINT)
