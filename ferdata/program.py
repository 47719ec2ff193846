"""How this program was called, which every hint is worded after: with flags for a command line, arguments for Python.

In: what the command line noted of itself. Out: the words to type. Where it noted nothing, Python calls the functions.
"""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

__all__ = [
    "STOPS",
    "as_typed",
    "command_line",
    "go_on",
    "in_verb",
    "is_command_line",
    "note_program",
    "note_stop",
    "stopped",
    "stopped_by",
    "stops_held",
]

STOPS = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the end of its terminal"}
"""Signals that stop the work, where the system has them."""

_OPTION = re.compile(r"(?<=[ (])([a-z_]+)=('[^']*'|(?:[^\s,;:.)]|[:.](?=\S))*)")
"""An option in a text, with its value; none where a text begins: a path stands there, which may be called so."""

_SOURCE = re.compile(r"\bsource '([a-z0-9]+)'")
"""A data set's source as Python names it, which is a verb's first argument."""

_state: dict[str, Any] = {"program": "ferdata", "flags": None, "signal": None}


def note_program(path: str) -> None:
    """Note what was typed to start this program, where it is the command line."""
    _state["program"] = path


@contextmanager
def stops_held() -> Iterator[None]:
    """Let signals that stop the work wait until the block ends: a process being forked would be known to nobody."""
    came: list[int] = []
    before: dict[int, Any] = {}
    own = os.getpid()

    def hold(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            came.append(number)
        elif number == signal.SIGTERM:  # a forked process that has not come to its own handlers yet: its parent ends it
            os._exit(128 + number)

    try:
        for name in STOPS:
            number = getattr(signal, name, None)
            if (
                threading.current_thread() is threading.main_thread()
                and number
                and callable(handler := signal.getsignal(number))
            ):
                before[number] = handler
                signal.signal(number, hold)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def in_verb(flags: Callable[[], Mapping[str, Sequence[str]]]) -> Iterator[None]:
    """Note that a verb of the command line runs in this process, until the block ends.

    Args:
        flags: Returns option -> the flag that gives it, and the one that takes it back, if there is one.
    """
    before, _state["flags"] = _state["flags"], flags
    try:
        yield
    finally:
        _state["flags"] = before


def is_command_line() -> bool:
    """Tell whether a person typed a verb, rather than called a function."""
    return _state["flags"] is not None


def note_stop(number: int) -> None:
    """Note the signal that stops this process's work."""
    _state["signal"] = number


def stopped() -> str:
    """Return what stopped this process's work, in words."""
    number = stopped_by()
    return f"stopped by {STOPS[signal.Signals(number).name] if number else 'Ctrl-C'}"


def stopped_by() -> int | None:
    """Return the signal that stopped this process's work, or None."""
    return cast("int | None", _state["signal"])


def as_typed(text: str, *, leading: bool = False) -> str:
    """Return a text with options called what the caller knows them by.

    Texts are written for Python: ``use a smaller size=, resume=False, or source 'folder'``. In a verb, these are
    ``--size``, ``--fresh`` and ``shard folder``.

    Args:
        text: What is to be shown.
        leading: Whether what stands before the first colon is an option as well, or two: ``lr: 0 found``.
    """
    if not is_command_line():
        return text
    flags: Mapping[str, Sequence[str]] = _state["flags"]()
    where, colon, rest = text.partition(":")
    if leading and colon and all(name in flags for name in where.split(" and ")):
        text = " and ".join(flags[name][0] for name in where.split(" and ")) + colon + rest
    text = _SOURCE.sub(r"shard \1", text)
    return _OPTION.sub(lambda found: _typed(flags.get(found[1]), found[2]) or found[0], text)


def _typed(flags: Sequence[str] | None, value: str) -> str | None:
    if flags is None:
        return None
    return {"": flags[0], "True": flags[0], "False": flags[-1]}.get(value) or f"{flags[0]} {value}"


def command_line(*, num_processes: int = 1) -> str:
    """Return how this program is started: ``ferdata``, by its path, as a module, or through ``torchrun``."""
    script = Path(str(_state["program"]))
    how = "-m ferdata" if script.name == "__main__.py" else str(script) if script.suffix == ".py" else ""
    if num_processes > 1:
        num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", num_processes))
        return f"torchrun --nproc-per-node {num_processes} {how or '--no-python ferdata'}"
    return f"python {how}" if how else "ferdata"


def go_on(run: object, *, num_processes: int = 1) -> str:
    """Return what to type to go on with a training run."""
    if is_command_line():
        return f"{command_line(num_processes=num_processes)} train --resume {run}"
    return f"train(TrainOptions(resume={str(run)!r}))"
