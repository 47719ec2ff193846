"""torchvision's ImageFolder whose loader is torchvision's own ``decode_jpeg``, which leaves Pillow out.

In: the JPEG files as they are. Out: collated uint8 batches. Whole-set shuffle. The decoder writes planes, so no
transpose is needed.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import link_source, open_whole_set

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "imagefolder-torchvision"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = False

ingest = link_source


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over an ``ImageFolder``."""
    return open_whole_set(
        ImageFolder(str(out), loader=_decode), batch_size=batch_size, num_workers=num_workers, seed=seed
    )


def _decode(path: str) -> torch.Tensor:
    pixels: torch.Tensor = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)
    return pixels
