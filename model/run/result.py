"""What a run comes to. In: figures of every split. Out: a value that prints as JSON with the command line's keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ferdata.training.report.scores import SplitScores

__all__ = ["TrainResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Figures of a run, of its best weights.

    Attributes:
        run: The run's folder.
        model: Name of the network.
        parameters: Number of its parameters.
        classes: Names of the classes.
        scores: Figures by split.
        main_split: The split that stands for the run: ``val``, else ``test``, else ``train``.
        best_epoch: The epoch the weights are of, counted from 0.
        epochs: Epochs trained.
        steps: Steps taken.
        images_per_second: Of training, waits included, over all ranks.
        data_wait_share: Share of that time spent waiting for data.
        notes: Sentences for the user.
        set_scores: Figures of each of several data sets, by split and by the set's name; empty for one.
    """

    run: str
    model: str
    parameters: int
    classes: tuple[str, ...]
    scores: Mapping[str, SplitScores]
    main_split: str
    best_epoch: int
    epochs: int
    steps: int
    images_per_second: float
    data_wait_share: float
    notes: tuple[str, ...] = ()
    set_scores: Mapping[str, Mapping[str, SplitScores]] = field(default_factory=dict)

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy by split."""
        return {split: scores.accuracy for split, scores in self.scores.items()}

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes of the main split."""
        return self.scores[self.main_split].balanced_accuracy

    @property
    def confusion(self) -> list[list[int]]:
        """Samples of the main split by actual class (row) and predicted class (column)."""
        return self.scores[self.main_split].confusion

    def __repr__(self) -> str:
        return f"TrainResult({self.run!r}): {self.describe().splitlines()[0]}"

    def describe(self) -> str:
        """Return what the run came to, in three lines, and one more for each split of several data sets."""
        accuracies = ", ".join(f"{split} {value:.1%}" for split, value in self.accuracy.items())
        of_sets = "".join(
            f"{split} by data set: {', '.join(f'{name} {scores.accuracy:.1%}' for name, scores in sets.items())}\n"
            for split, sets in self.set_scores.items()
        )
        return (
            f"{self.model}, {self.parameters:,} parameters: accuracy {accuracies}; "
            f"{self.main_split} balanced {self.balanced_accuracy:.1%} "
            f"(epoch {self.best_epoch + 1} of {self.epochs})\n{of_sets}"
            f"{self.images_per_second:,.0f} images/s in training, "
            f"{self.data_wait_share:.1%} of the time waiting for data\n"
            f"report: {self.run}/report.html"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        figures = {each.name: getattr(self, each.name) for each in fields(self)}
        return figures | {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "confusion": self.confusion,
            "classes": list(self.classes),
            "scores": {split: scores.to_json() for split, scores in self.scores.items()},
            "notes": list(self.notes),
            "set_scores": {
                split: {name: scores.to_json() for name, scores in sets.items()}
                for split, sets in self.set_scores.items()
            },
        }
