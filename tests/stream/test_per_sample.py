"""torchvision transforms sample by sample: independent draws that any run repeats, in loaders and data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streams import make_truth
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from ferdata.errors import OptionError
from ferdata.stream import BatchContext, HorizontalFlip, IterableShardDataset, Loader, PerSample, ShardDataset

AUGMENT = v2.Compose(
    [
        v2.RandomResizedCrop(6),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.3, 0.3),
        v2.ToDtype(torch.float32, scale=True),
    ]
)


def draw(image: torch.Tensor) -> torch.Tensor:
    """Return what torch's generator gives, whatever the image is."""
    return torch.rand(4)


def context(count: int = 16, *, first: int = 0, seed: int = 1, epoch: int = 0, rank: int = 0) -> BatchContext:
    return BatchContext(seed=seed, epoch=epoch, rank=rank, positions=np.arange(first, first + count))


def batch(count: int = 16) -> torch.Tensor:
    return torch.arange(count * 3 * 64, dtype=torch.uint8).reshape(count, 3, 8, 8)


@pytest.mark.parametrize("transform", [AUGMENT, draw])
def test_every_sample_draws_for_itself_whatever_batch_it_is_in(transform: Any) -> None:
    """A v2 pipeline on a whole batch crops all of it alike, a fraction of the augmentation that was asked for."""
    whole = PerSample(transform)(batch(), context())

    assert len({tuple(row) for row in PerSample(draw)(batch(), context()).tolist()}) == 16
    parts = [PerSample(transform)(batch()[start : start + 4], context(4, first=start)) for start in range(0, 16, 4)]
    assert torch.equal(whole, torch.cat(parts))
    for change in ({"seed": 2}, {"epoch": 1}, {"rank": 1}, {"first": 16}):
        assert not torch.equal(whole, PerSample(transform)(batch(), context(**change)))


def test_torchs_own_generator_is_neither_used_nor_moved() -> None:
    """Dropout draws from it; augmentation that did too would tie the one to the other."""
    before = torch.random.get_rng_state()
    first = PerSample(AUGMENT)(batch(), context())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(PerSample(AUGMENT)(batch(), context()), first)


def test_a_resumed_loader_augments_as_the_uninterrupted_one(tmp_path: Path) -> None:
    """The seed is arithmetic, so nothing of it has to be saved."""
    make_truth(tmp_path)
    options: dict[str, Any] = {
        "batch_size": 8,
        "window_samples": 48,
        "num_workers": 0,
        "seed": 3,
        "transform": PerSample(AUGMENT),
    }
    with Loader(tmp_path, **options) as loader:
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
        rest = [images.clone() for images, _ in batches]
    with Loader(tmp_path, **options) as loader:
        loader.load_state_dict(state)
        assert all(torch.equal(images, expected) for (images, _), expected in zip(loader, rest, strict=True))


@pytest.mark.parametrize("transform", [PerSample(AUGMENT), HorizontalFlip()])
def test_in_dataloader_workers_a_sample_gets_the_same_for_its_seed_epoch_and_number(
    tmp_path: Path, transform: Any
) -> None:
    """Any sampler, any number of workers, in any batch; and another in the next epoch, though workers are copies."""
    make_truth(tmp_path)
    dataset = ShardDataset(
        tmp_path, indices=[*range(40, 80)], transform=transform, seed=5, fields=("images", "indices")
    )
    expected = transform(
        torch.stack([sample.images for sample in ShardDataset(tmp_path, indices=[*range(40, 80)])]),
        context(40, first=40, seed=5),
    )

    assert torch.equal(torch.stack([dataset[number].images for number in range(40)]), expected)
    loader = DataLoader(dataset, batch_size=8, num_workers=2, persistent_workers=True)
    assert torch.equal(torch.cat([images for images, _ in loader]), expected)
    dataset.set_epoch(1)
    later = torch.cat([images for images, _ in loader])
    assert not torch.equal(later, expected)
    dataset.set_epoch(0)
    assert torch.equal(torch.cat([images for images, _ in loader]), expected)


def test_an_iterable_data_set_follows_its_epoch(tmp_path: Path) -> None:
    """Its order does already."""
    make_truth(tmp_path)
    dataset = IterableShardDataset(tmp_path, shuffle=False, transform=PerSample(draw))
    first = [sample.images.tolist() for sample in dataset]
    dataset.set_epoch(1)
    assert first != [sample.images.tolist() for sample in dataset]
    dataset.set_epoch(0)
    assert first == [sample.images.tolist() for sample in dataset]


def test_results_that_cannot_be_a_batch_are_refused() -> None:
    """torch.stack would say it in terms of lists of tensors."""
    sizes = iter(range(1, 100))
    with pytest.raises(OptionError, match=r"uint8 \[1\] and uint8 \[2\] came back, expected tensors of one shape"):
        PerSample(lambda image: image[0, 0, : next(sizes) % 2 + 1])(batch(), context())
    with pytest.raises(OptionError, match="str came back"):
        PerSample(lambda image: "face")(batch(), context())  # type: ignore[arg-type, return-value]
    with pytest.raises(OptionError, match="'flip' found, expected a callable of one image"):
        PerSample("flip")  # type: ignore[arg-type]
