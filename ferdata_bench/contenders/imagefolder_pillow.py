"""torchvision's ImageFolder with its default loader (Pillow) behind a ``DataLoader``: what most people run today.

In: the JPEG files as they are. Out: collated uint8 batches. Every image is opened and decoded again in every epoch.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import link_source

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "imagefolder-pillow"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = True

ingest = link_source


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over an ``ImageFolder``; PILToTensor keeps uint8."""
    return DataLoader(
        ImageFolder(str(out), transform=PILToTensor()),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )
