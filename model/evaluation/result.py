"""What an evaluation comes to: figures of every split, and what was predicted for every sample."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ferdata.training.report.certainty import Calibration, Interval
from ferdata.training.report.scores import Mistake, SplitScores

__all__ = ["EvaluationResult", "Predictions", "SplitEvaluation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What was predicted for every sample of a split, in reading order.

    Attributes:
        keys: Of the samples.
        actual: int64 ``[N]``; -1 where the label is a class that no run knows.
        predicted: int64 ``[N]``.
        by_run: int64 ``[N, runs]``, what each run says by itself.
        probabilities: float32 ``[N, classes]``, the mean over the runs.
        feelings: float32 ``[N, 2]``, valence and arousal predicted; None without a head for them.
        actual_feelings: float32 ``[N, 2]``, NaN where a sample has none.
    """

    keys: tuple[str, ...]
    actual: np.ndarray
    predicted: np.ndarray
    by_run: np.ndarray
    probabilities: np.ndarray
    feelings: np.ndarray | None
    actual_feelings: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEvaluation:
    """Figures of a split.

    Attributes:
        scores: Of the ensemble, or the one run.
        intervals: 95 % intervals of ``accuracy``, ``balanced_accuracy`` and ``macro_f1``.
        calibration: Of the probability of the predicted class.
        members: Run -> its own accuracy.
        predictions: Of every sample.
        mistakes: The surest ones, surest first.
    """

    scores: SplitScores
    intervals: Mapping[str, Interval]
    calibration: Calibration
    members: Mapping[str, float]
    predictions: Predictions = field(repr=False)
    mistakes: tuple[Mistake, ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "scores": self.scores.to_json(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "calibration": self.calibration.to_json(),
            "members": dict(self.members),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """What runs come to on a data set.

    Attributes:
        runs: The runs.
        shards: The data set.
        source: Its name.
        classes: Names; rows and columns of every confusion matrix.
        splits: Split -> its figures.
        notes: Sentences for the user: what was matched, and what was left out.
        page: The page, if a folder was asked for.
    """

    runs: tuple[str, ...]
    shards: str
    source: str
    classes: tuple[str, ...]
    splits: Mapping[str, SplitEvaluation]
    notes: tuple[str, ...] = ()
    page: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the predictions as plain values."""
        return {
            "runs": list(self.runs),
            "shards": self.shards,
            "source": self.source,
            "classes": list(self.classes),
            "splits": {split: each.to_json() for split, each in self.splits.items()},
            "notes": list(self.notes),
        }

    def describe(self) -> str:
        """Return a few lines a split, and where the page is."""
        lines = []
        for split, each in self.splits.items():
            scores = each.scores
            figures = (
                f"{title} {getattr(scores, name):.1%} ({low:.1%} to {high:.1%})"
                for name, title in (
                    ("accuracy", "accuracy"), ("balanced_accuracy", "balanced"), ("macro_f1", "macro F1"),
                )
                for low, high in (each.intervals[name],)
            )  # fmt: skip
            lines.append(f"{split}, {scores.samples:,} samples: {', '.join(figures)}")
            feelings = [f"{name} CCC {value:.3f}" for name, value in scores.ccc.items() if value is not None]
            lines.append("  " + ", ".join([f"calibration error {each.calibration.error:.1%}", *feelings]))
            if len(each.members) > 1:
                lines += [f"  {run}: {accuracy:.1%} alone" for run, accuracy in each.members.items()]
        return "\n".join([*lines, *([f"report: {self.page}"] if self.page else [])])
