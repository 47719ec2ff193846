"""Weights that fit by name and shape: of another program's file, or of a run of another network.

In: a file of torch's or safetensors, read without running code. Out: changed weights, and a sentence on what fitted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ferdata.errors import TrainError
from ferdata.training.nets.adapting import adapted_weight
from ferdata.training.nets.heads import map_head
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.layers import names_of
from ferdata.training.run.checkpoint import Checkpoint, foreign_file, is_ours, read_archive
from ferdata.training.run.foreign import SAFETENSORS, describe_file, describe_record

__all__ = ["ForeignWeights", "open_weights", "take_by_name"]

_PREFIXES = ("module.", "_orig_mod.")
"""What wrappers of torch (data parallel, compiled, averaged) put before every name."""
_BODY = "body."
"""What ours put before the names of a backbone, which other programs save by itself."""
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignWeights:
    """What another program left.

    Attributes:
        what: What the file is.
        choices: Every set of weights in it, by name, without the prefixes of wrappers.
    """

    what: str
    choices: tuple[Mapping[str, torch.Tensor], ...]


def open_weights(path: Path) -> Checkpoint | ForeignWeights:
    """Return a run's checkpoint, or the weights in another program's file.

    Raises:
        TrainError: If it is neither, or damaged.
    """
    if describe_file(path) == SAFETENSORS:
        return ForeignWeights(what=SAFETENSORS, choices=(_plain(_read_safetensors(path)),))
    record = read_archive(path)
    if is_ours(record):
        return Checkpoint.of(record, path)
    choices = tuple(_plain(each) for each in (record, *_inner(record)) if _is_weights(each))
    if not choices:
        raise foreign_file(path, describe_record(record))
    return ForeignWeights(what=describe_record(record), choices=choices)


def take_by_name(
    network: ExpressionNetwork, found: Checkpoint | ForeignWeights, classes: Sequence[str], where: str
) -> str:
    """Load every weight that fits by name and shape, and return what fitted and what did not.

    Rows of the head are those of the classes of the same names, where the file says which they are; else they are
    taken in their order. A first convolution of one channel is adapted to three, and of three to one.

    Args:
        network: With the weights it starts with otherwise; changed in place.
        found: The weights.
        classes: Names of the network's classes.
        where: Name of the file, for errors.

    Raises:
        TrainError: If nothing fits.
    """
    mine = network.bare.state_dict()
    choices: tuple[Mapping[str, torch.Tensor], ...]
    old: tuple[str, ...] | None
    if isinstance(found, Checkpoint):
        what, choices, old = f"a checkpoint of {found.network.name}", (_plain(found.model),), found.classes
    else:
        what, choices, old = found.what, found.choices, None
    variants = [each for choice in choices for each in _variants(choice)]
    fits = [dict(_fitting(mine, each)) for each in variants]
    best = max(range(len(fits)), key=lambda number: len(fits[number]))
    theirs, fitting = variants[best], {name: weight for name, (weight, _) in fits[best].items()}
    head = [name for name in sorted(names_of(network, network.heads[:1])) if name in theirs]
    said = [f"{name} {how}" for name, (_, how) in fits[best].items() if how]
    rows = None if old is None else map_head(old, classes)
    if rows is not None and head:
        fitting = {name: weight for name, weight in fitting.items() if name not in head}
        if any(row is not None for row in rows.rows):
            same = [name for name in head if mine[name].shape[1:] == theirs[name].shape[1:]]
            fitting |= {name: _rows(mine[name], theirs[name], rows.rows) for name in same}
        said.append(rows.describe())
    elif rows is not None and tuple(old or ()) != tuple(classes):
        said.append(f"the last layer is unknown, so that its rows are taken in their order, of {_some(rows.old)}")
    elif head and all(name in fitting for name in head):
        said.append("rows of the head taken in their order, since the file names no classes")
    if not fitting:
        raise TrainError(
            f"{where}: {what} found, none of whose {len(theirs)} tensors fits a weight of this run's network by name "
            f"and shape (there {_some(theirs)}; here {_some(mine)}), expected some to; use the network they are of"
        )
    with torch.no_grad():
        for name, weight in fitting.items():
            mine[name].copy_(weight)
    said.insert(0, f"{what}: {len(fitting)} of {len(mine)} tensors fitted by name and shape")
    mapped = head if rows is not None else []
    other = [name for name in mine if name in theirs and name not in fitting and name not in mapped]
    for text, names in (
        ("of another shape", other),
        ("not in the file", [name for name in mine if name not in theirs]),
        ("left in the file", [name for name in theirs if name not in mine]),
    ):
        said += [f"{text}: {_some(names)}"] if names else []
    return "; ".join(said)


def _variants(weights: Mapping[str, torch.Tensor]) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield weights under their names, and as those of a backbone of ours, and as our backbone alone."""
    yield weights
    yield {f"{_BODY}{name}": weight for name, weight in weights.items()}
    yield {name.removeprefix(_BODY): weight for name, weight in weights.items()}


def _fitting(
    mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, tuple[torch.Tensor, str]]]:
    for name, weight in theirs.items():
        adapted = adapted_weight(weight, mine[name].shape, None, None) if name in mine else None
        if adapted is not None:
            yield name, adapted


def _rows(fresh: torch.Tensor, weight: torch.Tensor, rows: Sequence[int | None]) -> torch.Tensor:
    return torch.stack([fresh[number] if row is None else weight[row] for number, row in enumerate(rows)])


def _plain(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights under the names their module itself gives them."""
    plain = {}
    for name, weight in weights.items():
        while prefix := next((each for each in _PREFIXES if name.startswith(each)), None):
            name = name.removeprefix(prefix)
        plain[name] = weight
    return plain


def _inner(record: Any) -> list[Any]:
    return list(record.values()) if isinstance(record, Mapping) else []


def _is_weights(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(each, torch.Tensor) for name, each in value.items())
    )


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file: the length of a JSON header in eight bytes, the header, the values."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:start])
        found = {}
        for name, each in header.items():
            if name == "__metadata__":
                continue
            first, last = each["data_offsets"]
            part, dtype = data[start + first : start + last], _DTYPES[each["dtype"]]
            flat = torch.frombuffer(part, dtype=dtype) if part else torch.empty(0, dtype=dtype)
            found[name] = flat.reshape(each["shape"])
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise TrainError(
            f"{path}: a safetensors file that cannot be read found ({str(error)[:100]}), expected one of floats or "
            "integers; fetch it again"
        ) from error
    return found


def _some(names: Mapping[str, Any] | Sequence[str]) -> str:
    shown = list(names)[:_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
