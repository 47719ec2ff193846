"""Weighted sampling: what each class's fraction of an epoch is, and which of its samples are drawn when.

In: weights per class, labels, seed and epoch. Out: fractions, and int64 arrays of sample indices. Pure; reads every
label.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ferdata.errors import OptionError
from ferdata.randomness import Stream
from ferdata.stream.order.mixed import apportion

__all__ = ["class_weights", "weighted_draws", "weights_of"]


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


def weights_of(weights: Sequence[float], labels: np.ndarray) -> tuple[float, ...]:
    """Return each class's fraction of the draws from one of several sets, which may lack some of the classes.

    All are 0 if it has none of those with a weight.
    """
    own = np.where(np.bincount(labels, minlength=len(weights)) > 0, weights, 0.0)
    return tuple((own / max(own.sum(), np.finfo(np.float64).tiny)).tolist())


def weighted_draws(
    base: np.ndarray,
    labels: np.ndarray,
    weights: tuple[float, ...],
    draws: int,
    *,
    seed: int,
    epoch: int,
    set_number: int = 0,
) -> np.ndarray:
    """Draw from each class in rounds over its own samples, and spread every class evenly over the epoch.

    A class keeps the order of the runs, so that what a window draws of it lies close together on the disk.

    Args:
        base: int64 ``[N]``, all samples in the epoch's order.
        labels: ``[N]``, the label of each sample by its index.
        weights: Fraction of the draws per class, summing to 1.
        draws: Samples to draw.
        seed: The run's seed.
        epoch: Counted from 0.
        set_number: Which of several sets they are of, so that no two draw alike.

    Returns:
        int64 ``[draws]``.
    """
    counts = apportion(weights, draws)
    picked, times = [], []
    base_labels = labels[base]
    for label, count in enumerate(counts.tolist()):
        if not count:
            continue
        own = base[base_labels == label]
        number = set_number * len(weights) + label
        rng = np.random.default_rng(Stream.WEIGHTED_DRAWS.seed(seed, epoch, number))
        rest = np.sort(rng.choice(len(own), count % len(own), replace=False))
        picked += [*[own] * (count // len(own)), own[rest]]
        offsets = np.random.default_rng(Stream.DRAW_TIMES.seed(seed, epoch, number)).random(count)
        times.append((np.arange(count) + offsets) / count)
    return np.concatenate(picked)[np.argsort(np.concatenate(times), kind="stable")]
