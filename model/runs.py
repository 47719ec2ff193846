"""A run's folder: its settings, its machine, and what it measured, written as it goes.

In: figures. Out: ``config.json``, ``environment.json``, ``metrics.jsonl`` and TensorBoard events below ``runs/<name>/``.
"""

import contextlib
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
from ferdata.errors import TrainError
from ferdata.store import Store
from model.distributed import Ranks
from model.options import TrainOptions

__all__ = ["RunLog", "make_run", "open_run", "read_metrics", "write_json"]

CONFIG_NAME = "config.json"
ENVIRONMENT_NAME = "environment.json"
METRICS_NAME = "metrics.jsonl"
EVENTS_NAME = "tensorboard"


def make_run(options: TrainOptions, ranks: Ranks, *, source: str) -> Path:
    """Make the folder of a new run and write its settings.

    Args:
        options: The settings.
        ranks: The processes of the run.
        source: Name of the data set, for the run's name.

    Raises:
        TrainError: If a run of that name is there already.
    """
    name = options.name or f"{options.model_name.replace(':', '-').replace('/', '-')}-{source}-{time.strftime('%Y%m%d-%H%M%S')}"
    path = Path(options.out) / name
    if options.name is None:
        while path.exists():
            path = path.with_name(f"{path.name}-again")
    if path.exists() and any(path.iterdir()):
        raise TrainError(f"{path}: a run of this name is there already, expected a new name; choose another, or go on with --resume {path}")
    Store(path).make_dir()
    write_json(path / CONFIG_NAME, options.to_json())
    write_json(path / ENVIRONMENT_NAME, _environment(ranks))
    return path


def open_run(run: str | os.PathLike[str]) -> tuple[Path, TrainOptions]:
    """Return a run's folder and settings.

    Raises:
        TrainError: If it is no run's folder.
    """
    path = Path(run)
    config = path / CONFIG_NAME
    try:
        record = json.loads(config.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainError(f"{path}: no {CONFIG_NAME} found, expected the folder of a run; check the path") from error
    except json.JSONDecodeError as error:
        raise TrainError(f"{config}: {error}, expected the settings ferdata wrote; start a new run") from error
    return path, TrainOptions.from_json(record, str(config))


class RunLog:
    """Writes a run's metrics; does nothing on ranks other than the first.

    Args:
        path: The run's folder.
        active: Whether this process writes.
        first_step: Step the run begins or goes on with; what a run that was killed wrote beyond its checkpoint is dropped.
        first_epoch: Likewise, the epoch.
    """

    def __init__(self, path: Path, *, active: bool, first_step: int, first_epoch: int) -> None:
        self.path = path
        self._lines: Any = None
        self._events: Any = None
        if not active:
            return
        kept = [line for line in read_metrics(path) if _is_before(line, first_step, first_epoch)]
        with Store(path).write_atomic(METRICS_NAME) as file:
            file.write("".join(json.dumps(line) + "\n" for line in kept).encode())
        from torch.utils.tensorboard import SummaryWriter  # only the first rank needs it, and it is slow to import

        self._lines = open(path / METRICS_NAME, "a", encoding="utf-8", buffering=1)  # noqa: SIM115, closed with the log
        self._events = SummaryWriter(str(path / EVENTS_NAME), purge_step=first_step if first_step else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._lines is not None:
            self._lines.close()
            self._events.close()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a line, and its numbers as events; a value that is a dict of numbers becomes a group of them.

        Args:
            kind: ``step``, ``epoch`` or ``final``.
            step: The last step the figures are of, counted from 0.
            values: Ready for JSON.
        """
        if self._lines is None:
            return
        self._lines.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in _numbers(kind, values):
            self._events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Put everything on the disk."""
        if self._lines is not None:
            self._lines.flush()
            os.fsync(self._lines.fileno())
            self._events.flush()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``; a last line that was cut off by a crash is left out."""
    try:
        text = (path / METRICS_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.split("\n"):
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def _is_before(line: Mapping[str, Any], first_step: int, first_epoch: int) -> bool:
    limit = first_epoch if line["kind"] == "epoch" else first_step
    return line["kind"] != "final" and bool(line["epoch" if line["kind"] == "epoch" else "step"] < limit)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a small JSON file atomically."""
    with Store(path.parent).write_atomic(path.name) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}/{name}", value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}/{name}", float(value)


def _environment(ranks: Ranks) -> dict[str, Any]:
    on_gpu = ranks.device.type == "cuda"
    return {
        "ferdata": ferdata.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(ranks.device) if on_gpu else "cpu",
        "world_size": ranks.world_size,
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit of the code that runs, where it runs from a repository."""
    folder = Path(ferdata.__file__).resolve().parents[1]
    try:
        done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
