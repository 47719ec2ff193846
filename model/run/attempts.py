"""Which run to go on with if none is named: an earlier attempt's of the same torchrun, or the newest unfinished one.

In: settings and the environment torchrun sets. Out: a run's folder, or None. Every rank finds the same before the ranks
have met.
"""

import os
import socket
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ferdata.errors import TrainError
from ferdata.training.options import TrainOptions
from ferdata.training.run.checkpoint import LAST_NAME
from ferdata.training.run.disk import read_json

__all__ = ["AUTO", "attempt", "find_begun", "find_resume", "launch"]

AUTO = "auto"
"""What ``resume`` is set to where the run is to be found."""


def attempt() -> int:
    """Return how often torchrun has started this run's processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def launch() -> str | None:
    """Return what all attempts of one torchrun have in common, and nothing else has; None without torchrun."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    # torchrun calls its runs "none" where nobody named them; the process that starts every attempt is what they share
    return f"{socket.gethostname()}:{os.getppid()}" if name == "none" else name


def find_resume(options: TrainOptions, given: Collection[str] | None) -> tuple[TrainOptions, Collection[str] | None]:
    """Return the settings, and the names asked for, with ``resume`` filled in where a run is to be gone on with.

    What an earlier attempt began was begun by the same command, so nothing in it can clash.
    """
    if options.resume not in (None, AUTO):
        return options, given
    begun, same_command = find_begun(options)
    if begun is None or not (begun / LAST_NAME).is_file():
        return options, given
    return replace(options, resume=str(begun)), () if same_command else given


def find_begun(options: TrainOptions) -> tuple[Path | None, bool]:
    """Return the run to go on with, and whether it is of this very command; (None, False) where a new one is to begin.

    Args:
        options: With ``resume`` None, or :data:`AUTO`.
    """
    folders = [Path(options.out) / options.name] if options.name is not None else _children(Path(options.out))
    runs = sorted((folder for folder in folders if (folder / "config.json").is_file()), key=_begun_at, reverse=True)
    if attempt() > 0:
        for run in runs:
            if _value(run / "environment.json", "launch") == launch():
                return run, True
    if options.resume == AUTO:
        return next((run for run in runs if not _is_finished(run)), None), False
    return None, False


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _begun_at(run: Path) -> tuple[float, str]:
    return (run / "config.json").stat().st_mtime, run.name


def _is_finished(run: Path) -> bool:
    done, wanted = _value(run / "result.json", "epochs"), _value(run / "config.json", "epochs")
    return isinstance(done, int) and isinstance(wanted, int) and done >= wanted


def _value(path: Path, name: str) -> object:
    try:
        return read_json(path, what="what ferdata wrote").get(name)
    except (FileNotFoundError, NotADirectoryError, TrainError):
        return None
