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

import ferdata
from ferdata.errors import TrainError
from ferdata.store import Store
from model.run.disk import naming
from model.run.foreign import describe_file, describe_record

__all__ = ["BEST_NAME", "CHECKPOINT_VERSION", "LAST_NAME", "WEIGHTS", "find_checkpoint", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_VERSION = 2
LAST_NAME = "last.pt"
BEST_NAME = "best.pt"

WEIGHTS = ("model", "network", "classes", "normalisation", "transform", "dataset", "standing")
"""What every checkpoint holds."""


def save_checkpoint(path: Path, record: dict[str, Any]) -> None:
    """Write a record of tensors, numbers, text, lists and dicts; the file that was there stays until the new one is on the disk.

    Raises:
        TrainError: If the disk does not take it.
    """
    with naming(path), Store(path.parent).write_atomic(path.name) as file:
        torch.save({"ferdata": ferdata.__version__, "version": CHECKPOINT_VERSION, **record}, file)


def load_checkpoint(path: Path, *, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Return a record, its tensors on the CPU.

    Args:
        path: The file.
        needed: What the record must hold.

    Raises:
        TrainError: If the file is missing, damaged, of another version, or holds other things than those that are needed.
    """
    try:
        if found := describe_file(path):
            raise _foreign(path, found)
        _check_bytes(path)
        record: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainError(f"{path}: no such checkpoint, expected one of a run that has trained for a while; check the path") from error
    except pickle.UnpicklingError as error:
        raise _foreign(path, "more than tensors and plain values") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _unusable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    _check_origin(path, record)
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
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("something else than a whole file of torch's")
    with zipfile.ZipFile(path) as archive:
        try:
            damaged = archive.testzip()
        except (OSError, ValueError, LookupError, NotImplementedError, RuntimeError) as error:
            raise zipfile.BadZipFile(f"damaged bytes ({error})") from error
        if damaged is not None:
            raise zipfile.BadZipFile(f"damaged bytes in its part {damaged} (another checksum)")


def _check_origin(path: Path, record: Any) -> None:
    """See that a run of a ferdata that this one can read wrote a record."""
    version = record.get("version") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not ("ferdata" in record or {"standing", "dataset"} <= set(record)):
        raise _foreign(path, describe_record(record))
    if version != CHECKPOINT_VERSION:
        writer = f"ferdata {record['ferdata']}" if "ferdata" in record else "an earlier ferdata"
        raise TrainError(
            f"{path}: a checkpoint of {writer} (version {version}) found, expected version {CHECKPOINT_VERSION}; "
            "go on with the ferdata that wrote it, or train again with this one"
        )


def _holds_tensors(weights: Any) -> bool:
    return isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())


def _foreign(path: Path, found: str) -> TrainError:
    return TrainError(
        f"{path}: {found} found, expected a checkpoint that ferdata wrote; name the folder of a run, or its best.pt "
        "(published weights come with --model timm:NAME --pretrained)"
    )


def _unusable(path: Path, found: str) -> TrainError:
    return TrainError(
        f"{path}: {found} found, expected a checkpoint that ferdata wrote; use the run's other one with --init-from or start again"
    )
