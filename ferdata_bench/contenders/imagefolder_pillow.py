"""torchvision's ImageFolder with its default loader (Pillow) behind a ``DataLoader``: what most people run today.

In: the JPEG files as they are. Out: collated uint8 batches. Whole-set shuffle. Every image is opened and decoded
again in every epoch.
"""

from collections.abc import Iterable
from pathlib import Path

from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import link_source, open_whole_set

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "imagefolder-pillow"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = True

ingest = link_source


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over an ``ImageFolder``; PILToTensor keeps uint8."""
    return open_whole_set(
        ImageFolder(str(out), transform=PILToTensor()), batch_size=batch_size, num_workers=num_workers, seed=seed
    )
