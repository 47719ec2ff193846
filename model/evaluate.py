"""Measures a network on a split: every sample once, whatever the batch size and the number of ranks.

In: a network and a loader. Out: :class:`SplitScores`, and the mistakes the network was surest of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_confusion_matrix

from ferdata.stream import IGNORED_LABEL, BatchContext, BatchTransform, Loader
from ferdata.training.cover import Cover
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.options import TrainOptions
from ferdata.training.report.scores import Mistake, SplitScores, scores_from_confusion
from ferdata.training.run.process_group import Ranks
from ferdata.training.step import run_network

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of a split and its surest mistakes, surest first; of several data sets, those of each by its name too."""

    scores: SplitScores
    mistakes: tuple[Mistake, ...]
    by_set: Mapping[str, SplitScores]


class SplitMetric(Metric):
    """Everything that is summed over samples and ranks: confusion, loss, moments of valence and arousal.

    Args:
        num_classes: Classes.
    """

    full_state_update = False
    confusion: torch.Tensor
    loss: torch.Tensor
    moments: torch.Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("moments", torch.zeros(2, 6, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, logits: torch.Tensor, labels: torch.Tensor, predicted: torch.Tensor | None, actual: torch.Tensor
    ) -> None:
        """Add a batch: logits ``[N, classes]``, labels ``[N]``, V/A ``[N, 2]`` predicted (or None), actual (or NaN)."""
        self.confusion += multiclass_confusion_matrix(
            logits, labels, self.num_classes, ignore_index=IGNORED_LABEL, validate_args=False
        )
        self.loss += functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORED_LABEL, reduction="sum"
        ).double()
        if predicted is not None:
            known = ~actual.isnan()
            x, y = predicted.double() * known, actual.double().nan_to_num(0.0)
            self.moments += torch.stack([known.double(), x, y, x * x, y * y, x * y]).sum(1).T

    def compute(self) -> tuple[np.ndarray, float, np.ndarray]:
        """Return confusion, summed loss and moments, over all ranks."""
        return self.confusion.cpu().numpy(), float(self.loss), self.moments.cpu().numpy()


def evaluate(
    network: ExpressionNetwork,
    loader: Loader,
    *,
    transform: BatchTransform,
    options: TrainOptions,
    ranks: Ranks,
    cover: Cover | None = None,
    num_mistakes: int = 0,
) -> Evaluation:
    """Measure a network on a loader's split.

    Args:
        network: Is left in evaluation mode.
        loader: In reading order, padded; each sample on one rank.
        transform: Normalises.
        options: The run's settings.
        ranks: This process among those of the run; all of them must call this.
        cover: Covers what the network is not to see.
        num_mistakes: Mistakes to keep.
    """
    network.eval()
    metric, *of_sets = (
        SplitMetric(len(loader.classes)).to(ranks.device)
        for _ in range(1 + (len(loader.set_names) if len(options.roots) > 1 else 0))
    )
    mistakes: list[Mistake] = []
    loader.set_epoch(0)
    with torch.inference_mode():
        for batch in loader:
            if cover is not None:
                batch = batch._replace(images=cover(batch.images, batch.indices))
            actual = torch.stack([batch.valence, batch.arousal], 1)
            context = BatchContext(seed=0, epoch=0, rank=ranks.rank, positions=np.arange(len(batch.images)))
            logits, values = run_network(network, transform(batch.images, context), options, None)
            metric.update(logits, batch.labels, values, actual)
            for number, own in enumerate(of_sets):
                is_own = batch.set_index == number
                labels = torch.where(is_own, batch.labels, IGNORED_LABEL)
                own.update(logits, labels, values, torch.where(is_own[:, None], actual, torch.nan))
            if num_mistakes:
                mistakes = _surest([*mistakes, *_mistakes(batch, logits, num_mistakes)], num_mistakes)
    scores, *others = (_scores(each, has_values=network.has_valence_arousal) for each in (metric, *of_sets))
    gathered = [mistake for part in ranks.gather(mistakes) for mistake in part] if num_mistakes else []
    return Evaluation(
        scores=scores,
        mistakes=tuple(_surest(gathered, num_mistakes)),
        by_set=dict(zip(loader.set_names, others, strict=False)),
    )


def _scores(metric: SplitMetric, *, has_values: bool) -> SplitScores:
    confusion, loss, moments = metric.compute()
    mean = loss / max(1, int(confusion.sum()))
    return scores_from_confusion(confusion, loss=mean, moments=moments if has_values else None)


def _mistakes(batch: Any, logits: torch.Tensor, count: int) -> list[Mistake]:
    sure, predicted = functional.softmax(logits.float(), 1).max(1)
    wrong = torch.where((predicted != batch.labels) & batch.mask, sure, -1.0)
    best = wrong.topk(min(count, len(wrong)))
    return [
        Mistake(
            key=batch.keys[row],
            actual=int(batch.labels[row]),
            predicted=int(predicted[row]),
            confidence=confidence,
            image=batch.images[row].cpu().numpy().copy(),
        )
        for confidence, row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        if confidence >= 0
    ]


def _surest(mistakes: list[Mistake], count: int) -> list[Mistake]:
    return sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.key))[:count]
