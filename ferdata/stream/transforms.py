"""Batch transforms: whole uint8 batches at once, on whatever device they are, with one random stream per sample.

In: uint8 ``[N, 3, H, W]`` and the positions of the samples. Out: a tensor of the same N. What happens to a sample
depends on (seed, epoch, rank, position) alone, so a resumed run augments exactly as the uninterrupted one.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch.nn import functional

from ferdata.errors import OptionError
from ferdata.format import DatasetIndex
from ferdata.randomness import GOLDEN_RATIO, Stream, first_bits, shift_right, splitmix64

_LUMA = (0.299, 0.587, 0.114)
"""Of ITU-R BT.601."""

__all__ = [
    "BatchContext",
    "BatchTransform",
    "ColorJitter",
    "Compose",
    "HorizontalFlip",
    "Normalize",
    "RandomResizedCrop",
    "as_batch_transform",
    "check_transformed",
    "takes_context",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """Where the samples of a batch are.

    Attributes:
        seed: The loader's seed.
        epoch: Counted from 0.
        rank: The rank the batch is for.
        positions: int64 ``[N]``, positions in the rank's epoch.

    Example:
        >>> def darken(images, context):
        ...     amount = context.uniform(100, 1, images.device)  # 100: a stream of one's own
        ...     return images.float() * (1 - amount.view(-1, 1, 1, 1) / 2)
        >>> with ferdata.Loader("shards/affectnet", batch_size=32, num_workers=0, transform=darken) as loader:
        ...     next(iter(loader)).images.dtype
        torch.float32
    """

    seed: int
    epoch: int
    rank: int
    positions: np.ndarray

    def uniform(self, purpose: int, count: int, device: torch.device) -> torch.Tensor:
        """Return float32 ``[N, count]`` in [0, 1): independent for every purpose, sample and column.

        A counter-based generator (SplitMix64, Steele, Lea and Flood 2014): no state, so any sample can be drawn alone.
        """
        return torch.from_numpy(
            shift_right(self._bits(purpose, count), 40).astype(np.float32) / np.float32(1 << 24)
        ).to(device)

    def seeds(self, purpose: int) -> list[int]:
        """Return a seed for each sample, for its own generators; any 64 bits as a signed integer."""
        seeds: list[int] = self._bits(purpose, 1)[:, 0].tolist()
        return seeds

    def _bits(self, purpose: int, count: int) -> np.ndarray:
        start = first_bits((self.seed, self.epoch, self.rank, purpose))
        counters = self.positions.astype(np.int64)[:, None] * count + np.arange(1, count + 1)
        return splitmix64(start + counters * GOLDEN_RATIO)


class BatchTransform(Protocol):
    """What a loader calls.

    It takes callables of images alone as well; a torchvision v2 pipeline draws once for a whole batch, unless it is in
    a :class:`ferdata.PerSample`.
    """

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        """Return the transformed batch; ``images`` itself must stay as it is."""


@dataclass(frozen=True, slots=True)
class _ImagesOnly:
    """A transform of images alone, such as a torchvision v2 pipeline."""

    transform: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        return self.transform(images)


def as_batch_transform(transform: Any) -> BatchTransform:
    """Return a transform as loaders call it: with a context if it takes one, else with images alone.

    Raises:
        OptionError: If it cannot be called in either way.
    """
    chosen: BatchTransform = transform if takes_context(transform) else _ImagesOnly(transform)
    return chosen


def takes_context(transform: Any) -> bool:
    """Tell whether a transform is called with images and context, and not with images alone.

    Raises:
        OptionError: If it cannot be called in either way.
    """
    try:
        called = transform.forward if isinstance(transform, torch.nn.Module) else transform
        parameters = [*inspect.signature(called).parameters.values()]
    except TypeError as error:
        raise OptionError(
            f"transform: {_name(transform)} found, expected a callable of (images) or (images, context)"
        ) from error
    except ValueError:  # compiled functions do not declare what they take
        return False
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    takes_many = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    if len(needed) > 2 or any(one.kind is one.KEYWORD_ONLY for one in needed) or not (places or takes_many):
        raise OptionError(
            f"transform: {_name(transform)}{inspect.signature(called)} found, expected (images) or (images, context)"
        )
    return len(needed) == 2 or (len(places) > 1 and places[1].name == "context")


def check_transformed(images: Any, num_samples: int) -> torch.Tensor:
    """Return the result of a transform, if it is a batch.

    Raises:
        OptionError: If it is not a uint8 or floating-point tensor of ``num_samples`` rows.
    """
    is_tensor = isinstance(images, torch.Tensor)
    if (
        is_tensor
        and images.ndim
        and len(images) == num_samples
        and (images.dtype == torch.uint8 or images.is_floating_point())
    ):
        return images  # type: ignore[no-any-return]
    found = (
        f"a tensor of {str(images.dtype).removeprefix('torch.')} {list(images.shape)}" if is_tensor else _name(images)
    )
    raise OptionError(
        f"transform: {found} came back, expected a tensor of uint8 or float with {num_samples} rows, one per image; "
        "return images alone"
    )


def _name(value: Any) -> str:
    size = (
        f" of {len(value)}"
        if isinstance(value, tuple | list | dict)
        else f" {list(value.shape)}"
        if hasattr(value, "shape")
        else ""
    )
    return f"{getattr(value, '__name__', type(value).__name__)}{size}"


@dataclass(frozen=True, slots=True)
class Compose:
    """Several transforms, one after the other; of images alone, or of images and context.

    Example:
        >>> index = ferdata.read_index("shards/affectnet")
        >>> transform = ferdata.Compose([ferdata.HorizontalFlip(), ferdata.Normalize.of(index)])
        >>> with ferdata.Loader("shards/affectnet", batch_size=32, num_workers=0, transform=transform) as loader:
        ...     next(iter(loader)).images.dtype
        torch.float32
    """

    transforms: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(as_batch_transform(transform) for transform in self.transforms))

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        for transform in self.transforms:
            images = transform(images, context)
        return images


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalize:
    """``(pixel - mean) / std`` per channel, as float.

    Attributes:
        mean: Per channel, in [0, 255], as ``index.json`` gives it.
        std: Likewise.
        dtype: The result's.

    Example:
        >>> normalize = ferdata.Normalize(mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0))
        >>> normalize == ferdata.open_dataset("shards/affectnet").normalize
        False
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, index: DatasetIndex) -> Self:
        """Return what gives a data set's pixels mean 0 and deviation 1."""
        # a channel that never varies carries nothing: any positive divisor leaves it at zero
        return cls(mean=index.mean, std=tuple(value if value > 0 else 1.0 for value in index.std))

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std) or not min(self.std) > 0:
            raise OptionError(
                f"normalize: mean {self.mean}, std {self.std} found, expected as many of both and every std above 0"
            )

    def __call__(self, images: torch.Tensor, context: BatchContext | None = None) -> torch.Tensor:
        scale = torch.tensor([1 / value for value in self.std], dtype=torch.float32, device=images.device).view(
            -1, 1, 1
        )
        shift = torch.tensor(
            [-m / s for m, s in zip(self.mean, self.std, strict=True)], dtype=torch.float32, device=images.device
        )
        return torch.addcmul(shift.view(-1, 1, 1), images.to(torch.float32), scale).to(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalFlip:
    """Mirrors each sample independently with a given probability.

    Example:
        >>> flip = ferdata.HorizontalFlip()
        >>> with ferdata.Loader("shards/affectnet", batch_size=32, num_workers=0, transform=flip) as loader:
        ...     next(iter(loader)).images.dtype
        torch.uint8
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise OptionError(f"flip: probability {self.probability} found, expected 0 to 1")

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        chosen = context.uniform(Stream.FLIPS.number, 1, images.device)[:, 0] < self.probability
        return torch.where(chosen.view(-1, 1, 1, 1), images.flip(-1), images)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomResizedCrop:
    """Cuts a random rectangle out of each sample and resizes it bilinearly to ``size``.

    Area and aspect ratio are drawn as in Szegedy et al. 2014 (uniform area, log-uniform ratio); a rectangle that does
    not fit is shrunk. Returns uint8 for uint8.

    Attributes:
        size: Height and width of the result; None keeps the input's.
        scale: Least and greatest area, as a fraction of the image's.
        ratio: Least and greatest width / height.

    Example:
        >>> crop = ferdata.RandomResizedCrop(size=24, scale=(0.6, 1.0))
        >>> with ferdata.Loader("shards/affectnet", batch_size=32, num_workers=0, transform=crop) as loader:
        ...     next(iter(loader)).images.shape
        torch.Size([32, 3, 24, 24])
    """

    size: int | None = None
    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.9, 1.1)

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise OptionError(
                f"crop: scale {self.scale}, ratio {self.ratio} found, expected 0 < low <= high, and scale at most 1"
            )
        if self.size is not None and self.size < 1:
            raise OptionError(f"crop: size {self.size} found, expected at least 1")

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        count, channels, height, width = images.shape
        draw = context.uniform(Stream.CROPS.number, 4, images.device)
        area = self.scale[0] + draw[:, 0] * (self.scale[1] - self.scale[0])
        log_low, log_high = math.log(self.ratio[0]), math.log(self.ratio[1])
        root = torch.exp((log_low + draw[:, 1] * (log_high - log_low)) / 2)
        part_x = (area.sqrt() * root).clamp(max=1.0)
        part_y = (area.sqrt() / root).clamp(max=1.0)
        theta = torch.zeros(count, 2, 3, dtype=torch.float32, device=images.device)
        theta[:, 0, 0], theta[:, 1, 1] = part_x, part_y
        theta[:, 0, 2] = (2 * draw[:, 2] - 1) * (1 - part_x)
        theta[:, 1, 2] = (2 * draw[:, 3] - 1) * (1 - part_y)
        target = [count, channels, self.size or height, self.size or width]
        grid = functional.affine_grid(theta, target, align_corners=False)
        cut = functional.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return cut.round_().to(images.dtype) if images.dtype == torch.uint8 else cut.to(images.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorJitter:
    """Changes brightness, contrast and saturation of each sample by factors in ``[1 - x, 1 + x]``.

    Contrast is about the sample's mean grey and saturation about each pixel's grey, with the luma weights of ITU-R
    BT.601. An image of one channel is grey itself, so saturation changes nothing. Returns uint8 for uint8.

    Example:
        >>> ferdata.ColorJitter(brightness=0.4, saturation=0)
        ColorJitter(brightness=0.4, contrast=0.2, saturation=0)
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self) -> None:
        if not all(0 <= value <= 1 for value in (self.brightness, self.contrast, self.saturation)):
            raise OptionError(
                f"jitter: {self.brightness}, {self.contrast}, {self.saturation} found, expected each from 0 to 1"
            )

    def __call__(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        draw = 2 * context.uniform(Stream.COLOURS.number, 3, images.device) - 1
        limits = torch.tensor([self.brightness, self.contrast, self.saturation], device=images.device)
        brightness, contrast, saturation = (1 + draw * limits).view(-1, 3, 1, 1, 1).unbind(1)
        values = images.float() * brightness
        grey = _grey(values)
        values = grey + (values - grey) * saturation
        middle = grey.mean((2, 3), keepdim=True)
        values = middle + (values - middle) * contrast
        return (
            values.clamp_(0, 255).round_().to(images.dtype) if images.dtype == torch.uint8 else values.to(images.dtype)
        )


def _grey(values: torch.Tensor) -> torch.Tensor:
    """Return float ``[N, 1, H, W]``, the luma of images of one or three channels."""
    if values.shape[1] == 1:
        return values
    if values.shape[1] != len(_LUMA):
        raise OptionError(f"jitter: images of {values.shape[1]} channels found, expected 1 or 3")
    return (values * torch.tensor(_LUMA, device=values.device).view(1, -1, 1, 1)).sum(1, keepdim=True)
