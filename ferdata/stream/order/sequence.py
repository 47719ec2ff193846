"""Which sample stands where in an epoch: pure arithmetic of (samples, seed, epoch), the same in every process.

In: shard sizes, where classes are, options. Out: int64 arrays of sample indices. Each rank computes only its own part,
window by window, on demand. A sample's index is its row in reading order within its split.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from ferdata.errors import OptionError
from ferdata.randomness import Stream
from ferdata.stream.order.mixed import Interleaved, Passes
from ferdata.stream.order.permutation import IndexSequence, shuffled
from ferdata.stream.order.places import ClassPlaces
from ferdata.stream.order.weights import WeightedDraws, weights_of

__all__ = [
    "PADDING",
    "OrderOptions",
    "Phase",
    "RankOrder",
    "epoch_sequence",
    "order_options",
    "rank_batches",
    "rank_order",
    "remaining_samples",
    "check_whole_number",
    "default_window",
    "run_within",
]

RUN_BYTES = 8 << 20
"""Neighbouring samples of at most this size, as stored, are read together: a request costs little beside 8 MiB."""
RUNS_PER_WINDOW = 32
"""A window mixes at least this many runs: with half as many, those of a batch would meet again three times as often."""
LEAST_WINDOW_SAMPLES, MOST_WINDOW_SAMPLES = 2048, 16384
"""A window has room for its runs within these bounds."""

PADDING = -1
"""The index of a row that only fills a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOptions:
    """Everything that determines the order, except the epoch and the rank.

    Attributes:
        shuffle: ``window`` permutes runs over the whole split and mixes the samples of each window; ``full`` is an
            exact permutation of all samples; ``none`` keeps reading order.
        seed: The run's seed.
        batch_size: Samples per batch on one rank.
        window_samples: Samples that are mixed together, a multiple of ``batch_size``.
        run_samples: Neighbouring samples that are read together and stay in one window (or two, at its edge).
        weights: Fraction of the draws per class, summing to 1; None draws every sample exactly once.
        draws: Samples per epoch if ``weights`` are given; None: as many as the split has.
        drop_last: Leave out what does not fill a batch on every rank; otherwise the last batches are short or padded.
        set_draws: Samples per epoch of each of several sets; None draws every sample of every set exactly once.
    """

    shuffle: str = "window"
    seed: int = 0
    batch_size: int = 128
    window_samples: int = 2048
    run_samples: int = 32
    weights: tuple[float, ...] | None = None
    draws: int | None = None
    drop_last: bool = True
    set_draws: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.shuffle not in ("window", "full", "none"):
            raise OptionError(f"shuffle: {self.shuffle!r} found, expected window, full or none")
        if self.batch_size < 1 or self.run_samples < 1:
            raise OptionError(f"batch_size {self.batch_size}, run_samples {self.run_samples}: expected at least 1")
        if self.window_samples < 1 or self.window_samples % self.batch_size:
            raise OptionError(
                f"window_samples: {self.window_samples} found, expected a multiple of batch_size {self.batch_size}"
            )
        if self.seed < 0:
            raise OptionError(f"seed: {self.seed} found, expected 0 or more")
        if self.weights is not None and self.shuffle == "none":
            raise OptionError("weights: weighted draws have no reading order; use shuffle window or full")
        if self.set_draws is not None and self.shuffle == "none":
            raise OptionError(
                "mix: sets mixed by weights have no reading order; use shuffle window or full, or mix concat"
            )
        if self.draws is not None and self.weights is None:
            raise OptionError(
                f"draws: {self.draws} found, but every sample is drawn once under uniform sampling; set sampling or "
                "leave it out"
            )
        if self.draws is not None and self.draws < 1:
            raise OptionError(f"draws: {self.draws} found, expected at least 1")


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of an epoch that was consumed on some number of ranks before that number changed."""

    world_size: int
    consumed: int


def order_options(
    *,
    shuffle: str | bool,
    seed: int,
    batch_size: int,
    weights: tuple[float, ...] | None,
    draws: int | None,
    drop_last: bool | None,
    window_samples: int | None,
    max_window_batches: int,
    stored_bytes: int,
    set_draws: tuple[int, ...] | None = None,
) -> OrderOptions:
    """Turn a loader's arguments into the order's options, the same on every machine: states can be loaded anywhere.

    ``stored_bytes`` are those that a sample takes in its shard, on average.
    """
    if isinstance(shuffle, bool):
        shuffle = "window" if shuffle else "none"
    wanted = default_window(stored_bytes) if window_samples is None else window_samples
    if wanted < 1:
        raise OptionError(f"window_samples: {wanted} found, expected at least 1")
    window = batch_size * max(1, min(wanted // batch_size, max_window_batches))
    return OrderOptions(
        shuffle=shuffle,
        seed=seed,
        batch_size=batch_size,
        window_samples=window,
        run_samples=run_within(window, stored_bytes),
        weights=weights,
        draws=draws,
        drop_last=shuffle != "none" if drop_last is None else drop_last,
        set_draws=set_draws,
    )


def default_window(stored_bytes: int) -> int:
    """Return how many samples of so many bytes, as stored, are mixed together."""
    return max(LEAST_WINDOW_SAMPLES, min(RUNS_PER_WINDOW * (RUN_BYTES // stored_bytes), MOST_WINDOW_SAMPLES))


def run_within(window_samples: int, stored_bytes: int) -> int:
    """Return how many neighbours are read together for a window."""
    return max(1, min(RUN_BYTES // stored_bytes, window_samples // RUNS_PER_WINDOW))


def check_whole_number(name: str, value: int) -> int:
    """Return an option that must be a whole number, NumPy's included, as Python's own.

    Raises:
        OptionError: If it is something else.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise OptionError(f"{name}: {value!r} found, expected a whole number") from None


