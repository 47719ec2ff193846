"""Frames of what convolutions make of two fixed faces, one after every epoch: ``train --watch``.

In: the network after an epoch. Out: ``watch/epoch-0001.png`` and so on in the run's folder, which its page shows in a
row. Costs one pass over two images an epoch.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ferdata.format import DatasetIndex
from ferdata.store import Store
from ferdata.stream import BatchContext, Compose, Normalize, ShardDataset
from ferdata.training.cover import Cover, common_indices, open_covered
from ferdata.training.data import resize_of, roots_with
from ferdata.training.explanation.draw import draw_frame
from ferdata.training.explanation.layers import activations, spatial_convolutions
from ferdata.training.nets.augment import Resize
from ferdata.training.options import TrainOptions

__all__ = ["Film", "read_film"]

_FOLDER = "watch"
_FACES = 2
_CHANNELS = 3
_MOST_FRAMES = 12
"""On a page."""


class Film:
    """Draws a frame after every epoch: an :class:`EpochCallback`.

    Args:
        options: The run's settings.
        index: Of its data set.
        covers: What covers each split, if anything is covered.
        device: Where the network is.
    """

    def __init__(
        self, options: TrainOptions, index: DatasetIndex, covers: Mapping[str, Cover], device: torch.device
    ) -> None:
        split = "val" if "val" in index.splits else "train"
        cover = covers.get(split)
        images = open_covered(
            roots_with(options, split), split, cover, indices=common_indices([cover]), resize=resize_of(options)
        )
        self._faces = np.stack([*_of_different_classes(images)])
        resize = [] if options.size is None else [Resize(options.size)]
        context = BatchContext(seed=0, epoch=0, rank=0, positions=np.arange(len(self._faces)))
        transform = Compose([*resize, Normalize.of(index)])
        self._images = transform(torch.from_numpy(self._faces).to(device), context)

    def __call__(self, network: nn.Module, epoch: int, run: Path) -> None:
        """Write the frame of an epoch; of a network without convolutions, nothing."""
        names = [*spatial_convolutions(network, self._images)]
        if not names:
            return
        shown = dict.fromkeys((names[0], names[-1]))
        found = activations(network, self._images, [*shown])
        maps = [each[:, _spread(each.shape[1])].numpy() for each in found.values()]
        store = Store(run)
        store.make_dir(_FOLDER)
        with store.write_atomic(f"{_FOLDER}/epoch-{epoch + 1:04d}.png") as file:
            file.write(draw_frame(self._faces, maps))


def read_film(run: Path, epochs: int) -> list[tuple[int, bytes]]:
    """Return some of a run's frames, evenly spaced, with the first and the last: epoch counted from 1, and PNG."""
    found = {
        int(number): path for path in run.glob(f"{_FOLDER}/epoch-*.png") for number in re.findall(r"\d+", path.stem)
    }
    numbers = sorted(number for number in found if number <= epochs)
    places = np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), _MOST_FRAMES)).round().astype(int))
    return [(numbers[place], found[numbers[place]].read_bytes()) for place in places]


def _of_different_classes(images: ShardDataset) -> Iterator[np.ndarray]:
    """Return the first image, and the next one of another class if there is any."""
    first = images[0]
    yield np.asarray(first.images)
    others = (number for number in range(1, len(images)) if int(images[number].labels) != int(first.labels))
    for number in islice(others, _FACES - 1):
        yield np.asarray(images[number].images)


def _spread(channels: int) -> list[int]:
    """Return channels evenly spaced, which are the same in every epoch."""
    return sorted({*np.linspace(0, channels - 1, min(channels, _CHANNELS)).round().astype(int).tolist()})
