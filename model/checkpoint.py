"""Checkpoints: everything a run needs to go on, as tensors and plain values, so that reading one runs no code.

In: a record. Out: a file that appears whole or not at all, read with ``weights_only=True``.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ferdata.errors import TrainError
from ferdata.store import Store

__all__ = ["BEST_NAME", "CHECKPOINT_VERSION", "LAST_NAME", "find_checkpoint", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_VERSION = 1
LAST_NAME = "last.pt"
BEST_NAME = "best.pt"


def save_checkpoint(path: Path, record: dict[str, Any]) -> None:
    """Write a record of tensors, numbers, text, lists and dicts; the file that was there stays until the new one is on the disk."""
    with Store(path.parent).write_atomic(path.name) as file:
        torch.save({"version": CHECKPOINT_VERSION, **record}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a record, its tensors on the CPU.

    Raises:
        TrainError: If the file is missing, damaged, of another version, or holds more than tensors and plain values.
    """
    try:
        record: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainError(f"{path}: no such checkpoint, expected one of a run that has trained for a while; check the path") from error
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainError(f"{path}: {reason}, expected a checkpoint that ferdata wrote; use the run's other one or start again") from error
    if not isinstance(record, dict):
        record = {}
    version = record.get("version")
    if version != CHECKPOINT_VERSION:
        raise TrainError(f"{path}: checkpoint version {version} found, expected {CHECKPOINT_VERSION}; train again with this ferdata")
    return dict(record)


def find_checkpoint(run: str | os.PathLike[str]) -> Path:
    """Return the checkpoint to start other runs from: the file itself, or a run's best one, else its last one.

    Raises:
        TrainError: If there is none.
    """
    path = Path(run)
    found = [path] if path.is_file() else [file for file in (path / BEST_NAME, path / LAST_NAME) if file.is_file()]
    if not found:
        raise TrainError(f"{path}: no {BEST_NAME} or {LAST_NAME} found, expected the folder of a run or a checkpoint; check the path")
    return found[0]