class RankOrder:
    """What one rank reads in one epoch, in order: an array that is computed as it is sliced, one window at a time.

    Whole windows of the sequence are assigned in rounds, one to each rank. What is left is cut into one smaller window
    per rank, all of the same size: whole batches only with ``drop_last``,
    otherwise as many samples on each rank, to one, and one row of padding where it is one less.
    """

    def __init__(
        self, sequence: IndexSequence, options: OrderOptions, *, epoch: int, phase: int, rank: int, world_size: int
    ) -> None:
        self._sequence, self._options = sequence, options
        self._seed = (options.seed, epoch, phase)
        self._rank, self._world_size = rank, world_size
        self._rounds, self._last = _cut(sequence.count, options, world_size)
        self._bounds = _last_bounds(sequence.count, options, world_size)
        self._mixed: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self._rounds * self._options.window_samples + self._last

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return int64 ``[n]``; -1 is padding."""
        start, stop, _ = rows.indices(len(self))
        samples = np.empty(max(0, stop - start), np.int64)
        done = 0
        while done < len(samples):
            round_, offset = divmod(start + done, self._options.window_samples)
            part = self._window(round_)[offset : offset + len(samples) - done]
            samples[done : done + len(part)] = part
            done += len(part)
        return samples

    def _window(self, round_: int) -> np.ndarray:
        if self._mixed[0] != round_:
            number, window = round_ * self._world_size + self._rank, self._options.window_samples
            start, rows = number * window, window
            stop = start + rows
            if round_ == self._rounds:
                start, rows = self._rounds * self._world_size * window, self._last
                start, stop = (start + int(self._bounds[place]) for place in (self._rank, self._rank + 1))
            samples = self._sequence.part(start, stop)
            if self._options.shuffle == "window":
                samples = np.random.default_rng(Stream.WINDOWS.seed(*self._seed, number)).permutation(samples)
            self._mixed = round_, np.concatenate((samples, np.full(rows - len(samples), PADDING, np.int64)))
        return self._mixed[1]


def rank_order(
    shard_sizes: np.ndarray,
    options: OrderOptions,
    *,
    epoch: int,
    rank: int,
    world_size: int,
    phases: Sequence[Phase] = (),
    set_shards: Sequence[int] = (),
    places: Sequence[ClassPlaces] = (),
) -> RankOrder:
    """Return what one rank reads in one epoch, in order.

    Args:
        shard_sizes: int64 ``[shards]``, samples per shard of the split.
        options: The order's options.
        epoch: Counted from 0.
        rank: The rank that asks, ``0 <= rank < world_size``.
        world_size: Number of ranks.
        phases: What was consumed of this epoch on other numbers of ranks, oldest first.
        set_shards: Shards of each set, where sets are mixed by weights.
        places: For weighted draws: where the classes of the split are; of each set, where sets are mixed by weights.

    Returns:
        Slices to int64 ``[n]``, of the same length on every rank; -1 is padding.
    """
    if not 0 <= rank < world_size:
        raise OptionError(f"rank {rank} of {world_size}: expected 0 <= rank < world_size")
    sequence = _sequence(shard_sizes, options, epoch, set_shards, places)
    for number, phase in enumerate(phases):
        sequence = _Remaining(sequence, options, epoch, number, phase)
    return RankOrder(sequence, options, epoch=epoch, phase=len(phases), rank=rank, world_size=world_size)


def epoch_sequence(
    shard_sizes: np.ndarray,
    options: OrderOptions,
    epoch: int,
    set_shards: Sequence[int] = (),
    places: Sequence[ClassPlaces] = (),
) -> np.ndarray:
    """Return the samples of one epoch in order, before windows are mixed and assigned to ranks.

    Returns:
        int64 ``[N]``, every sample index once; or ``[draws]`` for weighted draws, where each of a
        class's ``n`` samples comes ``d // n`` or ``d // n + 1`` times if the class gets ``d`` draws.
    """
    sequence = _sequence(shard_sizes, options, epoch, set_shards, places)
    return sequence.part(0, sequence.count)


def rank_batches(total: int, options: OrderOptions, *, world_size: int) -> int:
    """Return the number of batches every rank gets from a sequence of ``total`` samples."""
    rounds, last = _cut(total, options, world_size)
    return -(-(rounds * options.window_samples + last) // options.batch_size)


def remaining_samples(total: int, options: OrderOptions, phases: Sequence[Phase]) -> int:
    """Return how many of ``total`` samples of an epoch are left after ``phases``; consumed padding does not count."""
    for phase in phases:
        total -= int(np.minimum(_samples_of_ranks(total, options, phase.world_size), phase.consumed).sum())
    return total


def _cut(total: int, options: OrderOptions, world_size: int) -> tuple[int, int]:
    """Return how many of ``total`` samples' whole windows each rank gets, and the rows of its last, smaller one."""
    rounds, left = divmod(total, options.window_samples * world_size)
    return rounds, left // (options.batch_size * world_size) * options.batch_size if options.drop_last else -(
        -left // world_size
    )


