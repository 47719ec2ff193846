"""Batch transforms: what they do to pixels, and that a sample gets what its position alone decides."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streams import make_truth
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from ferdata.errors import OptionError
from ferdata.stream import (
    BatchContext,
    BatchTransform,
    ColorJitter,
    Compose,
    HorizontalFlip,
    Loader,
    Normalize,
    RandomResizedCrop,
)

RANDOM: dict[str, Callable[[], BatchTransform]] = {
    "flip": HorizontalFlip,
    "crop": lambda: RandomResizedCrop(scale=(0.3, 1.0), ratio=(0.7, 1.4)),
    "jitter": lambda: ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5),
    "all": lambda: Compose(
        [RandomResizedCrop(size=9), HorizontalFlip(), ColorJitter(), Normalize(mean=(100, 110, 120), std=(50, 60, 70))]
    ),
}


def context(count: int = 64, *, first: int = 0, seed: int = 1, epoch: int = 0, rank: int = 0) -> BatchContext:
    return BatchContext(seed=seed, epoch=epoch, rank=rank, positions=np.arange(first, first + count))


def batch(count: int = 64, size: int = 12) -> torch.Tensor:
    """Return uint8 ``[count, 3, size, size]``: smooth, asymmetric, no two images alike."""
    n, c, y, x = np.ogrid[:count, :3, :size, :size]
    return torch.from_numpy((40 + n + 20 * c + 7 * x + 4 * y).astype(np.uint8))


@pytest.mark.parametrize("name", RANDOM)
def test_a_sample_gets_the_same_whatever_batch_it_is_in(name: str) -> None:
    """A resumed run, or one with another batch size, augments as the first: each position has its own stream."""
    transform, images = RANDOM[name](), batch()

    whole = transform(images, context())
    parts = [transform(images[start : start + 8], context(8, first=start)) for start in range(0, 64, 8)]

    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, transform(images, context()))


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 1}, {"rank": 1}, {"first": 64}])
def test_seed_epoch_rank_and_position_all_count(name: str, change: dict[str, int]) -> None:
    """Two ranks that crop alike, or two epochs, are half the augmentation that was asked for."""
    assert not torch.equal(RANDOM[name]()(batch(), context()), RANDOM[name]()(batch(), context(**change)))


@pytest.mark.parametrize("name", RANDOM)
def test_the_batch_itself_stays_as_it_is(name: str) -> None:
    """Its memory may be somebody's kept batch."""
    images = batch()
    RANDOM[name]()(images, context())
    assert torch.equal(images, batch())


@pytest.mark.parametrize("name", RANDOM)
def test_torchs_own_random_stream_is_neither_used_nor_moved(name: str) -> None:
    """Dropout draws from it; augmentation that did too would tie the one to the other."""
    before = torch.random.get_rng_state()
    first = RANDOM[name]()(batch(), context())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(RANDOM[name]()(batch(), context()), first)


@pytest.mark.parametrize("name", ["flip", "crop", "jitter"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_dtype_and_shape_are_kept(name: str, dtype: torch.dtype) -> None:
    """Transforms compose in any order, before or after normalising."""
    result = RANDOM[name]()(batch().to(dtype), context())
    assert (result.dtype, result.shape) == (dtype, (64, 3, 12, 12))


def test_draws_are_uniform_and_independent_between_purposes_columns_and_positions() -> None:
    """A counter-based generator that was put together wrongly shows as correlation or as a crooked distribution."""
    draws = torch.cat([context(20_000).uniform(purpose, 3, torch.device("cpu")) for purpose in (1, 2)], dim=1).numpy()

    assert draws.min() >= 0 and draws.max() < 1
    for column in draws.T:
        counts = np.histogram(column, bins=20, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 45
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 0.03
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.03


def test_a_flip_mirrors_half_of_the_samples_whole() -> None:
    """Per sample, not per batch, and left to right only."""
    images = batch(1000)
    flipped = HorizontalFlip()(images, context(1000))
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, images, strict=True)]
    assert all(
        is_mirrored or torch.equal(new, old) for is_mirrored, new, old in zip(mirrored, flipped, images, strict=True)
    )
    assert 430 < sum(mirrored) < 570


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0), (1.0, 64)])
def test_a_flip_of_certain_outcome(probability: float, expected: int) -> None:
    """0 is never and 1 is always, without a sample that slips through."""
    flipped = HorizontalFlip(probability=probability)(batch(), context())
    assert sum(torch.equal(new, old.flip(-1)) for new, old in zip(flipped, batch(), strict=True)) == expected


