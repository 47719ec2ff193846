"""What networks say of one face. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["Prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one network, or several as one, say of a picture.

    Attributes:
        label: The class that is chosen: the likeliest, or that which most networks choose.
        probabilities: Class -> probability; they sum to 1.
        valence: In [-1, 1]; None without a head for it.
        arousal: Likewise.
        votes: Class -> how many networks choose it, where they vote.
    """

    label: str
    probabilities: Mapping[str, float]
    valence: float | None = None
    arousal: float | None = None
    votes: Mapping[str, float] | None = None

    @classmethod
    def of_row(cls, classes: tuple[str, ...], row: list[float]) -> Self:
        """Return the prediction whose :meth:`row` this is, or a mean of such rows."""
        probabilities, votes = row[: len(classes)], row[len(classes) : 2 * len(classes)]
        # a probability is at most 1, so that half of it never outweighs a vote
        chosen = max(range(len(classes)), key=lambda place: votes[place] + probabilities[place] / 2)
        valence, arousal = row[2 * len(classes) :] or (None, None)
        return cls(
            label=classes[chosen],
            probabilities=dict(zip(classes, probabilities, strict=True)),
            valence=valence,
            arousal=arousal,
            votes=dict(zip(classes, votes, strict=True)) if any(votes) else None,
        )

    def row(self) -> list[float]:
        """Return probabilities, votes (all 0 where none were asked for), and valence and arousal if there are."""
        votes = self.votes or dict.fromkeys(self.probabilities, 0.0)
        felt = [] if self.valence is None or self.arousal is None else [self.valence, self.arousal]
        return [*self.probabilities.values(), *(votes[name] for name in self.probabilities), *felt]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "valence": self.valence,
            "arousal": self.arousal,
            **({} if self.votes is None else {"votes": dict(self.votes)}),
        }
