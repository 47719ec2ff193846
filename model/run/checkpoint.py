"""Checkpoints: everything a run needs to go on, as tensors and plain values, so that reading one runs no code.

In: a :class:`Checkpoint`. Out: a file that appears whole or not at all, whose every byte is checked before it is read
with ``weights_only=True``.
"""

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch

import ferdata
from ferdata.errors import TrainError
from ferdata.store import Store
from ferdata.training.run.disk import naming
from ferdata.training.run.foreign import describe_file, describe_record
from ferdata.training.run.train_state import TrainState

__all__ = [
    "BEST_NAME",
    "CHECKPOINT_VERSION",
    "LAST_NAME",
    "Checkpoint",
    "NetworkRecord",
    "Normalisation",
    "find_checkpoint",
    "foreign_file",
    "is_ours",
    "read_archive",
]

CHECKPOINT_VERSION = 3
LAST_NAME = "last.pt"
BEST_NAME = "best.pt"

_WEIGHTS = ("model", "network", "classes", "normalisation", "transform", "dataset", "state")
_TO_RESUME = ("optimizer", "scaler", "loader")
_UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile)
"""What torch and zipfile raise over damaged bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """What a network is: the arguments of :func:`model.nets.networks.build_network` beside the classes."""

    name: str
    size: tuple[int, int]
    channels: int
    dropout: float
    valence_arousal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """What a channel's pixel values had subtracted and were divided by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: str = "pixel values from 0 to 255"