def _samples_of_ranks(total: int, options: OrderOptions, world_size: int) -> np.ndarray:
    """Return how many rows of each rank are not padding, int64 ``[world_size]``."""
    rounds, _ = _cut(total, options, world_size)
    samples: np.ndarray = rounds * options.window_samples + np.diff(_last_bounds(total, options, world_size))
    return samples


def _last_bounds(total: int, options: OrderOptions, world_size: int) -> np.ndarray:
    """Return where the last window of each rank begins among what whole windows leave, int64 ``[world_size + 1]``."""
    rounds, last = _cut(total, options, world_size)
    used = min(total - rounds * options.window_samples * world_size, last * world_size)
    return np.arange(world_size + 1) * used // world_size


class _Remaining:
    """What an earlier phase left unread: the rest of its ranks' orders, then what it would have dropped."""

    def __init__(self, sequence: IndexSequence, options: OrderOptions, epoch: int, number: int, phase: Phase) -> None:
        self._sequence = sequence
        self._consumed = phase.consumed
        self._order = lru_cache(1)(
            lambda rank: RankOrder(sequence, options, epoch=epoch, phase=number, rank=rank, world_size=phase.world_size)
        )
        assigned = _samples_of_ranks(sequence.count, options, phase.world_size)
        self._unread = np.maximum(assigned - phase.consumed, 0)
        self._ends = np.cumsum(self._unread)
        self._assigned = int(assigned.sum())
        self.count = int(self._ends[-1]) + sequence.count - self._assigned

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the samples at ``[start, stop)``, int64."""
        parts = [np.empty(0, np.int64)]
        while start < stop:
            rank = int(np.searchsorted(self._ends, start, side="right"))
            if rank == len(self._ends):
                skipped = self._assigned - int(self._ends[-1])
                parts.append(self._sequence.part(start + skipped, stop + skipped))
                break
            end = min(stop, int(self._ends[rank]))
            skipped = self._consumed - int(self._ends[rank] - self._unread[rank])
            parts.append(self._order(rank)[start + skipped : end + skipped])
            start = end
        return np.concatenate(parts)


class _InReadingOrder:
    """Every sample in reading order."""

    def __init__(self, count: int) -> None:
        self.count = count

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the samples at ``[start, stop)``, int64."""
        return np.arange(start, stop)


