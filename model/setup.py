"""What a run is made of before its first step: the data's promises looked at, and the network built.

In: settings and a data set's index. Out: a network, and what became of the weights it starts with.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ferdata.errors import OptionError, TrainError
from ferdata.format import DatasetIndex, read_samples
from ferdata.store import Store
from ferdata.stream import Normalize
from model.nets.networks import FerNetwork, build_network
from model.nets.transfer import start_from
from model.options import TrainOptions
from model.run.checkpoint import WEIGHTS, find_checkpoint, load_checkpoint
from model.run.memory import is_out_of_memory

__all__ = ["input_size", "make_facts", "make_network", "require_values"]


def input_size(options: TrainOptions, index: DatasetIndex) -> tuple[int, int]:
    """Return height and width of what the network sees."""
    height, width = index.spec.shape[1:]
    return (height, width) if options.size is None else (options.size, options.size)


def make_facts(options: TrainOptions, index: DatasetIndex, network: FerNetwork) -> dict[str, Any]:
    """Return what every checkpoint says beside its weights, so that they can be used where the shards are not."""
    normalise = Normalize.of(index)
    return {
        "network": {
            "name": options.model_name,
            "size": list(input_size(options, index)),
            "channels": index.spec.shape[0],
            "dropout": network.dropout.probability,
            "valence_arousal": options.valence_arousal,
        },
        "classes": list(index.classes),
        "normalisation": {"mean": list(normalise.mean), "std": list(normalise.std), "unit": "pixel values from 0 to 255"},
        "transform": {name: index.transform[name] for name in ("fingerprint", "settings")},
        "dataset": index.fingerprint,
    }


def require_values(options: TrainOptions, index: DatasetIndex, indices: np.ndarray | None) -> None:
    """Look whether there is anything to train a head for valence and arousal with, where one is asked for.

    Args:
        options: The run's settings.
        index: Of the data set.
        indices: The samples that are trained on; None for the whole train split.

    Raises:
        OptionError: If none of them has values.
    """
    if not options.valence_arousal:
        return
    assert options.shards is not None
    table = read_samples(Store(options.shards), index, ["split", "valence", "arousal"])
    table = table.filter(pa.compute.equal(table.column("split").cast(pa.string()), "train"))
    table = table if indices is None else table.take(indices)
    known = [int(pa.compute.sum(pa.compute.is_finite(table.column(name))).as_py() or 0) for name in ("valence", "arousal")]
    if not any(known):
        raise OptionError(
            f"valence_arousal: none of the {len(table):,} train samples of {options.shards} ({index.source}) has values, expected some; "
            "leave --valence-arousal out, or shard a data set that has them (AffectNet)"
        )


def make_network(options: TrainOptions, index: DatasetIndex, *, resumes: bool) -> tuple[FerNetwork, str | None]:
    """Return the network with the weights it starts with, and a sentence on them where they are another run's.

    Args:
        options: The run's settings.
        index: Of the data set.
        resumes: Whether a checkpoint's weights will take their place anyway.

    Raises:
        OptionError: If the network does not fit the images.
        TrainError: If it does not fit the memory, or the other run's weights do not fit it.
    """
    size = input_size(options, index)
    torch.manual_seed(options.seed)
    try:
        network = build_network(
            options.model_name,
            size=size,
            num_classes=len(index.classes),
            dropout=options.dropout,
            valence_arousal=options.valence_arousal,
            pretrained=options.pretrained and not resumes,
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainError(
            f"model {options.model_name} at {size[0]} x {size[1]}: its weights do not fit the memory ({str(error).splitlines()[0][:160]}), "
            "expected a network that does; use a smaller --size or another --model"
        ) from error
    if options.init_from is None or resumes:
        return network, None
    source = find_checkpoint(options.init_from)
    head = start_from(network, load_checkpoint(source, needed=WEIGHTS), index.classes, str(source))
    return network, f"started from {source}: {head.describe()}"
