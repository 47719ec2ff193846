"""Pickled float32 batches loaded one file after another: the pipeline of the report that this project grew from.

In: JPEG files, decoded once into pickles of 128 float32 images in [0, 1]. Out: uint8 batches. Costs four bytes per
channel value on disk, and after the pickles are written only the order of the files and of the rows inside one file is
mixed.
"""

import pickle
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import Epochs, list_source, read_planes

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "pickle-batches"
CODEC = "float32"
SHUFFLE = "files, and rows within a file"
LOSSLESS = True
FILE_IMAGES = 128


def ingest(source: Path, out: Path) -> None:
    """Write one pickle of images float32 ``[128, 3, H, W]`` and labels for every 128 images, mixed once."""
    out.mkdir(parents=True)
    paths, labels = list_source(source, shuffled=True)
    for number, start in enumerate(range(0, len(paths), FILE_IMAGES)):
        images = (
            torch.stack([torch.from_numpy(read_planes(path)) for path in paths[start : start + FILE_IMAGES]])
            .float()
            .div_(255)
        )
        with open(out / f"batch-{number:05d}.pickle", "wb") as file:
            pickle.dump((images, torch.from_numpy(labels[start : start + FILE_IMAGES].copy())), file, protocol=5)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return the batches; they are read by the main process, as in the report, whatever ``num_workers`` is."""
    return Epochs(partial(_one_epoch, sorted(out.glob("*.pickle")), batch_size, seed))


def _one_epoch(files: list[Path], batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    rng = np.random.default_rng((seed, epoch))
    for number in rng.permutation(len(files)):
        with open(files[number], "rb") as file:
            images, labels = pickle.load(file)  # our own file, written by ingest above
        pixels = images.mul_(255).round_().to(torch.uint8)
        rows = torch.from_numpy(rng.permutation(len(labels)))
        for start in range(0, len(labels), batch_size):
            taken = rows[start : start + batch_size]
            yield pixels[taken], labels[taken]
