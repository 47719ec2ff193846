"""Dropout by sample: the mask is a formula of the key, so it can be cut, resumed and assigned to ranks."""

import numpy as np
import pytest
import torch

from ferdata.training.nets.dropout import SampleDropout, dropout_mask, sample_keys


def _masks(
    probability: float, positions: np.ndarray, *, seed: int = 1, epoch: int = 2, features: int = 500
) -> torch.Tensor:
    dropout = SampleDropout(probability).train()
    return dropout(
        torch.ones(len(positions), features), dropout_mask(sample_keys(seed, epoch, positions), features, probability)
    )


def test_a_sample_s_mask_does_not_depend_on_the_batch_it_is_in() -> None:
    """Ranks and accumulated micro-batches cut batches differently, and must drop the same features."""
    whole = _masks(0.3, np.arange(100, 164))

    parts = torch.cat([_masks(0.3, np.arange(100, 116)), _masks(0.3, np.arange(116, 164))])

    assert torch.equal(whole, parts)


def test_masks_differ_between_samples_epochs_and_seeds() -> None:
    """The same mask twice would drop the same features all through the training."""
    positions = np.arange(8)
    base = _masks(0.5, positions)

    assert len({tuple(row.tolist()) for row in base}) == 8
    assert not torch.equal(base, _masks(0.5, positions, epoch=3))
    assert not torch.equal(base, _masks(0.5, positions, seed=2))


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.65])
def test_the_share_dropped_is_the_one_asked_for(probability: float) -> None:
    """And what is kept is scaled so that the expected sum stays the same."""
    masked = _masks(probability, np.arange(400))

    assert float((masked == 0).float().mean()) == pytest.approx(probability, abs=0.005)
    assert float(masked.mean()) == pytest.approx(1.0, abs=0.02)
    assert masked.unique().tolist() == pytest.approx([0.0, 1 / (1 - probability)])


def test_neighbours_are_dropped_independently() -> None:
    """A counter that is mixed badly shows as a correlation between neighbouring features or samples."""
    kept = (_masks(0.5, np.arange(400)) != 0).double() - 0.5

    assert abs(float((kept[:, 1:] * kept[:, :-1]).mean())) < 0.003
    assert abs(float((kept[1:] * kept[:-1]).mean())) < 0.003


def test_nothing_is_dropped_outside_training() -> None:
    """Evaluation is exact."""
    features = torch.randn(4, 10)

    assert torch.equal(SampleDropout(0.5).eval()(features, torch.zeros(4, 10, dtype=torch.bool)), features)


def test_masks_are_the_same_numbers_for_ever() -> None:
    """Resumed runs and other versions drop what this one does: SplitMix64 of Python's integers, without overflow."""
    limit = 1 << 64

    def mixed(value: int) -> int:
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % limit
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % limit
        return value ^ (value >> 31)

    start = int(np.random.SeedSequence((3, 1, 4)).generate_state(1, np.uint64)[0])
    keys = [mixed((start + position * 0x9E3779B97F4A7C15) % limit) for position in (0, 5)]
    expected = [
        [mixed((key + count * 0x9E3779B97F4A7C15) % limit) >> 40 >= round(0.4 * 2**24) for count in range(1, 85)]
        for key in keys
    ]

    assert dropout_mask(sample_keys(3, 1, np.array([0, 5])), 84, 0.4).tolist() == expected
