"""How many images of which class a synthetic tree holds, split by split, and under which numbers.

In: a count and a seed. Out: arrays of labels and numbers, a pure function of both. Costs about 0.1 µs an image.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ferdata.errors import OptionError

__all__ = ["SplitPlan", "plan_splits", "portrait_seed", "share_out"]

_FEWEST = 4
"""Images every class gets in every split as long as there are enough in all."""

_ROWS_KEPT = 287_651 / 414_800
"""Share of the rows of AffectNet's 2017 list that are still in its 2021 release; the other ids are gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """One split of a tree.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        labels: int64 ``[n]``, position of each image's class in the release's own table of classes.
        numbers: int64 ``[n]``, rising: the number each image is called by, unique in its split.
    """

    name: str
    labels: np.ndarray
    numbers: np.ndarray


def plan_splits(
    totals: Mapping[str, Sequence[int]], count: int, *, seed: int, gaps: bool, first_number: int
) -> list[SplitPlan]:
    """Return the splits of a smaller copy of a release, in the order of ``totals``.

    Classes keep their shares within a split. Each split after the first takes its share of the release, but a tenth at
    least (more if classes would be missing), as long as that is no more than the release itself has there. So the
    release's own total as ``count`` gives the release's own counts.

    Args:
        totals: Split -> images per class in the release; the first split is the largest.
        count: Images in all, at least 1.
        seed: Decides the order of the classes and the gaps.
        gaps: True leaves out numbers as AffectNet's 2021 release does.
        first_number: Number of the first image of each split.

    Raises:
        OptionError: If ``count`` is below 1.
    """
    if count < 1:
        raise OptionError(f"count: {count} found, expected at least 1")
    whole = sum(map(sum, totals.values()))
    main, *others = totals
    images = {name: _held_out(count, totals[name], whole) for name in others}
    images[main] = count - sum(images.values())
    plans = []
    for position, (name, weights) in enumerate(totals.items()):
        rng = np.random.default_rng((seed, position, count))
        # The release itself may have a class less often than a smaller copy should show it.
        shares = share_out(images[name], weights, fewest=_FEWEST if images[name] < sum(weights) else 0)
        labels = rng.permutation(np.repeat(np.arange(len(weights)), shares))
        plans.append(SplitPlan(name=name, labels=labels, numbers=first_number + _numbers(images[name], gaps, rng)))
    return plans


def _held_out(count: int, totals: Sequence[int], whole: int) -> int:
    share = round(count * sum(totals) / whole)
    few = len(totals) * min(_FEWEST, count // (4 * len(totals)))
    return min(max(share, count // 10, few), max(share, sum(totals)))


def share_out(count: int, weights: Sequence[int], *, fewest: int) -> list[int]:
    """Divide ``count`` by ``weights``, whole numbers that add up exactly (largest remainders first).

    Every share but that of a weight of 0 is at least ``fewest``, or as near to it as ``count`` allows.
    """
    wanted = np.array(weights) > 0
    floor = min(fewest, count // len(weights))
    exact = np.array(weights, float) * (count / sum(weights))
    # A share below the floor is raised to it; the others pay in proportion, which can push more of them below.
    low = wanted & (exact < floor)
    while True:
        rest = count - floor * int(low.sum())
        exact = np.where(low, floor, np.array(weights, float) * (rest / max(1, sum(np.array(weights)[~low]))))
        if not (wanted & ~low & (exact < floor)).any():
            break
        low |= wanted & (exact < floor)
    shares = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(shares - exact, kind="stable")
    shares[order[: count - int(shares.sum())]] += 1
    return [int(share) for share in shares]


def _numbers(count: int, gaps: bool, rng: np.random.Generator) -> np.ndarray:
    """Rising numbers from 0, with AffectNet's density if there are gaps."""
    if not gaps or count == 0:
        return np.arange(count)
    rest = rng.choice(np.arange(1, max(count, int(count / _ROWS_KEPT))), count - 1, replace=False)
    return np.concatenate([[0], np.sort(rest)])


def portrait_seed(source: str, split: str, number: int, seed: int) -> int:
    """Return the seed of one image's portrait: different for every image of every tree."""
    name = f"{source}/{split}/{number}/{seed}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
