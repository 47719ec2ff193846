"""Transforms of one image, such as torchvision's v2, with random numbers of each sample's own.

In: uint8 ``[N, 3, H, W]`` and the positions of the samples. Out: what the transform makes of each, stacked. Costs the
transform once per sample, in the process that calls it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ferdata.errors import OptionError
from ferdata.randomness import Stream
from ferdata.stream.transforms import BatchContext

__all__ = ["PerSample"]


@dataclass(frozen=True, slots=True)
class PerSample:
    """Calls a transform with one image after the other, and seeds torch's generator for each.

    A v2 pipeline that is given a whole batch draws once for all of it; here every sample is cropped and flipped by
    itself. What happens to it depends on (seed, epoch, rank, position in the epoch) alone, as with ferdata's own
    transforms, so a resumed run augments as the uninterrupted one. In a data set that ``DataLoader`` workers read, it
    depends on (seed, epoch, sample index). The generators outside are left as they were. A transform that draws from
    NumPy or ``random`` isn't reproduced.

    Attributes:
        transform: Called with uint8 ``[C, H, W]``; returns a tensor of the same shape for all samples.

    Example:
        >>> from torchvision.transforms import v2
        >>> to_float = v2.ToDtype(torch.float32, scale=True)
        >>> augment = ferdata.PerSample(v2.Compose([v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), to_float]))
        >>> with ferdata.Loader("shards/affectnet", batch_size=32, num_workers=0, transform=augment) as loader:
        ...     next(iter(loader)).images.shape
        torch.Size([32, 3, 24, 24])
    """

    transform: Callable[[torch.Tensor], torch.Tensor]

    def __post_init__(self) -> None:
        if not callable(self.transform):
            raise OptionError(f"transform: {self.transform!r} found, expected a callable of one image")

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        device = images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            results = [
                self._one(image, seed)
                for image, seed in zip(images, context.seeds(Stream.PER_SAMPLE.number), strict=True)
            ]
        kinds = {_kind(result) for result in results}
        if len(kinds) > 1 or not isinstance(results[0], torch.Tensor):
            raise OptionError(
                f"transform: {' and '.join(sorted(kinds))} came back, expected tensors of one shape and type, one per "
                "image; end with a resize to a fixed size"
            )
        return torch.stack(results)

    def _one(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        torch.default_generator.manual_seed(seed)
        if image.is_cuda:
            torch.cuda.default_generators[image.device.index].manual_seed(seed)
        return self.transform(image)


def _kind(result: Any) -> str:
    return (
        f"{str(result.dtype).removeprefix('torch.')} {list(result.shape)}"
        if isinstance(result, torch.Tensor)
        else type(result).__name__
    )
