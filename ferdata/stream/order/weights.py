"""Weighted sampling: what each class's fraction of an epoch is, and which of its samples are drawn when.

In: weights per class, where its samples are, seed and epoch. Out: fractions, and int64 arrays of sample indices. Pure;
any part of an epoch can be computed alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ferdata.errors import OptionError
from ferdata.randomness import Stream
from ferdata.stream.order.mixed import Passes, apportion
from ferdata.stream.order.permutation import IndexSequence, shuffled
from ferdata.stream.order.places import ClassPlaces

__all__ = ["WeightedDraws", "class_weights", "weights_of"]


def class_weights(
    sampling: str | Mapping[str, float], classes: Sequence[str], counts: np.ndarray
) -> tuple[float, ...] | None:
    """Return each class's fraction of the draws, or None for uniform sampling.

    Args:
        sampling: ``uniform``, ``balanced`` (every class that has samples is drawn equally often), or class name ->
            weight.
        classes: Class names.
        counts: int64 ``[classes]``, samples of each.

    Raises:
        OptionError: If a name is unknown, a weight is negative, or a class without samples has a weight.
    """
    if sampling == "uniform":
        return None
    if sampling == "balanced":
        weights = (counts > 0).astype(np.float64)
    elif isinstance(sampling, str):
        raise OptionError(f"sampling: {sampling!r} found, expected uniform, balanced or a weight per class name")
    else:
        unknown = sorted(set(sampling) - set(classes))
        if unknown:
            raise OptionError(f"sampling: classes {unknown} found, expected names out of {list(classes)}")
        weights = np.array([float(sampling.get(name, 0.0)) for name in classes])
        empty = [
            name for name, weight, count in zip(classes, weights, counts, strict=True) if weight > 0 and count == 0
        ]
        if (weights < 0).any() or not 0 < weights.sum() < np.inf or empty:
            raise OptionError(
                f"sampling: weights {dict(sampling)} found, expected none below 0, one above 0, none on classes "
                f"without samples {empty}"
            )
    return tuple((weights / weights.sum()).tolist())


def weights_of(weights: Sequence[float], counts: np.ndarray) -> tuple[float, ...]:
    """Return each class's fraction of the draws from one of several sets, which may lack some of the classes.

    All are 0 if it has none of those with a weight.
    """
    own = np.where(counts > 0, weights, 0.0)
    return tuple((own / max(own.sum(), np.finfo(np.float64).tiny)).tolist())


class WeightedDraws:
    """Draws from each class in rounds over its own samples, and spreads every class evenly over the epoch.

    Any part can be computed alone: the k-th of a class's n draws comes at a random time between k / n and (k + 1) / n
    of the epoch, so that a part has draws that are known but for one a class, and which sample each is follows from k.

    Args:
        places: Where the samples of each class are.
        weights: Fraction of the draws per class, summing to 1.
        draws: Samples to draw.
        shuffle: ``window`` or ``full``, the order in which each round takes a class.
        run_samples: Neighbours of all classes that are read together; a class keeps together what it has of them.
        seed: The run's seed.
        epoch: Counted from 0.
        set_number: Which of several sets they are of, so that no two draw alike.
    """

    def __init__(
        self,
        places: ClassPlaces,
        weights: Sequence[float],
        draws: int,
        *,
        shuffle: str,
        run_samples: int,
        seed: int,
        epoch: int,
        set_number: int = 0,
    ) -> None:
        self.count, self._places = draws, places
        self._classes: list[tuple[int, Passes, Sequence[int]]] = []
        sizes = places.counts.tolist()
        for label, count in enumerate(apportion(weights, draws).tolist()):
            if count:
                number, run = set_number * len(weights) + label, max(1, run_samples * sizes[label] // sum(sizes))
                order_seed = Stream.WEIGHTED_DRAWS.seed(seed, epoch, number)
                order = shuffled(places.counts[[label]], shuffle, run, order_seed)
                rounds = Passes(partial(_in_each_round, order), size=sizes[label], count=count, epoch=0)
                self._classes.append((label, rounds, Stream.DRAW_TIMES.seed(seed, epoch, number)))

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the samples at ``[start, stop)``, int64."""
        samples, times, skipped, spare = [np.empty(0, np.int64)], [np.empty(0)], 0, len(self._classes) + 1
        for label, rounds, seed in self._classes:
            first = max(0, (start - spare) * rounds.count // self.count)
            last = min(rounds.count, -(-(stop + spare) * rounds.count // self.count))
            generator = np.random.Generator(np.random.PCG64(seed).advance(first))
            times.append((np.arange(first, last) + generator.random(last - first)) / rounds.count)
            samples.append(self._places.find(label, rounds.part(first, last)))
            skipped += first
        chosen = np.argsort(np.concatenate(times), kind="stable")[start - skipped : stop - skipped]
        part: np.ndarray = np.concatenate(samples)[chosen]
        return part


def _in_each_round(order: IndexSequence, _: int) -> IndexSequence:
    return order