def _sequence(
    shard_sizes: np.ndarray,
    options: OrderOptions,
    epoch: int,
    set_shards: Sequence[int],
    places: Sequence[ClassPlaces],
) -> IndexSequence:
    if options.set_draws is not None:
        return _mixed(shard_sizes, options, epoch, set_shards, places)
    if options.shuffle == "none":
        return _InReadingOrder(int(shard_sizes.sum()))
    if options.weights is None:
        seed = Stream.RUNS.seed(options.seed, epoch)
        return shuffled(shard_sizes, options.shuffle, options.run_samples, seed)
    draws = int(shard_sizes.sum()) if options.draws is None else options.draws
    return _weighted(places[0], options, options.weights, draws, epoch)


def _weighted(
    places: ClassPlaces, options: OrderOptions, weights: Sequence[float], draws: int, epoch: int, set_number: int = 0
) -> IndexSequence:
    return WeightedDraws(
        places,
        weights,
        draws,
        shuffle=options.shuffle,
        run_samples=options.run_samples,
        seed=options.seed,
        epoch=epoch,
        set_number=set_number,
    )


def _mixed(
    shard_sizes: np.ndarray,
    options: OrderOptions,
    epoch: int,
    set_shards: Sequence[int],
    places: Sequence[ClassPlaces],
) -> IndexSequence:
    """Return sets by what each has of an epoch, each in its own order, or drawn by class weights within itself."""
    assert options.set_draws is not None
    sets: list[IndexSequence] = []
    parts = np.split(shard_sizes, np.cumsum(set_shards)[:-1])
    for number, (sizes, count) in enumerate(zip(parts, options.set_draws, strict=True)):
        if options.weights is None:
            passes = partial(_pass, sizes, options, number)
            sets.append(Passes(passes, size=int(sizes.sum()), count=count, epoch=epoch))
        else:
            weights = weights_of(options.weights, places[number].counts)
            sets.append(_weighted(places[number], options, weights, count, epoch, number))
    ends = np.cumsum([0, *(int(sizes.sum()) for sizes in parts)])
    return Interleaved(sets, ends[:-1].tolist())


def _pass(shard_sizes: np.ndarray, options: OrderOptions, number: int, pass_: int) -> IndexSequence:
    seed = Stream.PASSES.seed(options.seed, pass_, number)
    return shuffled(shard_sizes, options.shuffle, options.run_samples, seed)
