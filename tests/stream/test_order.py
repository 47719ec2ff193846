"""The order: every sample once, the same by every rank's arithmetic, before and after a change of ranks."""

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferdata.errors import OptionError
from ferdata.stream.order.places import ClassPlaces
from ferdata.stream.order.sequence import (
    OrderOptions,
    Phase,
    epoch_sequence,
    rank_batches,
    rank_order,
    remaining_samples,
)
from ferdata.stream.order.weights import class_weights
from ferdata.stream.order.windows import VERIFY_ALL, Checked, ShardMap, cut_portions, cut_windows, sort_samples

CLASSES = ("neutral", "happy", "sad", "contempt")

sizes_of_shards = st.lists(st.integers(1, 40), min_size=1, max_size=12).map(lambda sizes: np.array(sizes, np.int64))
world_sizes = st.integers(1, 5)


@st.composite
def order_options(
    draw: st.DrawFn, *, shuffles: Sequence[str] = ("window", "full", "none"), drop_last: bool | None = None
) -> OrderOptions:
    """Draw options of small batches and windows, so that every boundary is met."""
    batch = draw(st.integers(1, 7))
    return OrderOptions(
        shuffle=draw(st.sampled_from(shuffles)),
        seed=draw(st.integers(0, 2**40)),
        batch_size=batch,
        window_samples=batch * draw(st.integers(1, 5)),
        run_samples=draw(st.integers(1, 9)),
        drop_last=draw(st.booleans()) if drop_last is None else drop_last,
    )


def counts_of(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels, minlength=len(CLASSES))


