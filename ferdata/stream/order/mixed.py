"""Several sets in one order: how many samples of each an epoch has, and how they follow each other.

In: sizes, weights, a sequence of each set's samples. Out: counts, and int64 arrays of sample indices. Pure; any part
of an epoch can be computed alone.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ferdata.errors import OptionError
from ferdata.stream.order.permutation import IndexSequence

__all__ = ["MOST_DRAWS", "Interleaved", "Passes", "apportion", "epoch_counts"]

MOST_DRAWS = 1 << 31
"""Samples of an epoch of a mix: a place among them times their number is computed in 64 bits."""


def apportion(fractions: Sequence[float], total: int) -> np.ndarray:
    """Return whole numbers, int64 ``[n]``, of a sum and as close to its fractions, which sum to 1, as can be."""
    exact = np.round(np.array(fractions) * total, 6)  # 0.29 * 100 is 28.999... and means 29
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]] += 1
    return counts


def epoch_counts(mix: str, sizes: Sequence[int], weights: Sequence[float], draws: int | None) -> tuple[int, ...]:
    """Return how many samples of each set an epoch has.

    Args:
        mix: ``weights``: ``draws`` samples in all; ``smallest`` or ``largest``: until the set that ends first or last
            was gone through once.
        sizes: Samples of each set, at least 1.
        weights: Of each set, above 0.
        draws: For ``weights``: samples in all; None for as many as the sets have together.

    Raises:
        OptionError: If they are more than an epoch may have.
    """
    fractions = np.array(weights, np.float64) / np.sum(weights)
    if mix == "weights":
        return tuple(apportion(fractions.tolist(), int(np.sum(sizes)) if draws is None else draws).tolist())
    lasts = np.array(sizes) / fractions
    ending = int(np.argmin(lasts) if mix == "smallest" else np.argmax(lasts))
    exact = np.round(sizes[ending] * (fractions / fractions[ending]), 6)
    if not exact.sum() <= MOST_DRAWS:
        raise OptionError(
            f"mix: {mix} with weights {list(weights)} makes an epoch of {exact.sum():,.0f} samples, expected at most "
            f"{MOST_DRAWS:,}; give weights that are less apart, or use mix weights"
        )
    counts = np.floor(exact) if mix == "smallest" else np.ceil(exact)
    return tuple(counts.astype(np.int64).tolist())


class Passes:
    """Samples of one set, gone through again and again, each time in an order of its own.

    An epoch begins where the one before it ended: no sample comes once more before all others have come as often.

    Args:
        order: Returns the set's samples in the order of a pass, counted from 0.
        size: Samples of the set.
        count: Samples of an epoch.
        epoch: The epoch.
    """

    def __init__(self, order: Callable[[int], IndexSequence], *, size: int, count: int, epoch: int) -> None:
        self.count = count
        self._order = lru_cache(2)(order)
        self._size, self._start = size, epoch * count

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the samples at ``[start, stop)`` of the epoch, int64."""
        parts = [np.empty(0, np.int64)]
        place, last = self._start + start, self._start + stop
        while place < last:
            number, first = divmod(place, self._size)
            end = min(self._size, first + last - place)
            parts.append(self._order(number).part(first, end))
            place += end - first
        return np.concatenate(parts)


class Interleaved:
    """The sequences of several sets as one: each set comes as evenly as can be.

    In any stretch of ``n`` samples, a set of ``c`` of all ``t`` samples has ``n * c / t`` of them, to less than 1 if
    there are two sets, and to less than the number of sets if there are more.

    Args:
        sets: A sequence of each set's own samples.
        starts: The index of each set's first sample among all.
    """

    def __init__(self, sets: Sequence[IndexSequence], starts: Sequence[int]) -> None:
        self._sets = [(each, start) for each, start in zip(sets, starts, strict=True) if each.count]
        self.count = sum(each.count for each in sets)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the samples at ``[start, stop)``, int64."""
        samples = np.empty(max(0, stop - start), np.int64)
        rows, left = np.arange(len(samples)), self.count
        for each, first in self._sets:
            # of the places that the sets before it left, and of those before them
            taken = np.arange(start, stop + 1) * each.count // left
            begin, end = int(taken[0]), int(taken[-1])
            is_own = np.diff(taken) > 0
            samples[rows[is_own]] = each.part(begin, end) + first
            rows = rows[~is_own]
            start, stop, left = start - begin, stop - end, left - each.count
        return samples
