"""Permutations of which any part can be computed alone, so that a rank pays only for its own part of an epoch.

In: sizes and a seed. Out: int64 arrays, the values at the positions asked for. Small permutations are drawn as a table;
large ones cost no memory (runs: some 50 bytes per shard) and a fraction of a microsecond per position that is asked
for.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ferdata.randomness import splitmix64

__all__ = ["IndexSequence", "Permutation", "RunPermutation", "shuffled"]

TABLE_POSITIONS = 1 << 20
"""Up to this many positions a table of 8 MB is drawn, uniform among all permutations. Beyond that, a Feistel network
whose round functions are keyed by the seed computes each position: a table would grow with the data set on every rank.
"""
TABLE_RUNS = 1 << 17
"""The same for runs, which take three numbers each."""
_ROUNDS = 6
_BLOCK_POSITIONS = 1 << 16
"""Positions computed at a time, so that temporary arrays stay in the processor's cache."""


class IndexSequence(Protocol):
    """Sample indices in some order, any part of which can be asked for."""

    count: int

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return those at ``[start, stop)``, int64."""


class Permutation:
    """A random order of ``0 ... count - 1``, a pure function of count and seed."""

    def __init__(self, count: int, seed: Sequence[int], *, table_positions: int | None = None) -> None:
        self.count = count
        rng = np.random.default_rng(seed)
        self._table = (
            rng.permutation(count)
            if count <= (TABLE_POSITIONS if table_positions is None else table_positions)
            else None
        )
        if self._table is None:
            bits = (count - 1).bit_length()
            self._half = np.uint64((bits + 1) // 2)
            self._mask = np.uint64((1 << (bits + 1) // 2) - 1)
            self._keys = rng.integers(0, 1 << 64, _ROUNDS, np.uint64)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the values at positions ``[start, stop)``, int64."""
        if self._table is not None:
            part: np.ndarray = self._table[start:stop]
            return part
        positions = np.empty(stop - start, np.int64)
        for first in range(0, len(positions), _BLOCK_POSITIONS):
            block = positions[first : first + _BLOCK_POSITIONS]
            block[:] = self._walk(np.arange(start + first, start + first + len(block), dtype=np.uint64))
        return positions

    def _walk(self, positions: np.ndarray) -> np.ndarray:
        """Map positions through the network until they are below the count: its domain is up to four times as large."""
        positions = self._network(positions)
        while len(outside := np.flatnonzero(positions >= np.uint64(self.count))):
            positions[outside] = self._network(positions[outside])
        return positions.astype(np.int64)

    def _network(self, positions: np.ndarray) -> np.ndarray:
        left, right = positions >> self._half, positions & self._mask
        for key in self._keys:
            mixed = splitmix64((right + key).view(np.int64)).view(np.uint64)
            left, right = right, left ^ (mixed & self._mask)
        return (left << self._half) | right


class RunPermutation:
    """All samples of a split, run by run, the runs in random order.

    A run is a number of neighbours in one shard; a shard's last run may be shorter. A large number of runs is not
    tabled: runs of full length follow a :class:`Permutation`, and the short ones, at most one per shard, are spread
    evenly between them, so that where a run begins is arithmetic.

    Args:
        shard_sizes: int64 ``[shards]``, samples per shard.
        run_samples: Samples per run.
        seed: Seed of the order.
    """

    def __init__(self, shard_sizes: np.ndarray, run_samples: int, seed: Sequence[int]) -> None:
        self.count = int(shard_sizes.sum())
        self._size = run_samples
        self._shard_starts = np.cumsum(shard_sizes) - shard_sizes
        self._full = shard_sizes // run_samples
        self._rest = shard_sizes - self._full * run_samples
        self._is_table = int(self._full.sum()) + int(np.count_nonzero(self._rest)) <= TABLE_RUNS
        if self._is_table:
            self._draw_table(seed)
        else:
            self._place_short_runs(seed)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the values at positions ``[start, stop)``, int64."""
        if start >= stop:
            return np.empty(0, np.int64)
        first, before = self._run_at(start)
        last, _ = self._run_at(stop - 1)
        starts, lengths = self._runs(first, last + 1)
        ends = np.cumsum(lengths)
        samples: np.ndarray = np.arange(int(ends[-1])) + np.repeat(starts - (ends - lengths), lengths)
        return samples[start - before : stop - before]

    def _run_at(self, position: int) -> tuple[int, int]:
        """Return the run that covers a position, and the position it begins at."""
        if self._is_table:
            run = int(np.searchsorted(self._ends, position, side="right"))
            return run, int(self._ends[run] - self._lengths[run])
        number = int(
            np.searchsorted(self._short_positions, position, side="right")
        )  # short runs that begin at or before it
        if number and position < self._short_positions[number - 1] + self._short_lengths[number - 1]:
            return int(self._short_runs[number - 1]), int(self._short_positions[number - 1])
        before = int(self._short_ends[number])
        full = (position - before) // self._size
        return full + number, full * self._size + before

    def _runs(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first sample and the length of the runs ``[first, stop)``."""
        if self._is_table:
            return self._starts[first:stop], self._lengths[first:stop]
        runs = np.arange(first, stop)
        starts, lengths = np.empty(len(runs), np.int64), np.full(len(runs), self._size)
        short = slice(*np.searchsorted(self._short_runs, (first, stop)).tolist())
        is_full = np.ones(len(runs), bool)
        is_full[self._short_runs[short] - first] = False
        shards = self._short_shards[short]
        starts[~is_full] = self._shard_starts[shards] + self._full[shards] * self._size
        lengths[~is_full] = self._short_lengths[short]
        number = self._permutation.part(first - short.start, stop - short.stop)
        shards = np.searchsorted(self._full_ends, number, side="right")
        starts[is_full] = (
            self._shard_starts[shards] + (number - self._full_ends[shards] + self._full[shards]) * self._size
        )
        return starts, lengths

    def _draw_table(self, seed: Sequence[int]) -> None:
        counts = self._full + (self._rest > 0)
        shard = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(shard)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = np.random.default_rng(seed).permutation(len(shard))
        self._starts = (self._shard_starts[shard] + number * self._size)[order]
        self._lengths = np.where(number < self._full[shard], self._size, self._rest[shard])[order]
        self._ends = np.cumsum(self._lengths)

    def _place_short_runs(self, seed: Sequence[int]) -> None:
        self._permutation = Permutation(int(self._full.sum()), seed, table_positions=TABLE_RUNS)
        self._full_ends = np.cumsum(self._full)
        rng = np.random.default_rng((*seed, self.count))
        self._short_shards = rng.permutation(np.flatnonzero(self._rest))
        self._short_lengths = self._rest[self._short_shards]
        self._short_ends = np.concatenate(([0], np.cumsum(self._short_lengths)))
        number = np.arange(len(self._short_shards) + 1)
        # One in each of as many equal parts of the epoch as there are short runs.
        bounds = number * (self._permutation.count + len(self._short_shards)) // max(1, len(self._short_shards))
        self._short_runs = rng.integers(bounds[:-1], bounds[1:])
        self._short_positions = (self._short_runs - number[:-1]) * self._size + self._short_ends[:-1]


def shuffled(shard_sizes: np.ndarray, shuffle: str, run_samples: int, seed: Sequence[int]) -> IndexSequence:
    """Return the samples of some shards in the order of shuffle ``full``, or run by run."""
    if shuffle == "full":
        return Permutation(int(shard_sizes.sum()), seed)
    return RunPermutation(shard_sizes, run_samples, seed)
