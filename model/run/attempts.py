"""Which run to go on with if none is named: an earlier attempt's of the same torchrun, or the newest unfinished one.

In: settings, and what torchrun says of itself. Out: a run's folder, or None, as the first rank sees it.
"""

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ferdata.errors import TrainError
from ferdata.training.options import TrainOptions
from ferdata.training.run.checkpoint import LAST_NAME
from ferdata.training.run.disk import read_json
from ferdata.training.run.meeting import first_says, is_unique, launch_name, restarts

__all__ = ["AUTO", "Attempt", "find_attempt"]

AUTO = "auto"
"""What ``resume`` is set to where the run is to be found."""

_calls = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What was begun already of a run that nobody named.

    Attributes:
        launch: What the same call of every attempt of one torchrun writes down of itself; None without torchrun.
        begun: The run to go on with; None where a new one is to begin.
        has_checkpoint: Whether it came to a checkpoint; it is begun again in its folder if not.
        same_command: Whether this very command began it.
    """

    launch: str | None = None
    begun: Path | None = None
    has_checkpoint: bool = False
    same_command: bool = False

    def settings(
        self, options: TrainOptions, given: Collection[str] | None
    ) -> tuple[TrainOptions, Collection[str] | None]:
        """Return the settings, and the names asked for, with ``resume`` filled in where a run is to be gone on with.

        What an earlier attempt began was begun by the same command, so nothing in it can clash.
        """
        if self.begun is None or not self.has_checkpoint:
            return options, given
        return replace(options, resume=str(self.begun)), () if self.same_command else given


def find_attempt(options: TrainOptions) -> Attempt:
    """Return what was begun already; every rank, and every call in the same order, must ask.

    A run that ``options`` name is not looked for, nor is one that has another name than they say.

    Args:
        options: With ``resume`` None, or :data:`AUTO`, or the folder of a run.
    """
    number = next(_calls)

    def look() -> dict[str, Any]:
        launch = None if (name := launch_name()) is None else f"{name}/{number}"
        begun, same_command = _find(options, launch) if options.resume in (None, AUTO) else (None, False)
        return {
            "launch": launch,
            "begun": None if begun is None else str(begun),
            "has_checkpoint": begun is not None and (begun / LAST_NAME).is_file(),
            "same_command": same_command,
        }

    said = first_says(look)
    return Attempt(**(said | {"begun": None if said["begun"] is None else Path(said["begun"])}))


def _find(options: TrainOptions, launch: str | None) -> tuple[Path | None, bool]:
    """Return the run to go on with, and whether this very command began it; (None, False) where there is none."""
    folders = [Path(options.out) / options.name] if options.name is not None else _children(Path(options.out))
    runs = sorted((folder for folder in folders if (folder / "config.json").is_file()), key=_begun_at, reverse=True)
    if launch is not None and (is_unique() or restarts()):
        for run in runs:
            if _value(run / "environment.json", "launch") == launch:
                return run, True
    if options.resume == AUTO:
        return next((run for run in runs if options.name is not None or not _is_finished(run)), None), False
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
