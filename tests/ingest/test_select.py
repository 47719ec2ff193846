"""Which item goes where: limits and cut splits keep proportions, orders are permutations, shards cover all once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferdata.ingest.select.folds import assign_folds
from ferdata.ingest.select.selection import (
    LEFT_OUT,
    MAX_SMALL_SHARDS,
    SHARD_BYTES,
    SMALL_SHARD_BYTES,
    Selection,
    choose_limit,
    choose_order,
    cut_split,
    leave_out,
    num_shards,
    plan_shards,
)
from ferdata.strata import apportion

AFFECTNET_TRAIN = [74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750]


def select(counts: dict[str, list[int]]) -> Selection:
    """Items of splits and classes with the given counts, classes taking turns so that neighbours differ."""
    splits = tuple(counts)
    codes = np.concatenate([np.full(sum(per_class), code, np.int8) for code, per_class in enumerate(counts.values())])
    labels = np.concatenate([np.repeat(np.arange(len(per_class)), per_class) for per_class in counts.values()])
    mixed = np.random.default_rng(0).permutation(len(codes))
    return Selection(splits=splits, codes=codes[mixed], labels=labels[mixed].astype(np.int64))


def table(selection: Selection, classes: int) -> dict[str, list[int]]:
    """Split -> items per class."""
    return {
        split: np.bincount(selection.labels[selection.codes == code], minlength=classes).tolist()
        for code, split in enumerate(selection.splits)
    }


@given(
    counts=st.lists(st.integers(0, 500), min_size=1, max_size=12), total=st.integers(0, 3000), spare=st.integers(0, 2)
)
@settings(max_examples=300, deadline=None)
def test_shares_add_up_and_never_exceed_a_group(counts: list[int], total: int, spare: int) -> None:
    """The sum is exact; every group that can be served is, where the total has room for all."""
    caps = [max(0, count - spare) for count in counts]

    shares = apportion(counts, total, spare=spare)

    assert sum(shares) == min(total, sum(caps))
    assert all(0 <= share <= cap for share, cap in zip(shares, caps, strict=True))
    if total >= sum(cap > 0 for cap in caps):
        assert all(share >= 1 for share, cap in zip(shares, caps, strict=True) if cap)


def test_shares_are_proportional() -> None:
    """Within one of the exact share, wherever no group has to be raised to one."""
    shares = apportion(AFFECTNET_TRAIN, 10_000)

    exact = np.array(AFFECTNET_TRAIN) / sum(AFFECTNET_TRAIN) * 10_000
    assert np.abs(np.array(shares) - exact).max() < 1


def test_a_small_limit_serves_the_largest_groups() -> None:
    """Three items of eight classes: not every class can have one, so the exact shares of 0.78 and 1.40 decide."""
    assert apportion(AFFECTNET_TRAIN, 3) == [1, 2, 0, 0, 0, 0, 0, 0]


@given(
    counts=st.dictionaries(
        st.sampled_from(["train", "val", "test"]), st.lists(st.integers(0, 60), min_size=3, max_size=3), min_size=1
    ),
    limit=st.integers(1, 400),
    seed=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_a_limit_is_exact_and_keeps_every_class_and_all_of_val(
    counts: dict[str, list[int]], limit: int, seed: int
) -> None:
    """Train items = limit; classes that exist stay where there is room; figures on val compare with those of others."""
    if not sum(counts.get("train", [])):
        return
    selection = select(counts)

    limited = choose_limit(selection, limit, seed)

    kept = table(limited, 3)
    assert sum(kept["train"]) == min(limit, sum(counts["train"]))
    assert all(kept[split] == counts[split] for split in counts if split != "train")
    assert np.isin(limited.codes, [LEFT_OUT, *range(len(counts))]).all()
    stays = limited.codes != LEFT_OUT
    assert (limited.codes[stays] == selection.codes[stays]).all()
    if limit >= sum(count > 0 for count in counts["train"]):
        assert all((new > 0) == (old > 0) for new, old in zip(kept["train"], counts["train"], strict=True))


def test_a_limit_depends_on_the_seed_and_on_nothing_else() -> None:
    """Two seeds take different items, one seed always the same."""
    selection = select({"train": [300, 500], "val": [50, 50]})

    first, again, other = (choose_limit(selection, 100, seed).codes for seed in (7, 7, 8))

    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_larger_limit_keeps_what_a_smaller_one_kept() -> None:
    """A trial on 100 items is part of the trial on 1,000."""
    selection = select({"train": [300, 500], "val": [100, 100]})

    small, large = (choose_limit(selection, limit, 3).codes != LEFT_OUT for limit in (100, 800))

    assert (large[small]).all()


def cut(counts: dict[str, list[int]], amount: float, *, seed: int = 0, name: str = "test") -> Selection:
    """A split cut off the train split of these counts."""
    return cut_split(select(counts), name, amount, seed, train_size=sum(counts["train"]))


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.37, 0.9])
def test_a_share_is_cut_from_train_by_class(fraction: float) -> None:
    """Official splits stay whole; the new one has train's proportions; every class keeps an item in train."""
    counts = {"train": [400, 900, 31, 1], "val": [50, 50, 50, 50]}

    found = table(cut(counts, fraction), 4)

    assert found["val"] == counts["val"]
    assert [a + b for a, b in zip(found["train"], found["test"], strict=True)] == counts["train"]
    assert sum(found["test"]) == min(round(1332 * fraction), 1332 - 4)
    assert found["test"][3] == 0 and min(found["train"]) >= 1
    assert abs(found["test"][1] - 900 * fraction) <= 3


