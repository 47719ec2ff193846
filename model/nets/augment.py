"""From the loader's bytes to the network's input: resizing, augmenting, normalising, all on the batch's own device.

In: uint8 ``[N, 3, H, W]``. Out: float32 ``[N, 3, size, size]``. Training augments;
evaluation resizes and normalises only.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from ferdata.format import DatasetIndex
from ferdata.stream import (
    BatchContext,
    BatchTransform,
    ColorJitter,
    Compose,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
)
from ferdata.training.options import TrainOptions

__all__ = ["Resize", "evaluation_transform", "training_transform"]

_BY_NAME: dict[str, BatchTransform] = {"flip": HorizontalFlip(), "crop": RandomResizedCrop(), "color": ColorJitter()}


@dataclass(frozen=True, slots=True)
class Resize:
    """Resizes with antialiasing; gives uint8 back for uint8.

    Attributes:
        size: Height and width of the result.
    """

    size: int

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        resized = functional.interpolate(
            images.float(), (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )
        return (
            resized.round_().clamp_(0, 255).to(images.dtype)
            if images.dtype == torch.uint8
            else resized.to(images.dtype)
        )


def training_transform(options: TrainOptions, index: DatasetIndex) -> BatchTransform:
    """Return what a training batch goes through."""
    return Compose([*_resizing(options, index), *(_BY_NAME[name] for name in options.augment), Normalize.of(index)])


def evaluation_transform(options: TrainOptions, index: DatasetIndex) -> BatchTransform:
    """Return what a batch goes through to be measured."""
    return Compose([*_resizing(options, index), Normalize.of(index)])


def _resizing(options: TrainOptions, index: DatasetIndex) -> list[BatchTransform]:
    if options.size is None or index.spec.shape[1:] == (options.size, options.size):
        return []
    return [Resize(options.size)]
