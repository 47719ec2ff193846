"""Which items are written, in which split, and in which shard: pure functions of labels, splits and a seed.

In: split and class of every item. Out: positions, cut into shards. Costs some array passes; knows no files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ferdata.ingest.split_options import SPLITS
from ferdata.randomness import Stream
from ferdata.strata import apportion

__all__ = [
    "LEFT_OUT",
    "Selection",
    "ShardPlan",
    "choose_limit",
    "choose_order",
    "cut_split",
    "leave_out",
    "level",
    "move",
    "num_shards",
    "plan_shards",
]

LEFT_OUT = -1
"""Split code of an item that a rule left out."""

SHARD_BYTES = 128 << 20
SMALL_SHARD_BYTES = 16 << 20
MAX_SMALL_SHARDS = 32
"""Sets of few shards are cut finer, so that many workers share them; this is how far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The split of every item of a scan.

    Attributes:
        splits: Names; an item's code is an index into them.
        codes: int8 ``[items]``; ``LEFT_OUT`` where a rule left the item out.
        labels: int64 ``[items]``, class of every item.
    """

    splits: tuple[str, ...]
    codes: np.ndarray
    labels: np.ndarray

    def positions(self, split: str) -> np.ndarray:
        """Return int64, the items of one split in their natural order."""
        return np.flatnonzero(self.codes == self.splits.index(split))

    def ordered_splits(self) -> list[str]:
        """Return the splits that hold items: train, val, test, then others by name."""
        present = [split for code, split in enumerate(self.splits) if (self.codes == code).any()]
        return sorted(present, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """One shard to write: ``positions`` are int64 item numbers in the order they are stored."""

    split: str
    number: int
    positions: np.ndarray


def move(selection: Selection, positions: np.ndarray, split: str) -> Selection:
    """Put the items at ``positions`` into a split, which need not be there yet."""
    splits = selection.splits if split in selection.splits else (*selection.splits, split)
    codes = selection.codes.copy()
    codes[positions] = splits.index(split)
    return replace(selection, splits=splits, codes=codes)


def choose_limit(selection: Selection, limit: int, seed: int, *, is_balanced: bool = False) -> Selection:
    """Keep ``limit`` train items, stratified by class; the others are left out. Other splits stay whole.

    Classes keep their proportions, and none disappears if the limit has room for all; balanced, each has as many as the
    others. A class's items are drawn from one seeded order, so a larger limit keeps what a smaller one kept wherever
    its share is larger.
    """
    train = selection.positions("train")
    members = [train[selection.labels[train] == label] for label in np.unique(selection.labels[train])]
    counts = [len(group) for group in members]
    wanted = [limit // len(members)] * len(members) if is_balanced else apportion(counts, limit)
    kept = _draw(members, wanted, selection.labels, Stream.SHARD_LIMIT, seed, "train")
    return leave_out(selection, np.setdiff1d(train, kept))


def cut_split(
    selection: Selection, name: str, amount: float, seed: int, *, train_size: int, groups: np.ndarray | None = None
) -> Selection:
    """Move a part of the train split to a new split, by class; every class keeps at least one item in train.

    Args:
        selection: Has a train split, and none called ``name``.
        name: Of the new split.
        amount: Below 1: this share of ``train_size`` items, each class with its own. Else: so many of each class.
        seed: Of the draws; every name has draws of its own, so a test split stays the same whether or not a val split
            is cut too.
        train_size: Items that train held before anything was cut from it.
        groups: int64 ``[items]``, which belong together and go as one, so that the wanted numbers are met as nearly as
            whole groups can.
    """
    train = selection.positions("train")
    classes, index = np.unique(selection.labels[train], return_inverse=True)
    counts = np.bincount(index, minlength=len(classes))
    wanted = (
        apportion(counts.tolist(), round(train_size * amount), spare=1)
        if amount < 1
        else [min(int(amount), int(count) - 1) for count in counts]
    )
    if groups is None:
        members = [train[index == number] for number in range(len(classes))]
        moved = _draw(members, wanted, selection.labels, Stream.SPLITS, seed, name)
    else:
        moved = train[_whole_groups(groups[train], index, np.array(wanted), _generator(Stream.SPLITS, seed, name))]
    return move(selection, moved, name)


def level(selection: Selection, split: str, seed: int) -> Selection:
    """Leave out what a split has more of one class than of the one it has least of."""
    positions = selection.positions(split)
    members = [positions[selection.labels[positions] == label] for label in np.unique(selection.labels[positions])]
    least = min(map(len, members), default=0)
    kept = _draw(members, [least] * len(members), selection.labels, Stream.SHARD_LIMIT, seed, split)
    return leave_out(selection, np.setdiff1d(positions, kept))


def _draw(
    members: Sequence[np.ndarray], wanted: Sequence[int], labels: np.ndarray, stream: Stream, seed: int, split: str
) -> np.ndarray:
    """Return the positions of so many items of each class, given the positions of all of each."""
    drawn = [
        group[_generator(stream, seed, split, int(labels[group[0]])).permutation(len(group))[:share]]
        for group, share in zip(members, wanted, strict=True)
    ]
    return np.concatenate(drawn) if drawn else np.zeros(0, np.int64)


def _whole_groups(
    groups: np.ndarray, classes: np.ndarray, wanted: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return bool ``[items]``: groups in a seeded order, each taken if it brings the classes nearer to ``wanted``."""
    _, group = np.unique(groups, return_inverse=True)
    table = np.zeros((int(group.max(initial=-1)) + 1, len(wanted)), np.int64)
    np.add.at(table, (group, classes), 1)
    missing, left = wanted.astype(np.int64), table.sum(0)
    taken = np.zeros(len(table), bool)
    for number in generator.permutation(len(table)):
        row = table[number]
        if np.abs(missing - row).sum() < np.abs(missing).sum() and (left - row >= (row > 0)).all():
            missing, left, taken[number] = missing - row, left - row, True
    return taken[group]


