"""What several contenders share: listing the source tree, Pillow's pixels, epochs one after another, torch's loader.

In: a class-folder tree. Out: paths, labels, pixels, loaders. Nothing of this runs while a clock does but loaders.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ferdata_bench.contenders import Batch

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

__all__ = [
    "Epochs",
    "decode_with_torchvision",
    "link_source",
    "list_source",
    "open_whole_set",
    "read_pixels",
    "read_planes",
    "read_samples",
]

INGEST_SEED = 20_231


class Epochs:
    """Turns ``make(epoch)``, which opens one epoch, into an object that can be iterated again and again."""

    def __init__(self, make: Callable[[int], Iterator[Batch]]) -> None:
        self._make = make
        self._epoch = 0

    def __iter__(self) -> Iterator[Batch]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        return self._make(epoch)


def list_source(source: Path, *, shuffled: bool = False) -> tuple[list[Path], np.ndarray]:
    """Return every JPEG below the class folders and its label, int64 ``[N]``: its folder's place in sorted order.

    ``shuffled`` gives a fixed random order, for formats whose documentation asks for data shuffled when it is written.
    """
    classes = sorted(folder for folder in source.iterdir() if folder.is_dir())
    listed = [(path, label) for label, folder in enumerate(classes) for path in sorted(folder.glob("*.jpg"))]
    if shuffled:
        listed = [listed[i] for i in np.random.default_rng(INGEST_SEED).permutation(len(listed))]
    return [path for path, _ in listed], np.array([label for _, label in listed], np.int64)


def read_pixels(path: Path) -> np.ndarray:
    """Return what Pillow decodes, uint8 ``[H, W, 3]``."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_planes(path: Path) -> np.ndarray:
    """Return what Pillow decodes as contiguous planes, uint8 ``[3, H, W]``."""
    return np.ascontiguousarray(read_pixels(path).transpose(2, 0, 1))


def read_samples(source: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yield contiguous uint8 ``[3, H, W]`` and label of every image."""
    paths, labels = list_source(source)
    for path, label in zip(paths, labels, strict=True):
        yield read_planes(path), int(label)


def link_source(source: Path, out: Path) -> None:
    """Ingest for contenders that read the source as it is: ``out`` becomes a link to it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.symlink_to(source.resolve(), target_is_directory=True)


def decode_with_torchvision(content: bytes) -> "torch.Tensor":
    """Return what torchvision decodes from a JPEG's bytes, uint8 ``[3, H, W]``."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    pixels: torch.Tensor = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return pixels


def open_whole_set(
    dataset: Any,
    *,
    batch_size: int,
    num_workers: int,
    seed: int,
    collate: Callable[[list[Any]], Batch] | None = None,
) -> "DataLoader[Any]":
    """Return a ``DataLoader`` that shuffles a whole map-style data set, with workers that live on between epochs."""
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=collate,
        generator=torch.Generator().manual_seed(seed),
    )
