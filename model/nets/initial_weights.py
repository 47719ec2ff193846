"""The weights a network starts with: fresh, another run's (the head row by row, by class name), or another program's.

In: settings, and a file. Out: the network, and what became of each row of its head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ferdata.errors import TrainError
from ferdata.training.nets.adapting import adapted_weight
from ferdata.training.nets.designs import TIMM_PREFIX, feature_map, is_own
from ferdata.training.nets.foreign_weights import open_weights, take_by_name
from ferdata.training.nets.heads import HeadMap, map_head
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.networks import FerNetwork, build_network
from ferdata.training.options import TrainOptions
from ferdata.training.run.checkpoint import Checkpoint, find_checkpoint
from ferdata.training.run.memory import is_out_of_memory

__all__ = ["Start", "load_weights", "make_network", "start_from"]


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
    options: TrainOptions,
    *,
    shape: Sequence[int],
    classes: Sequence[str],
    resumes: bool,
    given: nn.Module | None = None,
) -> tuple[ExpressionNetwork, str | None]:
    """Return the network with the weights it starts with, and a sentence on them where they are another run's.

    Args:
        options: The run's settings.
        shape: ``[C, H, W]`` of the shards' images.
        classes: Names of the classes.
        resumes: Whether a checkpoint's weights will take their place anyway.
        given: The network, where it is somebody's object.

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
            given=given,
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
    found = open_weights(source)
    if isinstance(found, Checkpoint) and isinstance(network, FerNetwork) and not is_own(found.network.name):
        start = start_from(network, found, classes, str(source)).describe()
    else:
        start = take_by_name(network, found, classes, str(source))
    return network, f"started from {source}: {start}"


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
        found = None if weight is None else adapted_weight(weight, shape, old_map, network.flattened)
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


def load_weights(network: ExpressionNetwork, checkpoint: Checkpoint, where: str) -> None:
    """Load all weights of a checkpoint of the very same network.

    Raises:
        TrainError: If it is another network's.
    """
    try:
        network.bare.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise TrainError(
            f"{where}: weights of another network found ({str(error).splitlines()[0]}); use the run's own settings"
        ) from error