def leave_out(selection: Selection, positions: np.ndarray) -> Selection:
    """Leave the items at ``positions`` out."""
    codes = selection.codes.copy()
    codes[positions] = LEFT_OUT
    return replace(selection, codes=codes)


def choose_order(selection: Selection, split: str, seed: int) -> np.ndarray:
    """Return int64, the items of one split in the order they are stored: a seeded permutation of all of them."""
    positions = selection.positions(split)
    return positions[_generator(Stream.SHARD_ORDER, seed, split).permutation(len(positions))]


def num_shards(num_samples: int, sample_bytes: int) -> int:
    """Return how many shards of about equal size a split is cut into.

    At most ``SHARD_BYTES`` of tensors a shard; small splits are cut finer, down to ``SMALL_SHARD_BYTES``, so that there
    is work for ``MAX_SMALL_SHARDS`` workers. Depends on nothing else, so that every run cuts alike.
    """
    total = num_samples * sample_bytes
    wanted = max(math.ceil(total / SHARD_BYTES), min(MAX_SMALL_SHARDS, math.ceil(total / SMALL_SHARD_BYTES)), 1)
    return min(wanted, max(num_samples, 1))


def plan_shards(selection: Selection, *, seed: int, sample_bytes: int) -> list[ShardPlan]:
    """Return every shard to write, split by split; shard sizes within a split differ by one sample at most."""
    plan = []
    for split in selection.ordered_splits():
        order = choose_order(selection, split, seed)
        shards = num_shards(len(order), sample_bytes)
        cuts = [number * len(order) // shards for number in range(shards + 1)]
        plan += [
            ShardPlan(split=split, number=number, positions=order[cuts[number] : cuts[number + 1]])
            for number in range(shards)
        ]
    return plan


def _generator(stream: Stream, seed: int, split: str, label: int = 0) -> np.random.Generator:
    return np.random.default_rng(stream.seed(seed, int.from_bytes(split.encode(), "little"), label))
