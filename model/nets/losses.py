"""Losses: cross-entropy and focal loss as sums that the caller divides, and concordance for valence and arousal.

In: a network's outputs and the targets. Out: scalars with gradients. Padding rows and samples without values count for
nothing; masks are multiplied and not indexed with, so that a GPU is never waited for.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from ferdata.stream import IGNORED_LABEL

__all__ = ["class_weights", "concordance_loss", "cross_entropy_sum", "focal_sum"]


def class_weights(counts: Sequence[float]) -> torch.Tensor:
    """Return float32 ``[classes]``: inverse frequencies, scaled to a mean of 1 over the samples; 0 for empty classes.

    So weighted losses are divided by the number of samples. Divided by the weights in the batch, as torch's ``mean``
    does, rare classes would weigh less than was asked: a batch without them would count as much as one that they fill.
    """
    numbers = torch.tensor(counts, dtype=torch.float64)
    present = int((numbers > 0).sum())
    return torch.where(numbers > 0, numbers.sum() / (max(1, present) * numbers.clamp(min=1)), 0.0).to(torch.float32)


def cross_entropy_sum(
    logits: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None, smoothing: float
) -> torch.Tensor:
    """Return the sum of the (weighted) cross-entropies over the rows that are no padding.

    A sum and not a mean, so that micro-batches and ranks add up to exactly the whole batch's loss. Labels are int64
    ``[N]``, or shares of the classes, float ``[N, classes]``.
    """
    return functional.cross_entropy(
        logits.float(), labels, weight=weights, reduction="sum", ignore_index=IGNORED_LABEL, label_smoothing=smoothing
    )


def focal_sum(
    logits: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None, smoothing: float, gamma: float
) -> torch.Tensor:
    """Return the sum of the focal losses ``-w (1 - p)^gamma log p`` (Lin et al. 2017, equations 4 and 5).

    Where a label is shares of several classes (smoothed, mixed), it is that of each class times its share; with gamma 0
    it is :func:`cross_entropy_sum`, which takes the same.
    """
    log_p = logits.float().log_softmax(1)
    num_classes = log_p.shape[1]
    known = torch.ones_like(log_p[:, :1])
    if labels.ndim == 1:
        known = (labels != IGNORED_LABEL)[:, None].float()
        labels = functional.one_hot(labels.clamp(min=0), num_classes)
    shares = (labels.float() * (1 - smoothing) + smoothing / num_classes) * known
    # at p = 1 the slope of a root is infinite, and times log p it is not a number
    rest = (-log_p.expm1()).clamp(min=torch.finfo(torch.float32).eps)
    losses = -shares * rest**gamma * log_p
    return (losses if weights is None else losses * weights).sum()


def concordance_loss(predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """Return 1 - CCC (Lin 1989), averaged over valence and arousal; 0 where fewer than two samples have values.

    Args:
        predicted: float ``[N, 2]``.
        actual: float ``[N, 2]``, NaN where a sample has no value.
    """
    known = ~actual.isnan()
    count = known.sum(0).clamp(min=1)
    x, y = predicted.float() * known, actual.nan_to_num(0.0)
    mean_x, mean_y = x.sum(0) / count, y.sum(0) / count
    dx, dy = (x - mean_x) * known, (y - mean_y) * known
    spread = ((dx**2).sum(0) + (dy**2).sum(0)) / count + (mean_x - mean_y) ** 2
    concordance = 2 * (dx * dy).sum(0) / count / spread.clamp(min=1e-8)
    usable = known.sum(0) > 1
    return ((1 - concordance) * usable).sum() / usable.sum().clamp(min=1)
