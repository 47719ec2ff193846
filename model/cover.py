"""Covering what a network is not to see: all but a region of each face, or the region, in the mean colour.

In: rectangles, or a split whose samples have landmarks. Out: masks, or covered batches, in a few operations a batch on
the batch's own device. Reading the landmarks of a split costs some 30 µs a sample, once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.mixing import Roots
from ferdata.store import StrPath
from ferdata.stream import BatchContext, ShardDataset
from ferdata.stream.sets import OpenSplit, open_split
from ferdata.stream.workers.worker import ShardPool
from ferdata.training.regions import Region, region_boxes

if TYPE_CHECKING:
    from ferdata.training.load import TrainedNetwork

__all__ = ["Cover", "common_indices", "cover", "inside", "open_covered", "read_covers"]

_READ_AT_ONCE = 4096


def inside(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return which pixels lie in a rectangle, bool ``[N, H, W]``.

    Args:
        boxes: float ``[N, parts, 4]``: left, top, right and bottom, in pixels, whole at their centres.
        size: Height and width.
    """
    rows, columns = (torch.arange(side, device=boxes.device)[None] for side in size)
    found = torch.zeros(len(boxes), *size, dtype=torch.bool, device=boxes.device)
    for left, top, right, bottom in boxes.permute(1, 2, 0)[..., None]:
        found |= ((rows > top) & (rows < bottom))[:, :, None] & ((columns > left) & (columns < right))[:, None]
    return found


def cover(images: torch.Tensor, boxes: torch.Tensor, region: Region, colour: Sequence[float]) -> torch.Tensor:
    """Return images uint8 ``[N, C, H, W]`` with the region covered, or all but it.

    Args:
        images: Not changed.
        boxes: What :func:`region_boxes` gives, on the images' device.
        region: What is to be seen.
        colour: Per channel, in [0, 255].
    """
    is_region = inside(boxes, (images.shape[2], images.shape[3]))
    is_seen = ~is_region if region.is_hidden else is_region
    fill = torch.tensor(colour, device=images.device).round().to(images.dtype)
    return torch.where(is_seen[:, None], images, fill[:, None, None])


class Cover:
    """Covers batches of one split.

    Args:
        region: What is to be seen.
        boxes: Of each sample of the split, float32 ``[N, parts, 4]``; NaN where no landmarks tell.
        colour: Per channel, in [0, 255].

    Attributes:
        indices: Samples whose landmarks tell where the region is, int64 ``[n]``.
        num_without: How many others there are.
    """

    def __init__(self, region: Region, boxes: np.ndarray, colour: Sequence[float]) -> None:
        self.region, self._colour = region, tuple(colour)
        self._boxes = torch.from_numpy(boxes)
        self.indices = np.flatnonzero(np.isfinite(boxes[:, 0, 0]))
        self.num_without = len(boxes) - len(self.indices)

    @classmethod
    def read(cls, region: str, opened: OpenSplit, colour: Sequence[float]) -> Self:
        """Read where a region is in each sample of a split.

        Args:
            region: As it is typed.
            opened: The split.
            colour: Per channel, in [0, 255].

        Raises:
            OptionError: If no sample has landmarks that tell.
        """
        wanted = Region.of(region)
        pool = ShardPool(opened)
        try:
            parts = []
            for first in range(0, opened.num_samples, _READ_AT_ONCE):
                samples = np.arange(first, min(first + _READ_AT_ONCE, opened.num_samples))
                records = pool.read_records(samples)
                points = [np.array(one.get("landmarks") or [], np.float32).reshape(-1, 2) for one in records]
                parts.append(region_boxes(points, wanted.names))
        finally:
            pool.close()
        found = cls(wanted, np.concatenate(parts), colour)
        if not len(found.indices):
            points_needed = "68 landmarks" if "brows" in wanted.names else "68 landmarks, or five,"
            raise OptionError(
                f"region: {region} found, and none of the {opened.num_samples:,} samples of {opened.where} has "
                f"{points_needed} that tell where that is, expected some; shard images that come with landmarks "
                "(docs/sources.md says which do), or leave region= out"
            )
        return found

    def __call__(self, images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return images uint8 ``[N, C, H, W]`` of samples int64 ``[N]`` covered; -1 is padding, and anything there."""
        self._boxes = self._boxes.to(images.device)
        return cover(images, self._boxes[indices], self.region, self._colour)

    def of_dataset(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        """Cover what a :class:`ShardDataset` of the split gives, whose transform this may be."""
        return self(images, torch.from_numpy(context.positions))

    def among(self, indices: np.ndarray | None) -> np.ndarray | None:
        """Return those of some samples, None for all, that can be covered; None if that is every one."""
        if not self.num_without:
            return indices
        return self.indices if indices is None else np.intersect1d(indices, self.indices)

    def describe(self, split: str) -> str | None:
        """Return one sentence on what is left out of a split, None if nothing is."""
        if not self.num_without:
            return None
        return (
            f"{split}: {self.num_without:,} of {len(self._boxes):,} samples have no landmarks that tell where the "
            f"{' and '.join(self.region.names)} is, and are left out"
        )


def read_covers(networks: Sequence["TrainedNetwork"], shards: StrPath, split: str) -> list[Cover | None]:
    """Return what covers a split for each network; None for one that sees all.

    Raises:
        OptionError: If no sample has the landmarks that a network's region needs.
    """
    kinds = dict.fromkeys((each.region, each.mean) for each in networks)
    found = {
        (region, mean): None if region is None else Cover.read(region, open_split((str(shards),), split), mean)
        for region, mean in kinds
    }
    return [found[each.region, each.mean] for each in networks]


def common_indices(covers: Sequence[Cover | None]) -> np.ndarray | None:
    """Return the samples that all of several covers can cover, int64 ``[n]``; None if those are all."""
    indices: np.ndarray | None = None
    for each in covers:
        if each is not None:
            indices = each.among(indices)
    return indices


def open_covered(roots: Roots, split: str, cover: Cover | None, **options: Any) -> ShardDataset:
    """Return a split's images one by one, as a network sees them; ``options`` are those of :class:`ShardDataset`."""
    return ShardDataset(roots, split=split, transform=None if cover is None else cover.of_dataset, **options)