def test_normalise_is_the_arithmetic_of_the_index() -> None:
    """Mean and std come from index.json in [0, 255]; a factor of 255 off still trains, badly."""
    result = Normalize(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))(batch(), context())
    expected = (batch().numpy().astype(np.float64) - np.array([100, 110, 120])[:, None, None]) / np.array([50, 60, 70])[
        :, None, None
    ]
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)
    half = Normalize(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0), dtype=torch.bfloat16)(batch(), context())
    assert half.dtype == torch.bfloat16 and torch.equal(half, result.to(torch.bfloat16))


def test_a_crop_of_everything_is_the_image() -> None:
    """Scale 1 and ratio 1 leave nothing to cut: no half-pixel shift, no blur."""
    assert torch.equal(RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0))(batch(), context()), batch())


def test_a_crop_shows_a_rectangle_of_the_promised_area_and_shape_anywhere() -> None:
    """On an image whose pixels are their own coordinates, the cut rectangle can be read off the result."""
    size, count = 100, 400
    y, x = np.mgrid[:size, :size].astype(np.float32)
    images = torch.from_numpy(np.stack([x, y, 0 * x])).expand(count, 3, size, size)
    result = RandomResizedCrop(size=size, scale=(0.3, 0.6), ratio=(0.8, 1.25))(images, context(count)).numpy()

    widths = (result[:, 0, 50, 80] - result[:, 0, 50, 20]) / 60
    heights = (result[:, 1, 80, 50] - result[:, 1, 20, 50]) / 60
    areas, ratios = widths * heights, widths / heights
    assert areas.min() >= 0.299 and areas.max() <= 0.601 and np.ptp(areas) > 0.27
    assert ratios.min() >= 0.799 and ratios.max() <= 1.251 and np.ptp(ratios) > 0.4
    lefts, tops = result[:, 0, 50, 50] - 50 * widths, result[:, 1, 50, 50] - 50 * heights
    for start, extent in ((lefts, widths), (tops, heights)):
        place = start / (100 - 100 * extent)
        assert -0.05 < place.min() < 0.1 and 0.9 < place.max() < 1.05


def test_a_crop_gives_the_size_that_was_asked_for() -> None:
    """Training at 112 from shards at 224."""
    assert RandomResizedCrop(size=5)(batch(), context()).shape == (64, 3, 5, 5)


@pytest.mark.parametrize(
    ("option", "apply"),
    [
        ("brightness", lambda image, factor: reference.adjust_brightness(image, factor)),
        ("contrast", lambda image, factor: reference.adjust_contrast(image, factor)),
        ("saturation", lambda image, factor: reference.adjust_saturation(image, factor)),
    ],
)
def test_colour_changes_are_those_of_torchvision(
    option: str, apply: Callable[[torch.Tensor, float], torch.Tensor]
) -> None:
    """The same words must mean what they mean elsewhere; the factor is the one that explains the result."""
    factors = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, option: 0.4}
    images = batch(16)
    jittered = ColorJitter(**factors)(images, context(16)).float()
    found = []
    for image, result in zip(images, jittered, strict=True):
        candidates = np.linspace(0.6, 1.4, 161)
        errors = [float((apply(image.float() / 255, factor) * 255 - result).abs().mean()) for factor in candidates]
        assert min(errors) < 0.6
        found.append(candidates[int(np.argmin(errors))])
    assert np.ptp(found) > 0.4


def test_no_jitter_changes_nothing() -> None:
    """All strengths at 0 give the very bytes back."""
    assert torch.equal(ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0)(batch(), context()), batch())