def test_a_number_is_cut_from_every_class_alike() -> None:
    """As AffectNet's own val split is: accuracy on it is the mean over classes."""
    found = table(cut({"train": [400, 900, 31, 0]}, 30), 4)

    assert found == {"train": [370, 870, 1, 0], "test": [30, 30, 30, 0]}


def test_a_cut_depends_on_the_seed_and_on_nothing_else() -> None:
    """Runs meant to differ must not share their test set, and runs meant to agree must."""
    counts = {"train": [100, 200], "val": [9, 9]}

    first, again, other = (cut(counts, 0.2, seed=seed).codes for seed in (1, 1, 2))

    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_test_split_is_the_same_with_and_without_a_val_split() -> None:
    """Who adds a val split later must not find trained images in test. Both shares are of all that train held."""
    alone = cut({"train": [300, 500]}, 0.2)
    both = cut_split(alone, "val", 0.2, 0, train_size=800)

    assert np.array_equal(alone.positions("test"), both.positions("test"))
    assert table(both, 2) == {"train": [180, 300], "test": [60, 100], "val": [60, 100]}


@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=40),
    amount=st.sampled_from([0.1, 0.3, 5.0]),
    seed=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_groups_are_never_cut_apart(sizes: list[int], amount: float, seed: int) -> None:
    """A network knows a face that is in train; classes come as near as whole groups allow, and none leaves train."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    labels = (np.arange(len(group)) * 7 + group) % 3
    selection = Selection(splits=("train",), codes=np.zeros(len(group), np.int8), labels=labels)

    found = cut_split(selection, "val", amount, seed, train_size=len(group), groups=group + 100)

    assert all(len(set(found.codes[group == number].tolist())) == 1 for number in range(len(sizes)))
    assert set(labels[found.codes == 0]) == set(labels)


def test_groups_come_near_to_what_is_asked() -> None:
    """Of 60 persons with 5 to 25 images each, a fifth of every class to within the size of a person."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), rng.integers(5, 26, 60))
    labels = rng.choice(4, len(group), p=[0.5, 0.3, 0.15, 0.05])
    selection = Selection(splits=("train",), codes=np.zeros(len(group), np.int8), labels=labels)

    for seed in range(5):
        found = cut_split(selection, "val", 0.2, seed, train_size=len(group), groups=group)

        wanted = np.bincount(labels) * 0.2
        assert np.abs(np.bincount(labels[found.codes == 1], minlength=4) - wanted).max() <= 13  # half of the largest


def test_limit_and_order_draw_apart() -> None:
    """Seeds are mixed with a purpose: the items a limit takes are not simply the first ones in the shards."""
    selection = select({"train": [1000]})

    kept = np.flatnonzero(choose_limit(selection, 100, 0).codes != LEFT_OUT)

    assert len(set(kept) & set(choose_order(selection, "train", 0)[:100])) < 30