def labels_of(total: int) -> np.ndarray:
    """Return int64 ``[total]``: half of class 1, and the last class rare."""
    numbers = np.arange(total)
    return np.where(numbers % 2, np.where(numbers % 17 == 3, 3, numbers // 2 % 3), 1)


def places_of(labels: np.ndarray) -> list[ClassPlaces]:
    return [ClassPlaces(labels, len(CLASSES))]


def all_ranks(
    sizes: np.ndarray, options: OrderOptions, world_size: int, *, epoch: int = 0, phases: Sequence[Phase] = ()
) -> np.ndarray:
    """Return int64 ``[world_size, n]``, what every rank reads; np.stack fails where the lengths differ."""
    return np.stack(
        [
            rank_order(sizes, options, epoch=epoch, rank=rank, world_size=world_size, phases=phases)[:]
            for rank in range(world_size)
        ]
    )


def real(samples: np.ndarray) -> list[int]:
    """Return the samples without padding, in ascending order."""
    return sorted(samples[samples >= 0].tolist())


@given(sizes=sizes_of_shards, options=order_options(), epoch=st.integers(0, 1000))
def test_an_epoch_holds_every_sample_once(sizes: np.ndarray, options: OrderOptions, epoch: int) -> None:
    """Uniform sampling promises each sample exactly once, whatever the shuffle."""
    total = int(sizes.sum())

    sequence = epoch_sequence(sizes, options, epoch)

    assert sorted(sequence.tolist()) == list(range(total))


@given(sizes=sizes_of_shards, options=order_options(), world_size=world_sizes, epoch=st.integers(0, 99))
def test_ranks_cover_the_epoch_disjointly_and_evenly(
    sizes: np.ndarray, options: OrderOptions, world_size: int, epoch: int
) -> None:
    """Ranks of unequal counts hang in the first collective, and a sample on two ranks is trained on twice."""
    total = int(sizes.sum())

    assigned = all_ranks(sizes, options, world_size, epoch=epoch)

    read = real(assigned)
    assert len(read) == len(set(read))
    assert -(-assigned.shape[1] // options.batch_size) == rank_batches(total, options, world_size=world_size)
    if options.drop_last:
        assert (assigned >= 0).all() and assigned.shape[1] % options.batch_size == 0
        assert total - len(read) < options.batch_size * world_size
    else:
        assert read == list(range(total))
        assert assigned.size - total < world_size


@given(sizes=sizes_of_shards, options=order_options(drop_last=False), world_size=world_sizes)
def test_padding_stands_last_on_every_rank(sizes: np.ndarray, options: OrderOptions, world_size: int) -> None:
    """The loader zeroes the end of a batch; a padding row among real ones would be shown as a face."""
    for samples in all_ranks(sizes, options, world_size):
        assert (samples < 0).sum() <= 1  # or the last of a thousand ranks would have batches of nothing else
        assert not (np.diff((samples >= 0).astype(int)) > 0).any()


@given(sizes=sizes_of_shards, options=order_options(shuffles=["window"]), epoch=st.integers(0, 9))
def test_a_window_mixes_its_own_runs_and_nothing_else(sizes: np.ndarray, options: OrderOptions, epoch: int) -> None:
    """Memory is bounded by the window: a sample that left its window would need a slot nobody has."""
    sequence = epoch_sequence(sizes, options, epoch)

    assigned = all_ranks(sizes, options, 1, epoch=epoch)[0]

    for start in range(0, len(assigned), options.window_samples):
        window = assigned[start : start + options.window_samples]
        assert real(window) == sorted(sequence[start : start + len(window)].tolist())


@given(sizes=sizes_of_shards, options=order_options(shuffles=["window"]))
def test_runs_of_neighbours_stay_together_within_a_shard(sizes: np.ndarray, options: OrderOptions) -> None:
    """A run is one read from the disk; one that crossed a shard's end would be two."""
    ends = set(np.cumsum(sizes).tolist())

    sequence = epoch_sequence(sizes, options, 3).tolist()

    runs = sum(-(-size // options.run_samples) for size in sizes.tolist())
    breaks = sum(after != before + 1 or after in ends for before, after in pairwise(sequence))
    assert breaks <= runs - 1


@st.composite
def journeys(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Draw (world size, batches consumed) of an epoch that is moved between numbers of ranks."""
    return draw(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=4))


@settings(max_examples=200)
@given(sizes=sizes_of_shards, options=order_options(), journey=journeys(), last=world_sizes)
def test_an_epoch_moved_between_numbers_of_ranks_is_read_exactly_once(
    sizes: np.ndarray, options: OrderOptions, journey: list[tuple[int, int]], last: int
) -> None:
    """A cluster shrinks and grows in the middle of an epoch; nothing may be lost or trained on twice for it."""
    total = int(sizes.sum())
    phases: list[Phase] = []
    read: list[int] = []
    for world_size, batches in journey:
        assigned = all_ranks(sizes, options, world_size, phases=phases)
        consumed = min(batches, -(-assigned.shape[1] // options.batch_size)) * options.batch_size
        read += real(assigned[:, :consumed])
        phases.append(Phase(world_size, consumed))
        assert remaining_samples(total, options, phases) == total - len(read)

    assigned = all_ranks(sizes, options, last, phases=phases)
    read += real(assigned)

    assert len(read) == len(set(read))
    assert total - len(read) < options.batch_size * last if options.drop_last else sorted(read) == list(range(total))
    left = remaining_samples(total, options, phases)
    assert -(-assigned.shape[1] // options.batch_size) == rank_batches(left, options, world_size=last)


@given(sizes=sizes_of_shards, options=order_options(), world_size=world_sizes, batches=st.integers(0, 9))
def test_windows_from_any_batch_on_are_the_rest_of_the_whole(
    sizes: np.ndarray, options: OrderOptions, world_size: int, batches: int
) -> None:
    """A resume starts in the middle of a window and must give the very rows the uninterrupted run gives."""
    samples = all_ranks(sizes, options, world_size)[0]
    start = batches * options.batch_size

    windows = list(
        cut_windows(samples, batch_size=options.batch_size, window_samples=options.window_samples, start=start)
    )

    read = np.concatenate([window.samples for window in windows] or [np.empty(0, np.int64)])
    assert read.tolist() == samples[start:].tolist()
    number = batches
    for window in windows:
        assert (window.first_batch, window.num_batches) == (number, -(-len(window.samples) // options.batch_size))
        assert len(window.samples) <= options.window_samples
        number += window.num_batches
        portions = list(cut_portions(window, batch_size=options.batch_size, batches=3))
        assert np.concatenate([portion.samples for portion in portions]).tolist() == window.samples.tolist()
        assert sum(portion.num_batches for portion in portions) == window.num_batches
        assert [portion.first_batch for portion in portions] == list(range(0, window.num_batches, 3))


@given(samples=st.lists(st.integers(-1, 300), max_size=80))
def test_a_window_is_read_in_disk_order_into_every_row_but_padding(samples: list[int]) -> None:
    """Two samples for one row, or none, is a wrong picture under a right label."""
    read, rows = sort_samples(np.array(samples, np.int64))

    assert sorted(rows.tolist()) == [row for row, sample in enumerate(samples) if sample >= 0]
    assert read.tolist() == sorted(read.tolist())
    assert read.tolist() == [samples[row] for row in rows.tolist()]


@given(windows=st.lists(st.lists(st.integers(-1, 9), max_size=8), max_size=12))
def test_a_window_is_verified_until_all_of_it_was(windows: list[list[int]]) -> None:
    """What was checked is counted by window: a sample drawn twice must not count twice."""
    checked, seen = Checked(10, always=False), set[int]()
    for window in windows:
        samples = np.array([sample for sample in window if sample >= 0], np.int64)
        assert (checked.needs(samples, 0) == VERIFY_ALL) == bool(set(samples.tolist()) - seen)
        checked.note(samples)
        seen.update(samples.tolist())


@given(sizes=sizes_of_shards, data=st.data())
def test_sample_indices_map_to_the_shard_and_position_they_stand_at(sizes: np.ndarray, data: st.DataObject) -> None:
    """Off by one at a shard's edge is another person's face."""
    truth = [(shard, position) for shard, size in enumerate(sizes.tolist()) for position in range(size)]
    samples = np.sort(np.array(data.draw(st.lists(st.integers(0, len(truth) - 1), max_size=50)), np.int64))

    parts = list(ShardMap(sizes).by_shard(samples))

    found = [(shard, position) for shard, _, positions in parts for position in positions.tolist()]
    assert found == [truth[sample] for sample in samples.tolist()]
    assert [row for _, part, _ in parts for row in range(part.start, part.stop)] == list(range(len(samples)))


@settings(max_examples=60)
@given(
    sizes=sizes_of_shards.filter(lambda sizes: sizes.sum() >= 40),
    shuffle=st.sampled_from(["window", "full"]),
    raw_weights=st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any),
    draws=st.integers(1, 400),
    epoch=st.integers(0, 9),
)
def test_weighted_draws_give_every_class_its_share_and_every_sample_of_it_its_turn(
    sizes: np.ndarray, shuffle: str, raw_weights: list[int], draws: int, epoch: int
) -> None:
    """Sampling with replacement leaves a third of a rare class unseen each epoch; rounds over the class leave none."""
    labels = labels_of(int(sizes.sum()))
    weights = class_weights(dict(zip(CLASSES, raw_weights, strict=True)), CLASSES, counts_of(labels))
    options = OrderOptions(
        shuffle=shuffle, batch_size=4, window_samples=16, run_samples=2, weights=weights, draws=draws
    )

    sequence = epoch_sequence(sizes, options, epoch, places=places_of(labels))

    assert len(sequence) == draws
    times = np.bincount(sequence, minlength=len(labels))
    for label, weight in enumerate(raw_weights):
        share = int(times[labels == label].sum())
        assert abs(share - draws * weight / sum(raw_weights)) < 1
        assert share == 0 or np.ptp(times[labels == label]) <= 1


def test_balanced_draws_spread_every_class_evenly_over_the_epoch() -> None:
    """A rare class drawn at once would be forgotten by the end: every tenth of an epoch holds a tenth of it."""
    sizes, labels = np.array([500, 500], np.int64), labels_of(1000)
    weights = class_weights("balanced", CLASSES, counts_of(labels))

    options = OrderOptions(weights=weights, batch_size=10, window_samples=100, run_samples=4)
    sequence = epoch_sequence(sizes, options, 0, places=places_of(labels))

    counts = np.stack([np.bincount(labels[part], minlength=4) for part in np.split(sequence, 10)])
    assert counts.sum(0).tolist() == [250] * 4
    assert counts.min() >= 23 and counts.max() <= 27


def test_shares_that_are_whole_numbers_are_met_exactly() -> None:
    """0.29 x 100 is 28.999... in floating point; the class still gets its 29."""
    labels = labels_of(400)
    weights = class_weights({"neutral": 29, "happy": 57, "sad": 14}, CLASSES, counts_of(labels))

    options = OrderOptions(weights=weights, draws=100)
    sequence = epoch_sequence(np.array([400]), options, 0, places=places_of(labels))

    assert np.bincount(labels[sequence], minlength=4).tolist() == [29, 57, 14, 0]


@pytest.mark.parametrize(
    ("sampling", "text"),
    [
        ("even", "sampling: 'even' found, expected uniform, balanced or a weight per class name"),
        ({"angry": 1.0}, r"classes \['angry'\] found, expected names out of \['neutral', 'happy', 'sad', 'contempt'\]"),
        ({"happy": -1.0}, "expected none below 0, one above 0"),
        ({}, "one above 0"),
        ({"happy": float("inf")}, "one above 0"),
        ({"happy": float("nan")}, "one above 0"),
        ({"contempt": 1.0}, r"none on classes without samples \['contempt'\]"),
    ],
)
def test_weights_that_cannot_be_met_are_refused(sampling: object, text: str) -> None:
    """A weight on a class nobody has would make an endless or a lying epoch."""
    with pytest.raises(OptionError, match=text):
        class_weights(sampling, CLASSES, np.array([1, 2, 1, 0]))  # type: ignore[arg-type]


def test_balanced_leaves_out_classes_without_samples() -> None:
    """A split with seven of eight classes is balanced over the seven."""
    assert class_weights("balanced", CLASSES, np.array([1, 2, 1, 0])) == pytest.approx((1 / 3, 1 / 3, 1 / 3, 0))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shuffle": "some"}, "shuffle: 'some' found, expected window, full or none"),
        ({"batch_size": 0}, "expected at least 1"),
        ({"run_samples": 0}, "expected at least 1"),
        ({"window_samples": 100}, "expected a multiple of batch_size 128"),
        ({"seed": -1}, "seed: -1 found, expected 0 or more"),
        ({"shuffle": "none", "weights": (1.0,)}, "no reading order"),
        ({"draws": 10}, "draws: 10 found, but every sample is drawn once"),
        ({"weights": (1.0,), "draws": 0}, "draws: 0 found, expected at least 1"),
    ],
)
def test_options_out_of_range_are_refused(change: dict[str, object], text: str) -> None:
    """An order from nonsense would be a checkpoint nobody can go on with."""
    with pytest.raises(OptionError, match=text):
        OrderOptions(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
def test_a_rank_of_a_thousand_plans_a_billion_samples_by_its_own_windows(shuffle: str) -> None:
    """An epoch of 10^9 samples begins at once, and again with the next: a rank never computes what others read."""
    sizes = np.full(1_123_596, 890)
    options, started = OrderOptions(shuffle=shuffle, run_samples=139, window_samples=4480), time.process_time()
    orders = [
        [rank_order(sizes, options, epoch=epoch, rank=rank, world_size=1024) for rank in (0, 1023)] for epoch in (0, 1)
    ]
    read = np.concatenate([order[:128] for epoch in orders for order in epoch])

    assert time.process_time() - started < 8  # seconds, of four such beginnings
    assert [len(order) for epoch in orders for order in epoch] == [976_512] * 4
    assert read.min() >= 0 and read.max() < 1_000_000_440
    assert len({*read[:256].tolist()}) == len({*read[256:].tolist()}) == 256


def test_a_rank_outside_the_world_is_refused() -> None:
    """Rank 2 of 2 would read somebody else's share."""
    with pytest.raises(OptionError, match="rank 2 of 2: expected 0 <= rank < world_size"):
        rank_order(np.array([9]), OrderOptions(batch_size=1, window_samples=2), epoch=0, rank=2, world_size=2)[:]


def test_seed_and_epoch_are_mixed_and_not_added() -> None:
    """Seed 7 in epoch 1 and seed 8 in epoch 0 are different runs."""
    sizes = np.array([400], np.int64)
    orders = {
        (seed, epoch): tuple(epoch_sequence(sizes, OrderOptions(seed=seed, run_samples=4), epoch).tolist())
        for seed in (7, 8)
        for epoch in (0, 1)
    }

    assert len(set(orders.values())) == 4


def test_the_order_is_the_same_as_when_it_was_fixed() -> None:
    """A checkpoint taken with an older ferdata or NumPy must go on in the order it began in."""
    sizes = np.array([9, 7, 8], np.int64)
    small = {"seed": 5, "batch_size": 2, "window_samples": 8, "run_samples": 3}

    window = rank_order(sizes, OrderOptions(**small), epoch=1, rank=1, world_size=2)[:]  # type: ignore[arg-type]
    full = rank_order(sizes, OrderOptions(shuffle="full", **small), epoch=1, rank=0, world_size=1)[:]  # type: ignore[arg-type]
    weights = OrderOptions(weights=(0.25, 0.25, 0.25, 0.25), draws=8, **small)  # type: ignore[arg-type]
    weighted = rank_order(sizes, weights, epoch=1, rank=0, world_size=1, places=places_of(labels_of(24)))[:]

    assert (window.tolist(), full.tolist(), weighted.tolist()) == (GOLDEN_WINDOW, GOLDEN_FULL, GOLDEN_WEIGHTED)


GOLDEN_WINDOW = [22, 15, 0, 1, 2, 23, 12, 5, 7, 8, 18, 6]
GOLDEN_FULL = [17, 5, 14, 3, 0, 19, 12, 6, 1, 11, 4, 21, 15, 8, 7, 13, 10, 9, 16, 18, 23, 20, 22, 2]
GOLDEN_WEIGHTED = [3, 3, 1, 19, 23, 4, 16, 17]
