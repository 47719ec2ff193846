"""The weights a network starts with: fresh, or another run's: the body as it is, the head row by row, by class name.

In: settings, and a checkpoint. Out: the network, and what became of each row of its head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from ferdata.errors import TrainError
from ferdata.labels import canonical_name
from ferdata.training.nets.designs import TIMM_PREFIX, feature_map
from ferdata.training.nets.networks import FerNetwork, build_network
from ferdata.training.options import TrainOptions
from ferdata.training.run.checkpoint import Checkpoint, find_checkpoint
from ferdata.training.run.memory import is_out_of_memory

__all__ = ["HeadMap", "Start", "load_weights", "make_network", "map_head", "start_from"]


_GREY, _COLOUR = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMap:
    """Which row of the old head each class of the new one starts with.

    Attributes:
        rows: For each new class, the old class's number; None where it is renewed.
        old: Names of the old classes.
        new: Names of the new classes.
    """

    rows: tuple[int | None, ...]
    old: tuple[str, ...]
    new: tuple[str, ...]

    def describe(self) -> str:
        """Return one sentence on what became of the head."""
        renewed = [name for name, row in zip(self.new, self.rows, strict=True) if row is None]
        dropped = [name for number, name in enumerate(self.old) if number not in self.rows]
        if not renewed and not dropped and self.rows == tuple(range(len(self.old))):
            return f"head kept: the same {len(self.old)} classes in the same order"
        if len(renewed) == len(self.new):
            return f"head renewed: none of {', '.join(self.new)} was known to the other run"
        taken = [(number, row) for number, row in enumerate(self.rows) if row is not None]
        parts = [f"{len(taken)} rows {'kept' if all(number == row for number, row in taken) else 'permuted'} by name"]
        parts += [f"renewed: {', '.join(renewed)}"] if renewed else []
        parts += [f"dropped: {', '.join(dropped)}"] if dropped else []
        return f"head: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What of another run a network starts with.

    Attributes:
        head: Which rows of its head.
        adapted: What was done to weights that were made for other images; empty if all fitted.
    """

    head: HeadMap
    adapted: tuple[str, ...]

    def describe(self) -> str:
        """Return one sentence on what was taken over and what was not."""
        return "; ".join((self.head.describe(), *self.adapted))


