"""How this program was called, which every hint is worded after: with flags for a command line, arguments for Python.

In: what the command line noted of itself. Out: the words to type. Where it noted nothing, Python calls the functions.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "command_line",
    "flag",
    "go_on",
    "in_verb",
    "is_command_line",
    "note_program",
    "note_stop",
    "stopped_by",
    "stops_held",
]

_FLAGS = {"num_workers": "workers", "json_file": "json"}
"""Options whose flag is called otherwise than their argument."""

_state: dict[str, str | bool | int | None] = {"program": "ferdata", "verb": False, "signal": None}


def note_program(path: str) -> None:
    """Note what was typed to start this program, where it is the command line."""
    _state["program"] = path


@contextmanager
def stops_held() -> Iterator[None]:
    """Let signals that stop the work wait until the block ends: a process being forked would be known to nobody."""
    came: list[int] = []
    before: dict[int, Any] = {}
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if (
                threading.current_thread() is threading.main_thread()
                and number
                and callable(handler := signal.getsignal(number))
            ):
                before[number] = handler
                signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def in_verb() -> Iterator[None]:
    """Note that a verb of the command line runs in this process, until the block ends."""
    before, _state["verb"] = _state["verb"], True
    try:
        yield
    finally:
        _state["verb"] = before


def is_command_line() -> bool:
    """Tell whether a person typed a verb, rather than called a function."""
    return bool(_state["verb"])


def note_stop(number: int) -> None:
    """Note the signal that stops this process's work."""
    _state["signal"] = number


def stopped_by() -> int | None:
    """Return the signal that stopped this process's work, or None."""
    number = _state["signal"]
    return number if isinstance(number, int) else None


def flag(name: str) -> str:
    """Return what the caller knows an option by: ``--batch-size`` on the command line, ``batch_size`` in Python."""
    return f"--{_FLAGS.get(name, name).replace('_', '-')}" if is_command_line() else name


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
