"""Ctrl-C around workers: held back while they start or stop, and left to the parent while they work."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["interrupts_held", "leave_interrupts_to_parent"]


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends.

    An interrupt while torch starts or stops workers would leave locks held, and workers that are still importing torch
    could only print a traceback: they inherit the blocked signal.
    """
    held: list[int] = []
    in_main = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler: Any = None
    try:
        # Both calls run the handlers of pending signals; whatever those raise, the previous state is restored.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if in_main:
            handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def leave_interrupts_to_parent(_: int) -> None:
    """Ignore Ctrl-C, which a terminal or a notebook sends to workers too: the parent decides whether they continue."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