_NESTED = (NetworkRecord, Normalisation, TrainState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A network, what it was trained on, and where its run stands.

    Attributes:
        model: Its weights by name.
        network: What it is.
        classes: Names of the classes.
        normalisation: How its images are normalised.
        transform: ``fingerprint`` and ``settings`` of what made the pixels of the shards.
        dataset: Fingerprint of the data set.
        state: Where the run stands.
        optimizer: State of the optimizer; None, as the next two, in weights that no run goes on from (``best.pt``).
        scaler: State of the scale of the gradients.
        loader: State of the loader: which sample is next.
        averaged: The average of the weights, where a run keeps one; ``best.pt`` holds it as ``model``.
        region: What it sees of a face, as it is typed; None for all of it.
    """

    model: Mapping[str, torch.Tensor]
    network: NetworkRecord
    classes: tuple[str, ...]
    normalisation: Normalisation
    transform: dict[str, Any]
    dataset: str
    state: TrainState
    optimizer: dict[str, Any] | None = None
    scaler: dict[str, Any] | None = None
    loader: dict[str, Any] | None = None
    averaged: dict[str, Any] | None = None
    region: str | None = None

    def write(self, path: Path) -> None:
        """Write the file; the one that was there stays until the new one is on the disk.

        Raises:
            TrainError: If the disk does not take it.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {name: value for name, value in values.items() if value is not None}
        record = {name: asdict(value) if isinstance(value, _NESTED) else value for name, value in kept.items()}
        with naming(path), Store(path.parent).write_atomic(path.name) as file:
            torch.save({"ferdata": ferdata.__version__, "version": CHECKPOINT_VERSION, **record}, file)

    @classmethod
    def read(cls, path: Path, *, to_resume: bool = False) -> Self:
        """Return what :meth:`write` wrote, its tensors on the CPU.

        Args:
            path: The file.
            to_resume: Whether a run is to go on from it, which takes more than weights.

        Raises:
            TrainError: If the file is missing, damaged, of another version or program, or holds less than is needed.
        """
        record = read_archive(path)
        if not is_ours(record):
            raise foreign_file(path, describe_record(record))
        return cls.of(record, path, to_resume=to_resume)

    @classmethod
    def of(cls, record: dict[str, Any], path: Path, *, to_resume: bool = False) -> Self:
        """Return what was read from a file.

        Raises:
            TrainError: If it is of another version, damaged, or holds less than is needed.
        """
        _check_version(record, path)
        missing = [name for name in (*_WEIGHTS, *(_TO_RESUME if to_resume else ())) if name not in record]
        if missing:
            kind = "weights alone, as in best.pt, " if not set(_WEIGHTS) & set(missing) else "a record "
            raise _unusable(path, f"{kind}without {', '.join(missing)}")
        if not _holds_tensors(record["model"]):
            raise _unusable(path, "weights that are no tensors")
        try:
            return cls(
                model=record["model"],
                network=NetworkRecord(**{**record["network"], "size": tuple(map(int, record["network"]["size"]))}),
                classes=tuple(record["classes"]),
                normalisation=Normalisation(**{**record["normalisation"], **_channels(record["normalisation"])}),
                transform=dict(record["transform"]),
                dataset=record["dataset"],
                state=TrainState(**record["state"]),
                region=record.get("region"),
                **{name: dict(record[name]) for name in (*_TO_RESUME, "averaged") if name in record},
            )
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise _unusable(path, str(error)) from error


def find_checkpoint(run: str | os.PathLike[str]) -> Path:
    """Return the checkpoint to start other runs from: the file itself, or a run's best one, else its last one.

    Raises:
        TrainError: If there is none.
    """
    path = Path(run)
    found = [path] if path.is_file() else [file for file in (path / BEST_NAME, path / LAST_NAME) if file.is_file()]
    if not found:
        raise TrainError(
            f"{path}: no {BEST_NAME} or {LAST_NAME} found, expected the folder of a run or a checkpoint; check the path"
        )
    return found[0]


def read_archive(path: Path) -> Any:
    """Return what is in a file of torch's that holds tensors and plain values, ours or another program's.

    Raises:
        TrainError: If it is missing, damaged or something else.
    """
    try:
        if found := describe_file(path):
            raise foreign_file(path, found)
        _check_bytes(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainError(
            f"{path}: no such checkpoint, expected one of a run that has trained for a while; check the path"
        ) from error
    except pickle.UnpicklingError as error:
        raise foreign_file(path, "more than tensors and plain values") from error
    except _UNREADABLE as error:
        raise _unusable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def is_ours(record: Any) -> bool:
    """Tell whether it was ferdata that wrote what was read from a file."""
    return isinstance(record, dict) and ("ferdata" in record or {"standing", "dataset"} <= set(record))


def _check_version(record: dict[str, Any], path: Path) -> None:
    version = record.get("version")
    if version == 2 and isinstance(record.get("standing"), dict):
        record["state"] = {**record["standing"], "notes": record.get("notes", []), "advised": record.get("advised", [])}
    elif version != CHECKPOINT_VERSION:
        writer = f"ferdata {record['ferdata']}" if "ferdata" in record else "an earlier ferdata"
        raise TrainError(
            f"{path}: a checkpoint of {writer} (version {version}) found, expected version {CHECKPOINT_VERSION}; "
            "go on with the ferdata that wrote it, or train again with this one"
        )


def _check_bytes(path: Path) -> None:
    """Compare every file in the archive with its checksum: torch itself reads flipped bits without a word."""
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("something else than a whole file of torch's")
    with zipfile.ZipFile(path) as archive:
        try:
            damaged = archive.testzip()
        except (OSError, ValueError, LookupError, NotImplementedError, RuntimeError) as error:
            raise zipfile.BadZipFile(f"damaged bytes ({error})") from error
        if damaged is not None:
            raise zipfile.BadZipFile(f"damaged bytes in its part {damaged} (another checksum)")


def _holds_tensors(weights: Any) -> bool:
    return isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())


def _channels(normalisation: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(map(float, normalisation[name])) for name in ("mean", "std")}


def foreign_file(path: Path, found: str) -> TrainError:
    """Return the error for a file that no run wrote."""
    return TrainError(
        f"{path}: {found} found, expected a checkpoint that ferdata wrote; name the folder of a run, or its best.pt "
        "(published weights come with model=timm:NAME pretrained=True, a state_dict of another program with init_from=)"
    )


def _unusable(path: Path, found: str) -> TrainError:
    return TrainError(
        f"{path}: {found} found, expected a checkpoint that ferdata wrote; "
        "use the run's other one with init_from= or start again"
    )
