"""The weights a network starts with: fresh, or another run's: the body as it is, the head row by row, by class name.

In: settings, and a checkpoint. Out: the network, and what became of each row of its head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ferdata.errors import TrainError
from ferdata.labels import canonical_name
from ferdata.training.nets.networks import FerNetwork, build_network
from ferdata.training.options import TrainOptions
from ferdata.training.run.checkpoint import Checkpoint, find_checkpoint
from ferdata.training.run.memory import is_out_of_memory

__all__ = ["HeadMap", "load_weights", "make_network", "map_head", "start_from"]


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


def make_network(
    options: TrainOptions, *, size: tuple[int, int], classes: Sequence[str], resumes: bool
) -> tuple[FerNetwork, str | None]:
    """Return the network with the weights it starts with, and a sentence on them where they are another run's.

    Args:
        options: The run's settings.
        size: Height and width of what the network sees.
        classes: Names of the classes.
        resumes: Whether a checkpoint's weights will take their place anyway.

    Raises:
        OptionError: If the network does not fit the images.
        TrainError: If it does not fit the memory, or the other run's weights do not fit it.
    """
    torch.manual_seed(options.seed)
    try:
        network = build_network(
            options.model_name,
            size=size,
            num_classes=len(classes),
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
    head = start_from(network, Checkpoint.read(source), classes, str(source))
    return network, f"started from {source}: {head.describe()}"


def map_head(old: Sequence[str], new: Sequence[str]) -> HeadMap:
    """Match classes by name; ``Happiness`` and ``happy`` are the same class."""
    numbers = {_plain(name): number for number, name in enumerate(old)}
    return HeadMap(rows=tuple(numbers.get(_plain(name)) for name in new), old=tuple(old), new=tuple(new))


def start_from(network: FerNetwork, checkpoint: Checkpoint, classes: Sequence[str], where: str) -> HeadMap:
    """Load the body and what fits of the heads from another run's checkpoint.

    Args:
        network: With fresh weights; changed in place.
        checkpoint: Of the other run.
        classes: Names of the network's classes.
        where: Name of the checkpoint, for errors.

    Raises:
        TrainError: If the body is another network's, or was made for another image size.
    """
    weights = checkpoint.model
    body = {name.removeprefix("body."): value for name, value in weights.items() if name.startswith("body.")}
    mine = network.body.state_dict()
    found = f"{checkpoint.network.name} at {' x '.join(map(str, checkpoint.network.size))}"
    differing = [name for name in mine if name not in body or body[name].shape != mine[name].shape]
    if differing or len(mine) != len(body):
        raise TrainError(
            f"{where}: a body of {found} found, expected one that fits this run's ({len(differing)} tensors differ, "
            f"first {(differing or sorted(set(body) - set(mine)))[0]}); use the same model= and size="
        )
    head = map_head(checkpoint.classes, classes)
    with torch.no_grad():
        network.body.load_state_dict(body)
        for number, row in enumerate(head.rows):
            if row is not None:
                network.head.weight[number] = weights["head.weight"][row]
                network.head.bias[number] = weights["head.bias"][row]
        if network.va_head is not None and "va_head.weight" in weights:
            network.va_head.weight.copy_(weights["va_head.weight"])
            network.va_head.bias.copy_(weights["va_head.bias"])
    return head


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
