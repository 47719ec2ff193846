"""What a rank reads is computed without the others' parts: permutations that give any part alone."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferdata.stream.order import permutation
from ferdata.stream.order.permutation import Permutation, RunPermutation
from ferdata.stream.order.sequence import OrderOptions, Phase, rank_order

SIZES = np.full(10_000, 1_000, np.int64)
"""Ten million samples."""


@pytest.fixture(params=[False, True], ids=["table", "computed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Few places are a table; here both ways are held to the same."""
    if request.param:
        monkeypatch.setattr(permutation, "TABLE_POSITIONS", -1)
        monkeypatch.setattr(permutation, "TABLE_RUNS", -1)
    return bool(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 63, 64, 65, 1000, 70_000])
def test_every_place_is_taken_once_and_a_part_is_what_stands_in_the_whole(count: int) -> None:
    """A number that came twice would be a face trained on twice, and another never."""
    order = Permutation(count, (7, 3))
    whole = order.part(0, count)

    assert np.array_equal(np.sort(whole), np.arange(count))
    for start, stop in ((0, 0), (0, 1), (count // 3, count // 2), (count - 1, count)):
        assert np.array_equal(order.part(start, stop), whole[start:stop])
    assert count < 63 or not np.array_equal(whole, Permutation(count, (7, 4)).part(0, count))


def test_computed_places_are_spread_as_chance_spreads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours that stay neighbours would be a worse shuffle than the small sets get."""
    monkeypatch.setattr(permutation, "TABLE_POSITIONS", -1)
    orders = np.stack([Permutation(100, (seed, 0, 1)).part(0, 100) for seed in range(2000)])

    for column in (0, 1, 50, 99):
        counts = np.bincount(orders[:, column], minlength=100)
        assert (
            (counts - 20) ** 2 / 20
        ).sum() < 160  # chi square of 99 degrees of freedom: 99 on average, 160 once in 10,000
    distances = np.abs(np.diff(orders, axis=1))
    assert distances.mean() == pytest.approx(101 / 3, rel=0.01) and (distances == 1).mean() == pytest.approx(
        0.02, rel=0.05
    )


@settings(max_examples=150)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12)
    .filter(any)
    .map(lambda sizes: np.array(sizes, np.int64)),
    run=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    computed=st.booleans(),
    data=st.data(),
)
def test_runs_hold_every_sample_once_and_any_part_can_be_asked_for(
    sizes: np.ndarray, run: int, seed: int, computed: bool, data: st.DataObject
) -> None:
    """The same whichever way: shards with and without a short run at their end, parts that begin or end in runs."""
    with pytest.MonkeyPatch.context() as patch:
        if computed:
            patch.setattr(permutation, "TABLE_POSITIONS", -1)
            patch.setattr(permutation, "TABLE_RUNS", -1)
        order = RunPermutation(sizes, run, (seed, 5, 1))
        whole = order.part(0, order.count)
        start = data.draw(st.integers(0, order.count))
        stop = data.draw(st.integers(start, order.count))
        part = order.part(start, stop)

    assert np.array_equal(np.sort(whole), np.arange(sizes.sum()))
    assert np.array_equal(part, whole[start:stop])
    ends = np.cumsum(sizes)
    begins = np.concatenate([np.arange(end - size, end, run) for end, size in zip(ends, sizes, strict=True)])
    breaks = np.flatnonzero(np.diff(whole) != 1) + 1
    assert np.isin(whole[np.concatenate(([0], breaks))], begins).all()
    assert len(breaks) < len(begins)


@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
@pytest.mark.parametrize("phases", [(), (Phase(768, 256), Phase(512, 128))], ids=["whole", "resumed"])
def test_a_rank_among_a_thousand_keeps_and_computes_its_own_part_alone(shuffle: str, phases: tuple[Phase, ...]) -> None:
    """Every rank once kept the order of all of them through the epoch: 80 MB here."""
    options = OrderOptions(shuffle=shuffle, run_samples=27)
    tracemalloc.start()
    try:
        mine = rank_order(SIZES, options, epoch=1, rank=1000, world_size=1024, phases=phases)[:]
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(np.unique(mine)) == len(mine) > 9_000
    assert kept < 2 * mine.nbytes and peak < 25 * SIZES.nbytes
    assert mine.base is None


def test_ranks_share_a_set_of_computed_order_without_overlap() -> None:
    """The split of many shards: together they read everything but a remainder, each sample once."""
    options = OrderOptions(run_samples=27)
    seen = np.zeros(SIZES.sum(), np.int8)
    for rank in range(64):
        seen[rank_order(SIZES, options, epoch=0, rank=rank, world_size=64)[:]] += 1

    assert seen.max() == 1 and len(seen) - seen.sum() < 64 * 128


def test_an_order_is_computed_where_it_is_sliced() -> None:
    """A first batch must not wait for the epoch: what one window costs does not grow with the split."""
    order = rank_order(SIZES, OrderOptions(run_samples=27), epoch=0, rank=0, world_size=1)
    tracemalloc.start()
    try:
        window = order[5 * 2048 - 3 : 6 * 2048]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(order) == SIZES.sum() // 128 * 128 and len(np.unique(window)) == 2051
    assert peak < 1 << 20
