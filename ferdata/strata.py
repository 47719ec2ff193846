"""Proportional allocation to groups, and draws that keep class proportions. In: counts, labels, seed. Out: numbers."""

from collections.abc import Sequence

import numpy as np

__all__ = ["apportion", "draw_stratified"]


def apportion(counts: Sequence[int], total: int, *, spare: int = 0) -> list[int]:
    """Divide ``total`` among groups in proportion to their sizes.

    Every non-empty group gets at least one if ``total`` allows it; no group gets more than its count less ``spare``;
    the sum is ``total``, or less if the groups hold less. Ties go to the earlier group.

    Args:
        counts: Size of each group.
        total: How many to divide.
        spare: How many each group keeps.
    """
    caps = [max(0, count - spare) for count in counts]
    total = min(total, sum(caps))
    everything = sum(counts)
    if total <= 0:
        return [0] * len(counts)
    floor = 1 if total >= sum(cap > 0 for cap in caps) else 0
    shares = [
        min(cap, max(min(floor, cap), count * total // everything)) for cap, count in zip(caps, counts, strict=True)
    ]

    def owed(group: int) -> int:
        return counts[group] * total - shares[group] * everything

    while (missing := total - sum(shares)) > 0:
        open_groups = sorted(
            (group for group in range(len(counts)) if shares[group] < caps[group]),
            key=lambda group: (-owed(group), group),
        )
        for group in open_groups[:missing]:
            shares[group] += 1
    while sum(shares) > total:
        shares[
            min(
                (group for group in range(len(counts)) if shares[group] > floor), key=lambda group: (owed(group), group)
            )
        ] -= 1
    return shares


def draw_stratified(labels: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """Return the positions of ``count`` labels (or all), int64 ascending, in the classes' own proportions.

    A class's members are drawn from one seeded order, so a larger draw keeps a smaller one, unless a class gets fewer.

    Args:
        labels: int64 ``[N]``.
        count: How many to draw.
        seed: Numbers to mix; the class is mixed in after them.
    """
    classes = np.unique(labels)
    members = [np.flatnonzero(labels == label) for label in classes]
    drawn = [
        group[np.random.default_rng((*seed, int(label))).permutation(len(group))[:share]]
        for label, group, share in zip(
            classes, members, apportion([len(group) for group in members], count), strict=True
        )
    ]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
