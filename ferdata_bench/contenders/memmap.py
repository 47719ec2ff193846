"""A NumPy memory map of ready pixels behind a ``DataLoader`` that fetches a whole batch per call.

In: JPEG files, decoded once into one ``.npy``. Out: uint8 batches. Whole-set shuffle. What remains is copying and the
``DataLoader``.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, open_whole_set, read_pixels, read_samples

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "memmap"
CODEC = "raw"
SHUFFLE = "whole set"
LOSSLESS = True


class PixelMap(Dataset[tuple[torch.Tensor, int]]):
    """Map-style data set over ``images.npy``; ``__getitems__`` gives views, so that collating copies an image once."""

    def __init__(self, folder: Path) -> None:
        self._images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        self._labels: list[int] = np.load(folder / "labels.npy").tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._images[index], self._labels[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
        return [(self._images[index], self._labels[index]) for index in indices]


def ingest(source: Path, out: Path) -> None:
    """Write ``images.npy`` uint8 ``[N, 3, H, W]`` and ``labels.npy`` int64 ``[N]``."""
    out.mkdir(parents=True)
    paths, labels = list_source(source)
    height, width, channels = read_pixels(paths[0]).shape
    images = np.lib.format.open_memmap(
        out / "images.npy", mode="w+", dtype=np.uint8, shape=(len(paths), channels, height, width)
    )
    for row, (pixels, _) in enumerate(read_samples(source)):
        images[row] = pixels
    images.flush()
    np.save(out / "labels.npy", labels)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over the map."""
    return open_whole_set(PixelMap(out), batch_size=batch_size, num_workers=num_workers, seed=seed)
