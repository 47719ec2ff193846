"""What a prediction comes to: a row for every picture, and its table."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ferdata.training.prediction.prediction import Prediction

__all__ = ["PredictResult", "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture.

    Attributes:
        path: Of its file, below the folder that was asked about.
        prediction: None if it could not be read.
        reason: Why not, in a word, as ``rejects.csv`` of a data set has it.
        error: The same as a sentence.
    """

    path: str
    prediction: Prediction | None = None
    reason: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        if self.prediction is None:
            return {"path": self.path, "reason": self.reason, "error": self.error}
        return {"path": self.path, **self.prediction.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """What runs say of pictures.

    Attributes:
        runs: The runs.
        source: What they were asked about.
        classes: Names, in the order of the table's columns.
        rows: One for each picture, in the order of their names.
        notes: Sentences for the user.
    """

    runs: tuple[str, ...]
    source: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "runs": list(self.runs),
            "source": self.source,
            "classes": list(self.classes),
            "images": [row.to_json() for row in self.rows],
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """Return the table: path, label, the probability of each class, valence, arousal, and why there is none."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["path", "label", *self.classes, "valence", "arousal", "reason"])
        for row in self.rows:
            found = row.prediction
            numbers = (
                [None] * (len(self.classes) + 2)
                if found is None
                else [*(found.probabilities[name] for name in self.classes), found.valence, found.arousal]
            )
            figures = ["" if value is None else f"{value:.6f}" for value in numbers]
            writer.writerow([row.path, "" if found is None else found.label, *figures, row.reason])
        return buffer.getvalue()

    def describe(self) -> str:
        """Return a line for each class: its probability in one picture, or how often it was found in several."""
        found = [row.prediction for row in self.rows if row.prediction is not None]
        if len(self.rows) == 1 and found:
            return _describe_one(found[0])
        counts = Counter(each.label for each in found)
        width = max(map(len, self.classes))
        lines = [
            f"{name:<{width}}  {counts[name]:>8,}  {counts[name] / len(found):>6.1%}" for name in self.classes if found
        ]
        reasons = Counter(row.reason for row in self.rows if row.reason)
        lines += [f"{count:,} of {len(self.rows):,} images: {reason}" for reason, count in sorted(reasons.items())]
        return "\n".join(lines)


def _describe_one(found: Prediction) -> str:
    width = max(map(len, [*found.probabilities, "valence"]))
    ranked = sorted(found.probabilities.items(), key=lambda pair: -pair[1])
    lines = [f"{name:<{width}}  {value:>6.1%}" for name, value in ranked]
    feelings = (("valence", found.valence), ("arousal", found.arousal))
    return "\n".join([*lines, *(f"{name:<{width}}  {value:>+6.2f}" for name, value in feelings if value is not None)])
