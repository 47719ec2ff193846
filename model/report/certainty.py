"""How far figures can be trusted: intervals of what a split's size leaves open, and whether probabilities are honest.

In: a confusion matrix, or probabilities. Out: plain figures. Pure, and the same in every run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ferdata.training.report.scores import scores_from_confusion

__all__ = ["Calibration", "Interval", "calibrate", "intervals"]

RESAMPLES = 2000
NUM_BINS = 15
_COVERED = (2.5, 97.5)

Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the probability of the predicted class compares with how often it is right, in bins of equal width.

    Attributes:
        error: Expected calibration error: mean distance of the two over all samples (Guo et al., 2017), 15 bins.
        samples: Samples per bin.
        confidence: Mean probability of the predicted class per bin; None where a bin is empty.
        accuracy: Share that was right per bin; None where a bin is empty.
    """

    error: float
    samples: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def intervals(confusion: np.ndarray) -> Mapping[str, Interval]:
    """Return 95 % intervals of ``accuracy``, ``balanced_accuracy`` and ``macro_f1``, by the percentile bootstrap.

    Samples are drawn anew with replacement, 2,000 times from one seed. All three are functions of the confusion matrix,
    so its cells are drawn instead, which is the same. It takes samples for independent: several images of a person say
    less than their number.

    Args:
        confusion: int64 ``[classes, classes]``, rows actual, columns predicted; not all zero.

    Example:
        >>> low, high = intervals(np.array([[40, 10], [5, 45]]))["accuracy"]
        >>> round(low, 2), round(high, 2)
        (0.78, 0.91)
    """
    total = int(confusion.sum())
    drawn = np.random.default_rng(0).multinomial(total, confusion.ravel() / total, RESAMPLES)
    scores = [scores_from_confusion(each.reshape(confusion.shape), loss=0.0) for each in drawn]
    found = {}
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = np.percentile([getattr(each, name) for each in scores], _COVERED).tolist()
        found[name] = (low, high)
    return found


def calibrate(confidence: np.ndarray, is_right: np.ndarray) -> Calibration:
    """Compare the probabilities of the predicted classes, float ``[N]``, with whether they were right, bool ``[N]``."""
    bins = np.clip(np.ceil(confidence.astype(np.float64) * NUM_BINS) - 1, 0, NUM_BINS - 1).astype(np.int64)
    samples = np.bincount(bins, minlength=NUM_BINS)
    sums = [np.bincount(bins, values, NUM_BINS) for values in (confidence, is_right)]
    means = [
        tuple(float(total / count) if count else None for total, count in zip(each, samples, strict=True))
        for each in sums
    ]
    return Calibration(
        error=float(np.abs(sums[0] - sums[1]).sum() / max(1, len(bins))),
        samples=tuple(samples.tolist()),
        confidence=means[0],
        accuracy=means[1],
    )