def test_a_balanced_limit_has_as_many_of_each_class() -> None:
    """And what is over of the division is not made up by one class."""
    kept = table(choose_limit(select({"train": [300, 0, 50], "val": [9, 9, 9]}), 41, 0, is_balanced=True), 3)

    assert kept == {"train": [20, 0, 20], "val": [9, 9, 9]}


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=5), folds=st.integers(2, 6), seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_folds_are_alike_in_size_and_classes(counts: list[int], folds: int, seed: int) -> None:
    """A class that is missing from a fold counts for nothing in its figures."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))

    found = assign_folds(labels, folds, seed)

    assert np.isin(found, np.arange(folds)).all()
    for members in (found, *(found[labels == label] for label in range(len(counts)))):
        sizes = np.bincount(members, minlength=folds)
        assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(found, assign_folds(labels, folds, seed))


def test_folds_keep_groups_whole_and_classes_near() -> None:
    """As in CK+: persons of 1 to 8 clips, rare classes spread over the folds, and another seed gives other folds."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(118), rng.integers(1, 9, 118))
    labels = rng.choice(4, len(group), p=[0.5, 0.3, 0.15, 0.05])

    found = assign_folds(labels, 10, 0, groups=group)

    assert all(len(set(found[group == number])) == 1 for number in range(118))
    for label in range(4):
        sizes = np.bincount(found[labels == label], minlength=10)
        assert np.abs(sizes - (labels == label).sum() / 10).max() <= 3
    assert not np.array_equal(found, assign_folds(labels, 10, 1, groups=group))


@given(n=st.integers(1, 300), seed=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_an_order_is_a_permutation_of_the_split(n: int, seed: int) -> None:
    """Neighbours in a shard are far apart in the source."""
    selection = leave_out(select({"train": [n, n], "val": [5, 5]}), np.arange(0, n, 3))

    order = choose_order(selection, "train", seed)

    assert sorted(order) == selection.positions("train").tolist()
    assert n < 20 or not np.array_equal(order, np.sort(order))


@pytest.mark.parametrize(
    ("samples", "sample_bytes", "shards"),
    [
        (1, 150_528, 1),
        (3, 1 << 30, 3),
        (100, 1000, 1),
        (8_000, 150_528, MAX_SMALL_SHARDS),
        (287_651, 150_528, 323),
        (12_271, 30_000, 22),
    ],
)
def test_shards_are_sized_by_bytes(samples: int, sample_bytes: int, shards: int) -> None:
    """About 128 MiB where there is much, finer where there is little, never fewer samples than one."""
    assert num_shards(samples, sample_bytes) == shards
    assert samples == shards or samples / shards * sample_bytes <= SHARD_BYTES
    assert shards == 1 or samples == shards or samples / shards * sample_bytes >= SMALL_SHARD_BYTES / 2


@given(
    counts=st.dictionaries(
        st.sampled_from(["val", "train", "test", "extra"]),
        st.lists(st.integers(0, 50), min_size=2, max_size=2),
        min_size=1,
    ),
    sample_bytes=st.sampled_from([1000, 1 << 22, 1 << 25, 1 << 29]),
)
@settings(max_examples=100, deadline=None)
def test_a_plan_holds_every_item_once(counts: dict[str, list[int]], sample_bytes: int) -> None:
    """Split by split, numbered from 0, sizes within one of each other."""
    if not sum(map(sum, counts.values())):
        return
    selection = select(counts)

    plan = plan_shards(selection, seed=0, sample_bytes=sample_bytes)

    assert sorted(np.concatenate([shard.positions for shard in plan])) == list(range(len(selection.codes)))
    order = [split for split in ("train", "val", "test", "extra") if sum(counts.get(split, []))]
    assert list(dict.fromkeys(shard.split for shard in plan)) == order
    for split in order:
        mine = [shard for shard in plan if shard.split == split]
        assert [shard.number for shard in mine] == list(range(len(mine)))
        assert max(len(s.positions) for s in mine) - min(len(s.positions) for s in mine) <= 1
        assert all((selection.codes[s.positions] == selection.splits.index(split)).all() for s in mine)
