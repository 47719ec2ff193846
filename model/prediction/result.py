"""What a prediction comes to: a row for every picture, and its table."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ferdata.training.prediction.prediction import Prediction

if TYPE_CHECKING:
    from ferdata.training.prediction.detector import Face

__all__ = ["BOX", "PredictResult", "Row", "figures_of", "place_of"]

BOX = ("x", "y", "width", "height", "score")
"""Columns of a table that say where a face is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture, or one face of it.

    Attributes:
        path: Of its file, below the folder that was asked about.
        face: The face, if faces were looked for.
        prediction: None if it could not be read, or no face was found.
        reason: Why not, in a word, as ``rejects.csv`` of a data set has it.
        error: The same as a sentence.
    """

    path: str
    face: "Face | None" = None
    prediction: Prediction | None = None
    reason: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        if self.prediction is None:
            return {"path": self.path, "reason": self.reason, "error": self.error}
        face = {} if self.face is None else self.face.to_json()
        return {"path": self.path, **face, **self.prediction.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """What runs say of pictures.

    Attributes:
        runs: The runs.
        source: What they were asked about.
        classes: Names, in the order of the table's columns.
        rows: One for each picture, or each face of it, in the order of their names, the largest face first.
        has_faces: Whether faces were looked for.
        notes: Sentences for the user.
    """

    runs: tuple[str, ...]
    source: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    has_faces: bool = False
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
        """Return the table: path, box, label, probabilities, valence, arousal, and why there are none."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        box = BOX if self.has_faces else ()
        writer.writerow(["path", *box, "label", *self.classes, "valence", "arousal", "reason"])
        for row in self.rows:
            place = place_of(row.face) if self.has_faces else []
            writer.writerow([row.path, *place, *figures_of(row.prediction, self.classes), row.reason])
        return buffer.getvalue()

    def describe(self) -> str:
        """Return a line for each class: its probability in one face, or how often it was found in several."""
        found = [row.prediction for row in self.rows if row.prediction is not None]
        if len(self.rows) == 1 and found:
            return _describe_one(found[0])
        counts = Counter(each.label for each in found)
        width = max(map(len, self.classes))
        lines = [
            f"{name:<{width}}  {counts[name]:>8,}  {counts[name] / len(found):>6.1%}" for name in self.classes if found
        ]
        num_images = len({row.path for row in self.rows})
        for reason, count in sorted(Counter(row.reason for row in self.rows if row.reason).items()):
            first = next(row.error for row in self.rows if row.reason == reason)
            lines.append(f"{count:,} of {num_images:,} images: {reason} ({'' if count == 1 else 'as '}{first})")
        return "\n".join(lines)


def place_of(face: "Face | None") -> list[str]:
    """Return what stands below :data:`BOX` in a table; empty cells without a face."""
    return [""] * len(BOX) if face is None else [*(f"{edge:.1f}" for edge in face.box), f"{face.score:.3f}"]


def figures_of(found: Prediction | None, classes: tuple[str, ...]) -> list[str]:
    """Return label, the probability of each class, valence and arousal as cells of a table; empty without any."""
    if found is None:
        return [""] * (len(classes) + 3)
    numbers = [*(found.probabilities[name] for name in classes), found.valence, found.arousal]
    return [found.label, *("" if value is None else f"{value:.6f}" for value in numbers)]


def _describe_one(found: Prediction) -> str:
    width = max(map(len, [*found.probabilities, "valence"]))
    ranked = sorted(found.probabilities.items(), key=lambda pair: -pair[1])
    lines = [f"{name:<{width}}  {value:>6.1%}" for name, value in ranked]
    feelings = (("valence", found.valence), ("arousal", found.arousal))
    return "\n".join([*lines, *(f"{name:<{width}}  {value:>+6.2f}" for name, value in feelings if value is not None)])