def test_jitter_stays_within_a_byte() -> None:
    """White that wraps around to black is a hole in a face."""
    bright = torch.full((64, 3, 4, 4), 250, dtype=torch.uint8)
    assert int(ColorJitter(brightness=1.0)(bright, context()).max()) == 255
    assert (ColorJitter(brightness=0.2, contrast=0.0, saturation=0.0)(bright, context()) >= 199).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: HorizontalFlip(probability=1.5), "flip: probability 1.5 found, expected 0 to 1"),
        (lambda: RandomResizedCrop(scale=(0.0, 1.0)), "crop: scale"),
        (lambda: RandomResizedCrop(scale=(0.5, 1.5)), "and scale at most 1"),
        (lambda: RandomResizedCrop(ratio=(2.0, 1.0)), "expected 0 < low <= high"),
        (lambda: RandomResizedCrop(size=0), "crop: size 0 found, expected at least 1"),
        (lambda: ColorJitter(contrast=-0.1), "jitter: .* expected each from 0 to 1"),
        (lambda: Normalize(mean=(1.0,), std=(1.0, 2.0)), "normalize: mean .* expected as many of both"),
        (lambda: Normalize(mean=(1.0,), std=(0.0,)), "every std above 0"),
        (lambda: Normalize(mean=(), std=()), "normalize: mean"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Any], text: str) -> None:
    """At construction and by name."""
    with pytest.raises(OptionError, match=text):
        make()


class Brighter(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + 1


class WithContext(torch.nn.Module):
    def forward(self, images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        return images + 1 if context.epoch == 0 else images


def plain(images: torch.Tensor, amount: int = 1) -> torch.Tensor:
    return images + amount


def optional(images: torch.Tensor, context: BatchContext | None = None) -> torch.Tensor:
    return images + int(context is not None)


def renamed(pixels: torch.Tensor, where: BatchContext) -> torch.Tensor:
    return pixels + int(where.epoch == 0)


CALLABLES: dict[str, Any] = {
    "a function of images": lambda images: images + 1,
    "a function with an option": plain,
    "a function of any arguments": lambda *inputs: inputs[0] + len(inputs),
    "a partial": functools.partial(plain, amount=1),
    "a module": Brighter(),
    "a v2 pipeline": v2.Compose([v2.Lambda(lambda images: images + 1)]),
    "a compiled function": torch.Tensor.bitwise_not,
    "a function of images and context": renamed,
    "a context that may be left out": optional,
    "a module with context": WithContext(),
    "both kinds in one": Compose([v2.RandomHorizontalFlip(p=0.0), renamed]),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_transform_is_called_as_its_signature_says(tmp_path: Path, name: str) -> None:
    """A torchvision pipeline as it is, or any function of images, is what people hand in first."""
    truth = make_truth(tmp_path, samples={"train": 20})
    with Loader(truth.root, num_workers=0, batch_size=5, shuffle=False, transform=CALLABLES[name]) as loader:
        [images, *_] = [each.images for each in loader]
    assert np.array_equal(
        images, 255 - truth.pixels[:5] if name == "a compiled function" else truth.pixels[:5] + np.uint8(1)
    )


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        ("flip", "transform: str found, expected a callable"),
        (lambda: 1, r"transform: <lambda>\(\) found, expected \(images\) or \(images, context\)"),
        (lambda a, b, c: a, r"transform: <lambda>\(a, b, c\) found"),
        (lambda a, *, seed: a, r"transform: <lambda>\(a, \*, seed\) found"),
    ],
)
def test_what_cannot_be_called_with_images_is_refused_at_once(tmp_path: Path, transform: Any, text: str) -> None:
    """Not after the workers have been started and the first window was read."""
    make_truth(tmp_path, samples={"train": 20})
    with pytest.raises(OptionError, match=text):
        Loader(tmp_path, num_workers=0, batch_size=5, transform=transform)


@pytest.mark.parametrize(
    ("transform", "found"),
    [
        (lambda images: images[:3], r"a tensor of uint8 \[3, 3, 8, 8\]"),
        (lambda images: images.numpy(), r"ndarray \[5, 3, 8, 8\]"),
        (lambda images: (images, 1), "tuple of 2"),
        (lambda images: list(images), "list of 5"),
        (lambda images: None, "NoneType"),
        (lambda images: images.float().mean(), r"a tensor of float32 \[\]"),
        (lambda images: images > 3, r"a tensor of bool \[5, 3, 8, 8\]"),
    ],
)
def test_what_is_no_batch_is_named_and_not_handed_on(tmp_path: Path, transform: Any, found: str) -> None:
    """Five images beside eight labels train a model that is wrong, without a word."""
    make_truth(tmp_path, samples={"train": 20})
    loader = Loader(tmp_path, num_workers=0, batch_size=5, transform=transform)
    with (
        loader,
        pytest.raises(
            OptionError, match=f"^transform: {found} came back, expected a tensor of uint8 or float with 5 rows"
        ),
    ):
        next(iter(loader))
