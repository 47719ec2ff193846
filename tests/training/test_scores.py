"""Figures from counts, against scikit-learn's from the samples themselves."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from ferdata.training.report.scores import scores_from_confusion


def _samples(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    actual = rng.choice(5, 300, p=[0.5, 0.2, 0.2, 0.05, 0.05])
    return actual, np.where(rng.random(300) < 0.7, actual, rng.integers(0, 5, 300))


def test_figures_are_scikit_learn_s() -> None:
    """Rows are actual classes and columns predicted ones; swapped, precision and recall would swap too."""
    actual, predicted = _samples()

    scores = scores_from_confusion(confusion_matrix(actual, predicted), loss=0.5)

    assert scores.accuracy == pytest.approx(accuracy_score(actual, predicted))
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(actual, predicted))
    assert scores.recall == pytest.approx(recall_score(actual, predicted, average=None).tolist())
    assert scores.precision == pytest.approx(precision_score(actual, predicted, average=None).tolist())
    assert scores.f1 == pytest.approx(f1_score(actual, predicted, average=None).tolist())
    assert scores.macro_f1 == pytest.approx(f1_score(actual, predicted, average="macro"))
    assert scores.support == np.bincount(actual).tolist()
    assert scores.samples == 300


def test_a_class_without_samples_has_no_recall_and_does_not_lower_the_mean() -> None:
    """RAF-DB has no contempt: a recall of 0 for it would lower the balanced accuracy of every network by an eighth."""
    confusion = np.array([[8, 2, 0], [0, 0, 0], [1, 0, 4]])

    scores = scores_from_confusion(confusion, loss=0.0)

    assert scores.recall == [0.8, None, 0.8]
    assert scores.balanced_accuracy == pytest.approx(0.8)
    assert scores.precision == [pytest.approx(8 / 9), 0.0, 1.0]


def test_nothing_at_all_gives_zeros_and_no_division() -> None:
    """An empty split is odd, not an error of arithmetic."""
    scores = scores_from_confusion(np.zeros((3, 3), np.int64), loss=0.0, moments=np.zeros((2, 6)))

    assert (scores.accuracy, scores.balanced_accuracy, scores.recall) == (0.0, 0.0, [None] * 3)
    assert scores.ccc == {"valence": None, "arousal": None}


def test_concordance_and_error_come_from_sums() -> None:
    """Sums add over batches and ranks; what they give is what the samples give."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-1, 1, (2, 40)), rng.uniform(-1, 1, (2, 40))
    moments = np.stack([np.full(2, 40.0), x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], 1)

    scores = scores_from_confusion(np.eye(2, dtype=np.int64), loss=0.0, moments=moments)

    for number, name in enumerate(("valence", "arousal")):
        a, b = x[number], y[number]
        ccc = 2 * np.cov(a, b, bias=True)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
        assert scores.ccc[name] == pytest.approx(ccc)
        assert scores.rmse[name] == pytest.approx(np.sqrt(((a - b) ** 2).mean()))
