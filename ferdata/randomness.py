"""Every random stream there is, so that no two are the same by accident; and the function that mixes bits.

In: seeds, epochs and the like. Out: seeds for NumPy's generators, and mixed numbers. Pure.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

import numpy as np

__all__ = ["GOLDEN_RATIO", "Stream", "first_bits", "shift_right", "splitmix64"]

IntsT = TypeVar("IntsT")

GOLDEN_RATIO = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)
"""Constants of SplitMix64 (Steele, Lea and Flood 2014) as signed numbers: torch has no arithmetic on unsigned ones."""


class Stream(Enum):
    """What is drawn at random, and what is mixed into its seed, in this order; the number that stands in it is its own.

    Orders, splits and masks follow from these numbers: none may change. Streams that share
    numbers (``DROPOUT`` and the times of class 0) are drawn from by different generators.
    """

    SHARD_LIMIT = "seed, 1, split, class"
    SPLITS = "seed, 2, split, class"
    FOLDS = "seed, 4"
    SHARD_ORDER = "seed, 3, split, class"
    RUNS = "seed, epoch, 1"
    WINDOWS = "seed, epoch, 2, phase, window"
    WEIGHTED_DRAWS = "seed, epoch, 3, class"
    DRAW_TIMES = "seed, epoch, 4, class"
    FLIPS = "seed, epoch, rank, 1"
    CROPS = "seed, epoch, rank, 2"
    COLOURS = "seed, epoch, rank, 3"
    PER_SAMPLE = "seed, epoch, rank, 7"
    PASSES = "seed, pass, 8, set"
    DROPOUT = "seed, epoch, 4"
    TRAINING_STEPS = "seed, 5, step, rank"
    TRAINING_LIMIT = "seed, 6"

    @property
    def number(self) -> int:
        """The stream's own number."""
        return next(int(word) for word in self.value.split(", ") if word.isdecimal())

    def seed(self, *values: int) -> tuple[int, ...]:
        """Return the numbers that seed the stream, given those that it has names for."""
        rest = iter(values)
        return tuple(int(word) if word.isdecimal() else next(rest) for word in self.value.split(", "))


def first_bits(seed: Sequence[int]) -> np.ndarray:
    """Return int64 ``[1]``, where the counters of a stream without a state begin."""
    return np.random.SeedSequence(seed).generate_state(1, np.uint64).view(np.int64)


def splitmix64(values: IntsT) -> IntsT:
    """Mix int64 numbers, NumPy's or torch's, in place, as if unsigned; each by itself, so any can be drawn alone."""
    mixed: Any = values
    mixed ^= shift_right(mixed, 30)
    mixed *= _FIRST
    mixed ^= shift_right(mixed, 27)
    mixed *= _SECOND
    mixed ^= shift_right(mixed, 31)
    return values


def shift_right(values: IntsT, count: int) -> IntsT:
    """Shift int64 numbers as unsigned ones: the libraries' own shift repeats the sign."""
    numbers: Any = values
    if isinstance(numbers, np.ndarray):
        return (numbers.view(np.uint64) >> np.uint64(count)).view(np.int64)  # type: ignore[return-value]
    return (numbers >> count) & ((1 << (64 - count)) - 1)  # type: ignore[no-any-return]
