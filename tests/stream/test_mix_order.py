"""Sets mixed by shares: the order is arithmetic, shares hold in every window, no set is drawn unevenly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferdata.errors import OptionError
from ferdata.stream.order.mixed import Interleaved, Passes, epoch_counts
from ferdata.stream.order.places import ClassPlaces
from ferdata.stream.order.sequence import (
    OrderOptions,
    Phase,
    epoch_sequence,
    rank_batches,
    rank_order,
    remaining_samples,
)

SHARDS = ([23, 23, 4], [30, 11], [7])
SIZES = tuple(map(sum, SHARDS))
STARTS = (0, 50, 91)
SHARD_SIZES = np.concatenate(SHARDS)
SET_SHARDS = tuple(map(len, SHARDS))
LABELS = (np.arange(sum(SIZES)) % 3).astype(np.int16)
PLACES = [ClassPlaces(labels, 3) for labels in np.split(LABELS, STARTS[1:])]
OPTIONS = {"batch_size": 4, "window_samples": 24, "run_samples": 4, "seed": 5, "set_draws": (60, 36, 24)}


class InReadingOrder:
    """Samples one after the other, as many as are asked for."""

    count = 0

    def part(self, start: int, stop: int) -> np.ndarray:
        return np.arange(start, stop)


def epoch_of(options: OrderOptions, epoch: int) -> np.ndarray:
    return epoch_sequence(SHARD_SIZES, options, epoch, SET_SHARDS, PLACES)


def set_of(samples: np.ndarray) -> np.ndarray:
    return np.searchsorted(STARTS, samples, side="right") - 1


@pytest.mark.parametrize(
    ("mix", "shares", "draws", "expected"),
    [
        ("weights", (0.7, 0.3), None, (77, 33)),
        ("weights", (7, 3), 1000, (700, 300)),
        ("weights", (1, 1, 1), 100, (34, 33, 33)),
        ("smallest", (1, 1), None, (40, 40)),
        ("smallest", (0.7, 0.3), None, (70, 30)),
        ("smallest", (0.29, 0.71), None, (16, 40)),
        ("largest", (1, 1), None, (70, 70)),
        ("largest", (0.7, 0.3), None, (94, 40)),
    ],
)
def test_an_epoch_is_as_long_as_its_mix_says(
    mix: str, shares: tuple[float, ...], draws: int | None, expected: tuple[int, ...]
) -> None:
    """A set of 70 and one of 40: the length is stated before anything is read, the same on every machine."""
    assert epoch_counts(mix, (70, 40, 9)[: len(shares)], shares, draws) == expected


def test_an_epoch_that_would_never_end_is_refused() -> None:
    """A weight that lacks some zeros makes an epoch of years, and numbers that do not fit."""
    for weight in (1e-9, 1e-300):
        with pytest.raises(OptionError, match=r"mix: largest with weights .* makes an epoch of [\d,]+ samples"):
            epoch_counts("largest", (70, 40), (weight, 1.0), None)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.data())
def test_every_stretch_has_each_set_by_its_share(counts: list[int], data: st.DataObject) -> None:
    """Shares that hold only in the mean let a batch be of one set alone; these hold in every window."""
    sets = [Passes(lambda _: InReadingOrder(), size=count, count=count, epoch=0) for count in counts]
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    whole = Interleaved(sets, starts)
    total = sum(counts)
    start = data.draw(st.integers(0, total))
    stop = data.draw(st.integers(start, total))

    everything, part = whole.part(0, total), whole.part(start, stop)

    assert sorted(everything) == list(range(total))
    np.testing.assert_array_equal(part, everything[start:stop])
    for first, count in zip(starts, counts, strict=True):
        found = int(((part >= first) & (part < first + count)).sum())
        assert abs(found - (stop - start) * count / total) < max(1, len(counts) - 1)


@pytest.mark.parametrize("shuffle", ["window", "full"])
def test_no_sample_comes_again_before_the_others_of_its_set_came_as_often(shuffle: str) -> None:
    """A set with a small share would show some of its samples for epochs on end, and others never."""
    options = OrderOptions(shuffle=shuffle, **OPTIONS)  # type: ignore[arg-type]
    seen: Counter[int] = Counter()
    epochs = [epoch_of(options, epoch) for epoch in range(7)]

    for epoch, samples in enumerate(epochs, 1):
        seen.update(samples.tolist())
        for number, (size, start) in enumerate(zip(SIZES, STARTS, strict=True)):
            times = [seen[sample] for sample in range(start, start + size)]
            assert max(times) - min(times) <= 1
            assert sum(times) == epoch * OPTIONS["set_draws"][number]  # type: ignore[index]
    assert len({tuple(samples) for samples in epochs}) == len(epochs)
    assert not np.array_equal(epochs[0], epoch_of(OrderOptions(shuffle=shuffle, **{**OPTIONS, "seed": 6}), 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", [None, (0.2, 0.3, 0.5)])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_read_what_one_reads_and_every_window_has_the_shares(
    world_size: int, weights: tuple[float, ...] | None
) -> None:
    """24 samples of a window are 12, 7.2 and 4.8 of the sets, whichever rank reads it."""
    options = OrderOptions(**OPTIONS, weights=weights)  # type: ignore[arg-type]

    parts = [part_of(options, rank, world_size) for rank in range(world_size)]

    assert sorted(np.concatenate(parts)) == sorted(part_of(options, 0, 1)) == sorted(epoch_of(options, 2))
    assert {len(part) for part in parts} == {rank_batches(120, options, world_size=world_size) * 4}
    for part in parts:
        for first in range(0, len(part) // 24 * 24, 24):
            counts = np.bincount(set_of(part[first : first + 24]), minlength=3)
            assert (np.abs(counts - 24 * np.array(OPTIONS["set_draws"]) / 120) < 2).all()


def part_of(options: OrderOptions, rank: int, world_size: int, phases: tuple[Phase, ...] = ()) -> np.ndarray:
    place = {"epoch": 2, "rank": rank, "world_size": world_size}
    return rank_order(SHARD_SIZES, options, phases=phases, set_shards=SET_SHARDS, places=PLACES, **place)[:]


def test_an_epoch_goes_on_with_another_number_of_ranks() -> None:
    """What two ranks left of an epoch is what three read of it: nothing twice, nothing lost but what fills no batch."""
    options = OrderOptions(**OPTIONS)  # type: ignore[arg-type]
    phase = Phase(world_size=2, consumed=20)
    before = np.concatenate([part_of(options, rank, 2)[:20] for rank in range(2)])

    after = np.concatenate([part_of(options, rank, 3, (phase,)) for rank in range(3)])

    assert remaining_samples(120, options, [phase]) == 80 and len(after) == 72
    assert Counter([*before.tolist(), *after.tolist()]) <= Counter(epoch_of(options, 2).tolist())


def test_class_weights_hold_in_every_set() -> None:
    """A set that is drawn balanced gives as many of each of its classes, whatever another set has."""
    options = OrderOptions(**OPTIONS, weights=(0.2, 0.3, 0.5))  # type: ignore[arg-type]
    samples = epoch_of(options, 0)

    for number, draws in enumerate(OPTIONS["set_draws"]):  # type: ignore[arg-type]
        own = LABELS[samples[set_of(samples) == number]]
        assert (np.abs(np.bincount(own, minlength=3) - draws * np.array([0.2, 0.3, 0.5])) < 1).all()
