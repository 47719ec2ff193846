"""Checkpoints: everything a run needs to go on, as tensors and plain values, so that reading one runs no code.

In: a record. Out: a file that appears whole or not at all, whose every byte is checked before it is read with ``weights_only=True``.
"""

import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ferdata.errors import TrainError
from ferdata.store import Store
from model.disk import naming

__all__ = ["BEST_NAME", "CHECKPOINT_VERSION", "LAST_NAME", "WEIGHTS", "find_checkpoint", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_VERSION = 1
LAST_NAME = "last.pt"
BEST_NAME = "best.pt"

WEIGHTS = ("model", "network", "classes", "dataset", "standing")
"""What every checkpoint holds."""


def save_checkpoint(path: Path, record: dict[str, Any]) -> None:
    """Write a record of tensors, numbers, text, lists and dicts; the file that was there stays until the new one is on the disk.

    Raises:
        TrainError: If the disk does not take it.
    """
    with naming(path), Store(path.parent).write_atomic(path.name) as file:
        torch.save({"version": CHECKPOINT_VERSION, **record}, file)


def load_checkpoint(path: Path, *, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Return a record, its tensors on the CPU.

    Args:
        path: The file.
        needed: What the record must hold.

    Raises:
        TrainError: If the file is missing, damaged, of another version, or holds other things than those that are needed.
    """
    try:
        _check_bytes(path)
        record: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainError(f"{path}: no such checkpoint, expected one of a run that has trained for a while; check the path") from error
    except pickle.UnpicklingError as error:
        raise _unusable(path, "more than tensors and plain values") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _unusable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if not isinstance(record, dict):
        raise _unusable(path, f"a {type(record).__name__}")
    version = record.get("version")
    if version != CHECKPOINT_VERSION:
        raise TrainError(f"{path}: checkpoint version {version} found, expected {CHECKPOINT_VERSION}; train again with this ferdata")
    missing = [name for name in needed if name not in record]
    if missing:
        kind = "weights alone, as in best.pt, " if not set(WEIGHTS) & set(missing) else "a record "
        raise _unusable(path, f"{kind}without {', '.join(missing)}")
    if "model" in record and not _holds_tensors(record["model"]):
        raise _unusable(path, "weights that are no tensors")
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


def _check_bytes(path: Path) -> None:
    """Compare every file in the archive with its checksum: torch itself reads weights with flipped bits without a word."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("something else than a whole file of torch's")
        with zipfile.ZipFile(file) as archive:
            try:
                damaged = archive.testzip()
            except (OSError, ValueError, LookupError, NotImplementedError, RuntimeError) as error:
                raise zipfile.BadZipFile(f"damaged bytes ({error})") from error
            if damaged is not None:
                raise zipfile.BadZipFile(f"damaged bytes in its part {damaged} (another checksum)")


def _holds_tensors(weights: Any) -> bool:
    return isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())


def _unusable(path: Path, found: str) -> TrainError:
    return TrainError(
        f"{path}: {found} found, expected a checkpoint that ferdata wrote; use the run's other one with --init-from or start again"
    )
