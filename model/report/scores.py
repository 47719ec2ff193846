"""What a confusion matrix and a few sums say of a split. In: counts. Out: figures, ready for JSON. Pure."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Mistake", "SplitScores", "scores_from_confusion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A sample that was classified wrongly.

    Attributes:
        key: Of the sample.
        actual: Its class.
        predicted: The class the network chose.
        confidence: The probability it gave that class.
        image: uint8 ``[3, H, W]``.
    """

    key: str
    actual: int
    predicted: int
    confidence: float
    image: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitScores:
    """Figures of one split.

    Attributes:
        samples: Samples that were classified.
        accuracy: Share of them classified rightly.
        balanced_accuracy: Mean recall over the classes that have samples.
        macro_f1: Mean F1 over the classes that have samples or were predicted.
        loss: Mean cross-entropy.
        confusion: Samples by actual class (row) and predicted class (column).
        precision: Per class; None where a class was never predicted.
        recall: Per class; None where a class has no samples.
        f1: Per class; None where a class neither has samples nor was predicted.
        support: Samples per class.
        ccc: ``valence`` and ``arousal``: concordance correlation coefficient; empty without a second head.
        rmse: Likewise, root of the mean squared error.
    """

    samples: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    loss: float
    confusion: list[list[int]]
    precision: list[float | None]
    recall: list[float | None]
    f1: list[float | None]
    support: list[int]
    ccc: dict[str, float | None]
    rmse: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def scores_from_confusion(confusion: np.ndarray, *, loss: float, moments: np.ndarray | None = None) -> SplitScores:
    """Return the figures of a split.

    Args:
        confusion: int64 ``[classes, classes]``, rows actual, columns predicted.
        loss: Mean cross-entropy.
        moments: float64 ``[2, 6]`` for valence and arousal: count and sums of x, y, x², y², xy (x predicted, y actual).
    """
    right = confusion.diagonal().astype(np.float64)
    actual, predicted = confusion.sum(1), confusion.sum(0)
    recall, precision = _shares(right, actual), _shares(right, predicted)
    f1 = _shares(2 * right, actual + predicted)
    total = int(confusion.sum())
    feelings = {} if moments is None else dict(zip(("valence", "arousal"), map(_agreement, moments), strict=True))
    return SplitScores(
        samples=total,
        accuracy=float(right.sum()) / total if total else 0.0,
        balanced_accuracy=_mean(recall),
        macro_f1=_mean(f1),
        loss=loss,
        confusion=confusion.tolist(),
        precision=precision,
        recall=recall,
        f1=f1,
        support=actual.tolist(),
        ccc={name: ccc for name, (ccc, _) in feelings.items()},
        rmse={name: rmse for name, (_, rmse) in feelings.items()},
    )


def _shares(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [float(a / b) if b else None for a, b in zip(part, whole, strict=True)]


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def _agreement(moments: np.ndarray) -> tuple[float | None, float | None]:
    """Return CCC (Lin 1989) and RMSE; None where no sample has values."""
    count, x, y, xx, yy, xy = moments.tolist()
    if count == 0:
        return None, None
    mean_x, mean_y = x / count, y / count
    spread = xx / count - mean_x**2 + yy / count - mean_y**2 + (mean_x - mean_y) ** 2
    ccc = 2 * (xy / count - mean_x * mean_y) / spread if spread > 0 else 0.0
    return ccc, math.sqrt(max(0.0, (xx - 2 * xy + yy) / count))
