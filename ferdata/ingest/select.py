"""Which items are written, in which split, and in which shard: pure functions of labels, splits and a seed.

In: split and class of every item. Out: positions, cut into shards. Costs a few array passes; knows no files and no processes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ferdata.errors import OptionError
from ferdata.strata import apportion

__all__ = [
    "LEFT_OUT",
    "Selection",
    "ShardPlan",
    "choose_limit",
    "choose_order",
    "cut_holdout",
    "holdout_split",
    "leave_out",
    "num_shards",
    "plan_shards",
]

LEFT_OUT = -1
"""Split code of an item that a rule left out."""

SHARD_BYTES = 128 << 20
SMALL_SHARD_BYTES = 16 << 20
MAX_SMALL_SHARDS = 32
"""Sets of few shards are cut finer, so that many workers share them; this is how far."""

_LIMIT, _HOLDOUT, _ORDER = 1, 2, 3
_SPLIT_ORDER = ("train", "val", "test")
_HOLDOUT_NAMES = {"affectnet": ("test", "val"), "rafdb": ("val", "test")}


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
        return sorted(present, key=lambda name: (_SPLIT_ORDER.index(name) if name in _SPLIT_ORDER else len(_SPLIT_ORDER), name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """One shard to write: ``positions`` are int64 item numbers in the order they are stored."""

    split: str
    number: int
    positions: np.ndarray


def choose_limit(selection: Selection, limit: int, seed: int) -> Selection:
    """Keep ``limit`` items, stratified by split and class; the others are left out.

    Splits and classes keep their proportions, and none disappears where the limit has room for all. A class's items are drawn from
    one seeded order, so a larger limit keeps what a smaller one kept wherever its share is larger.
    """
    groups = [(code, int(label)) for code in range(len(selection.splits)) for label in np.unique(selection.labels[selection.codes == code])]
    members = [np.flatnonzero((selection.codes == code) & (selection.labels == label)) for code, label in groups]
    codes = np.full_like(selection.codes, LEFT_OUT)
    for (code, label), group, share in zip(groups, members, apportion([len(group) for group in members], limit), strict=True):
        order = _generator(seed, _LIMIT, selection.splits[code], label).permutation(len(group))
        codes[group[order[:share]]] = code
    return replace(selection, codes=codes)


def holdout_split(source: str, splits: Sequence[str]) -> str:
    """Return the name of the split a holdout becomes: ``test`` for AffectNet, ``val`` for RAF-DB, the free one where that is taken.

    Raises:
        OptionError: If both names belong to official splits, or there is no train split to cut from.
    """
    if "train" not in splits:
        raise OptionError(f"holdout: the source holds {list(splits)}, expected a train split to cut from; leave --holdout out")
    for name in _HOLDOUT_NAMES.get(source, ("test", "val")):
        if name not in splits:
            return name
    raise OptionError(f"holdout: the source has splits {list(splits)} already, expected val or test to be free; leave --holdout out")


def cut_holdout(selection: Selection, fraction: float, seed: int, *, name: str) -> Selection:
    """Move a share of the train split to a new split, stratified by class; every class keeps at least one item in train."""
    train = selection.positions("train")
    labels = selection.labels[train]
    classes = np.unique(labels)
    members = [train[labels == label] for label in classes]
    shares = apportion([len(group) for group in members], round(len(train) * fraction), spare=1)
    codes = selection.codes.copy()
    for label, group, share in zip(classes, members, shares, strict=True):
        order = _generator(seed, _HOLDOUT, "train", int(label)).permutation(len(group))
        codes[group[order[:share]]] = len(selection.splits)
    return replace(selection, splits=(*selection.splits, name), codes=codes)


def leave_out(selection: Selection, positions: np.ndarray) -> Selection:
    """Leave the items at ``positions`` out."""
    codes = selection.codes.copy()
    codes[positions] = LEFT_OUT
    return replace(selection, codes=codes)


def choose_order(selection: Selection, split: str, seed: int) -> np.ndarray:
    """Return int64, the items of one split in the order they are stored: a seeded permutation of all of them."""
    positions = selection.positions(split)
    return positions[_generator(seed, _ORDER, split).permutation(len(positions))]


def num_shards(num_samples: int, sample_bytes: int) -> int:
    """Return how many shards of about equal size a split is cut into.

    At most ``SHARD_BYTES`` of tensors a shard; small splits are cut finer, down to ``SMALL_SHARD_BYTES``, so that there is work for
    ``MAX_SMALL_SHARDS`` workers. Depends on nothing else, so that every run cuts alike.
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
        plan += [ShardPlan(split=split, number=number, positions=order[cuts[number] : cuts[number + 1]]) for number in range(shards)]
    return plan


def _generator(seed: int, purpose: int, split: str, label: int = 0) -> np.random.Generator:
    # The purpose keeps the draws apart: the items a limit takes must not be the first ones of the order.
    return np.random.default_rng((seed, purpose, int.from_bytes(split.encode(), "little"), label))
