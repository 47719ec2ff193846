"""Weighted sampling: what each class's fraction of an epoch is, and which of its samples are drawn when.

In: weights per class, labels, seed and epoch. Out: fractions, and int64 arrays of sample indices. Pure; reads every
label.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ferdata.errors import OptionError
from ferdata.randomness import Stream

__all__ = ["class_weights", "weighted_draws"]


def class_weights(
    sampling: str | Mapping[str, float], classes: Sequence[str], labels: np.ndarray
) -> tuple[float, ...] | None:
    """Return each class's fraction of the draws, or None for uniform sampling.

    Args:
        sampling: ``uniform``, ``balanced`` (every class that has samples is drawn equally often), or class name ->
            weight.
        classes: Class names.
        labels: int64 ``[N]``, the labels of the split.

    Raises:
        OptionError: If a name is unknown, a weight is negative, or a class without samples has a weight.
    """
    counts = np.bincount(labels, minlength=len(classes))
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


def weighted_draws(
    base: np.ndarray, labels: np.ndarray, weights: tuple[float, ...], draws: int, *, seed: int, epoch: int
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

    Returns:
        int64 ``[draws]``.
    """
    exact = np.round(np.array(weights) * draws, 6)  # 0.29 * 100 is 28.999... and means 29
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: draws - int(counts.sum())]] += 1
    picked, times = [], []
    base_labels = labels[base]
    for label, count in enumerate(counts.tolist()):
        if not count:
            continue
        own = base[base_labels == label]
        rng = np.random.default_rng(Stream.WEIGHTED_DRAWS.seed(seed, epoch, label))
        rest = np.sort(rng.choice(len(own), count % len(own), replace=False))
        picked += [*[own] * (count // len(own)), own[rest]]
        offsets = np.random.default_rng(Stream.DRAW_TIMES.seed(seed, epoch, label)).random(count)
        times.append((np.arange(count) + offsets) / count)
    return np.concatenate(picked)[np.argsort(np.concatenate(times), kind="stable")]