def make_network(
    options: TrainOptions, *, shape: Sequence[int], classes: Sequence[str], resumes: bool
) -> tuple[FerNetwork, str | None]:
    """Return the network with the weights it starts with, and a sentence on them where they are another run's.

    Args:
        options: The run's settings.
        shape: ``[C, H, W]`` of the shards' images.
        classes: Names of the classes.
        resumes: Whether a checkpoint's weights will take their place anyway.

    Raises:
        OptionError: If the network does not fit the images.
        TrainError: If it does not fit the memory, or the other run's weights do not fit it.
    """
    torch.manual_seed(options.seed)
    size = options.input_size(shape)
    try:
        network = build_network(
            options.model_name,
            size=size,
            num_classes=len(classes),
            channels=shape[0],
            dropout=options.dropout,
            valence_arousal=options.valence_arousal,
            pretrained=options.pretrained and not resumes,
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainError(
            f"model {options.model_name} at {size[0]} x {size[1]}: its weights do not fit the memory "
            f"({str(error).splitlines()[0][:160]}), "
            "expected a network that does; use a smaller size= or another model="
        ) from error
    if options.init_from is None or resumes:
        return network, None
    source = find_checkpoint(options.init_from)
    start = start_from(network, Checkpoint.read(source), classes, str(source))
    return network, f"started from {source}: {start.describe()}"


def map_head(old: Sequence[str], new: Sequence[str]) -> HeadMap:
    """Match classes by name; ``Happiness`` and ``happy`` are the same class."""
    numbers = {_plain(name): number for number, name in enumerate(old)}
    return HeadMap(rows=tuple(numbers.get(_plain(name)) for name in new), old=tuple(old), new=tuple(new))


def start_from(network: FerNetwork, checkpoint: Checkpoint, classes: Sequence[str], where: str) -> Start:
    """Load the body and what fits of the heads from another run's checkpoint.

    Its images may have had another size, or one channel where these have three: the first convolution and the first
    linear layer are the ones that depend on it, and are adapted. On grey images the former gives what it gave before.

    Args:
        network: With fresh weights; changed in place.
        checkpoint: Of the other run.
        classes: Names of the network's classes.
        where: Name of the checkpoint, for errors.

    Raises:
        TrainError: If the body is another network's.
    """
    kind = checkpoint.network
    old_map = None if kind.name.startswith(TIMM_PREFIX) else feature_map(kind.name, kind.size)
    mine = network.state_dict()
    heads = [name for name in ("head", "va_head") if f"{name}.weight" in mine and f"{name}.weight" in checkpoint.model]
    wanted = [name for name in mine if name.startswith("body.")] + [f"{name}.weight" for name in heads]
    theirs = {name for name in checkpoint.model if name.startswith("body.")}
    fitted = {}
    adapted, differing = [], sorted(theirs.difference(mine))
    for name in wanted:
        weight, shape = checkpoint.model.get(name), mine[name].shape
        if weight is not None and name == "head.weight":
            shape = weight.shape[:1] + shape[1:]  # which of its rows are taken is another matter
        found = None if weight is None else _adapted(weight, shape, old_map, network.flattened)
        if found is None:
            differing.append(name)
            continue
        fitted[name], how = found
        adapted += [f"{name.removesuffix('.weight')} {how}"] if how else []
    if differing:
        raise TrainError(
            f"{where}: a body of {kind.name} at {' x '.join(map(str, kind.size))} found, expected one that fits this "
            f"run's ({len(differing)} tensors differ, first {differing[0].removeprefix('body.')}); use the same model="
        )
    head = map_head(checkpoint.classes, classes)
    with torch.no_grad():
        for name in wanted:
            if name != "head.weight":
                mine[name].copy_(fitted[name])
        for number, row in enumerate(head.rows):
            if row is not None:
                network.head.weight[number] = fitted["head.weight"][row]
                network.head.bias[number] = checkpoint.model["head.bias"][row]
        if "va_head" in heads:
            mine["va_head.bias"].copy_(checkpoint.model["va_head.bias"])
    return Start(head=head, adapted=tuple(adapted))


def _adapted(
    weight: torch.Tensor, shape: torch.Size, old: tuple[int, int, int] | None, new: tuple[int, int, int] | None
) -> tuple[torch.Tensor, str] | None:
    """Return a weight in another shape, and what was done to it; None if it is another layer's.

    Args:
        weight: Of the other run's network.
        shape: Of this one's.
        old: What its first linear layer reads, ``[C, H, W]``; None for averages.
        new: What this one's reads.
    """
    if weight.shape == shape:
        return weight, ""
    if weight.ndim != len(shape) or weight.shape[:1] + weight.shape[2:] != shape[:1] + shape[2:]:
        return None
    if weight.ndim == 4 and (weight.shape[1], shape[1]) == (_GREY, _COLOUR):
        return weight.expand(shape) / _COLOUR, f"spread over {_COLOUR} channels"
    if weight.ndim == 4 and (weight.shape[1], shape[1]) == (_COLOUR, _GREY):
        return weight.sum(1, keepdim=True), f"summed over {_COLOUR} channels"
    if weight.ndim == 2 and old and new and old[0] == new[0] and (weight.shape[1], shape[1]) == (prod(old), prod(new)):
        rows, columns = (_overlap(old[axis], new[axis]) for axis in (1, 2))
        resized = rows @ weight.reshape(-1, *old) @ columns.T
        return resized.flatten(1), f"resized from {old[1]} x {old[2]} cells to {new[1]} x {new[2]}"
    return None


def _overlap(old: int, new: int) -> torch.Tensor:
    """Return float ``[new, old]``, the part of each old cell that each new one covers if both divide the same length.

    What is summed over an even image stays the same, since every column adds up to one.
    """
    edges, others = torch.arange(new + 1) * old / new, torch.arange(old + 1.0)
    ends = torch.minimum(edges[1:, None], others[1:])
    return (ends - torch.maximum(edges[:-1, None], others[:-1])).clamp(min=0)


def load_weights(network: FerNetwork, checkpoint: Checkpoint, where: str) -> None:
    """Load all weights of a checkpoint of the very same network.

    Raises:
        TrainError: If it is another network's.
    """
    try:
        network.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise TrainError(
            f"{where}: weights of another network found ({str(error).splitlines()[0]}); use the run's own settings"
        ) from error


def _plain(name: str) -> str:
    return (canonical_name(name) or name.strip()).lower()
