"""A run's folder: its settings, its machine, and what it measured, written as it goes.

In: figures. Out: ``config.json``, ``environment.json``, ``metrics.jsonl``, TensorBoard events below ``runs/<name>/``.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
import torchvision

import ferdata
from ferdata.errors import OptionError, TrainError
from ferdata.parallel import usable_cores
from ferdata.store import Store
from ferdata.training.options import TrainOptions
from ferdata.training.run.attempts import Attempt
from ferdata.training.run.checkpoint import Checkpoint
from ferdata.training.run.disk import json_line, naming, read_json, write_json
from ferdata.training.run.process_group import Ranks

__all__ = ["RunLog", "keep_run", "make_run", "open_run", "read_environment", "read_metrics"]

CONFIG_NAME = "config.json"
ENVIRONMENT_NAME = "environment.json"
METRICS_NAME = "metrics.jsonl"
EVENTS_NAME = "tensorboard"


def make_run(options: TrainOptions, ranks: Ranks, attempt: Attempt, *, source: str) -> Path:
    """Make the folder of a new run and write its settings.

    Args:
        options: The settings.
        ranks: The processes of the run.
        attempt: What was begun of it already, which is begun again.
        source: Name of the data set, for the run's name.

    Raises:
        TrainError: If a run of that name is there already.
    """
    name = options.name or f"{options.short_name}-{source}-{time.strftime('%Y%m%d-%H%M%S')}"
    path = Path(options.out) / name
    if options.name is None:
        while path.exists():
            path = path.with_name(f"{path.name}-again")
    path = attempt.begun or path
    if attempt.begun is None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TrainError(
            f"{path}: a run of this name is there already, expected a new name; "
            f"choose another, or go on with resume={path}"
        )
    Store(path).make_dir()
    _tidy(path)
    write_json(path / CONFIG_NAME, options.to_json() | {"resume": None})
    write_json(path / ENVIRONMENT_NAME, _environment(ranks, attempt))
    return path


def open_run(run: str | os.PathLike[str]) -> tuple[Path, TrainOptions]:
    """Return a run's folder and settings.

    Raises:
        TrainError: If it is no run's folder.
    """
    path = Path(run)
    if path.is_file():
        Checkpoint.read(path)  # says what it is where it is no checkpoint of ours
        raise TrainError(f"{path}: a checkpoint found, expected the folder of its run; go on with resume={path.parent}")
    config = path / CONFIG_NAME
    try:
        record = read_json(config, what="the settings ferdata wrote")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainError(f"{path}: no {CONFIG_NAME} found, expected the folder of a run; check the path") from error
    if not {"shards", "model", "epochs"} <= set(record):
        raise TrainError(
            f"{config}: the settings of another program found, expected the folder of a run of ferdata; check the path"
        )
    try:
        return path, TrainOptions.from_json(record, str(config))
    except OptionError as error:
        raise TrainError(f"{config}: {error}; put back a copy or start a new run") from error


def keep_run(path: Path, options: TrainOptions, ranks: Ranks, attempt: Attempt) -> Path:
    """Write the settings a run goes on with, so that the next resume knows them, and who does; return its folder."""
    _tidy(path)
    write_json(path / CONFIG_NAME, options.to_json())
    try:
        environment = read_environment(path)
    except TrainError:
        environment = _environment(ranks, attempt)
    write_json(path / ENVIRONMENT_NAME, environment | {"launch": attempt.launch})
    return path


def _tidy(path: Path) -> None:
    """Remove what a killed run had half written."""
    for file in path.glob("*.partial-*"):
        with naming(file):
            file.unlink()


def read_environment(path: Path) -> dict[str, Any]:
    """Return what is known of the machine a run was started on.

    Raises:
        TrainError: If the file is missing or damaged.
    """
    try:
        return read_json(path / ENVIRONMENT_NAME, what="the machine ferdata wrote down")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainError(
            f"{path / ENVIRONMENT_NAME}: no such file, expected it in a run's folder; go on with resume={path}"
        ) from error


class RunLog:
    """Writes a run's metrics; does nothing on ranks other than the first.

    Args:
        path: The run's folder.
        active: Whether this process writes.
        first_step: Step the run begins or goes on with; lines a killed run wrote beyond its checkpoint are dropped.
        first_epoch: Likewise, the epoch.
    """

    def __init__(self, path: Path, *, active: bool, first_step: int, first_epoch: int) -> None:
        self.path = path
        self._lines: Any = None
        self._events: Any = None
        if not active:
            return
        kept = [line for line in read_metrics(path) if _is_before(line, first_step, first_epoch)]
        with naming(path / METRICS_NAME), Store(path).write_atomic(METRICS_NAME) as file:
            file.write("".join(map(json_line, kept)).encode())
        from torch.utils.tensorboard import SummaryWriter  # only the first rank needs it, and it is slow to import

        self._lines = open(path / METRICS_NAME, "a", encoding="utf-8", buffering=1)  # noqa: SIM115, closed with the log
        with naming(path / EVENTS_NAME):
            purge = first_step if (path / EVENTS_NAME).exists() else None
            self._events = SummaryWriter(str(path / EVENTS_NAME), purge_step=purge)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is None:
            return
        for file, name in ((self._lines, METRICS_NAME), (self._events, EVENTS_NAME)):
            try:
                with naming(self.path / name):
                    file.close()
            except TrainError:
                if error is None:
                    raise

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a line, and its numbers as events; a value that is a dict of numbers becomes a group of them.

        Args:
            kind: ``step``, ``epoch`` or ``final``.
            step: The last step the figures are of, counted from 0.
            values: Ready for JSON.
        """
        if self._lines is None:
            return
        with naming(self.path / METRICS_NAME):
            self._lines.write(json_line({"kind": kind, "step": step, **values}))
        with naming(self.path / EVENTS_NAME):
            for name, value in _numbers(kind, values):
                self._events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Put everything on the disk."""
        if self._lines is None:
            return
        with naming(self.path / METRICS_NAME):
            self._lines.flush()
            os.fsync(self._lines.fileno())
        with naming(self.path / EVENTS_NAME):
            self._events.flush()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``; a last line that was cut off by a crash is left out.

    Raises:
        TrainError: If any other line is not one that ferdata wrote.
    """
    try:
        lines = (path / METRICS_NAME).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        record = _parsed(line)
        if record is not None:
            found.append(record)
        elif number < len(lines):
            raise TrainError(
                f"{path / METRICS_NAME}: line {number} is {line[:40]!r}, expected figures that ferdata wrote; "
                "put back a copy, or take the file away to go on without the figures so far"
            )
    return found


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    number = record.get("epoch" if record.get("kind") == "epoch" else "step") if isinstance(record, dict) else None
    return record if isinstance(number, int) and "kind" in record else None


def _is_before(line: Mapping[str, Any], first_step: int, first_epoch: int) -> bool:
    limit = first_epoch if line["kind"] == "epoch" else first_step
    return line["kind"] != "final" and bool(line["epoch" if line["kind"] == "epoch" else "step"] < limit)


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}/{name}", value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}/{name}", float(value)


def _environment(ranks: Ranks, attempt: Attempt) -> dict[str, Any]:
    on_gpu = ranks.device.type == "cuda"
    return {
        "ferdata": ferdata.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu_cores": usable_cores(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(ranks.device) if on_gpu else "cpu",
        "world_size": ranks.world_size,
        "launch": attempt.launch,
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit of the code that runs, where it runs from a repository."""
    folder = Path(ferdata.__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
