"""What networks say of one face. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one network, or several as one, say of a picture.

    Attributes:
        label: The class that is most likely.
        probabilities: Class -> probability; they sum to 1.
        valence: In [-1, 1]; None without a head for it.
        arousal: Likewise.
    """

    label: str
    probabilities: Mapping[str, float]
    valence: float | None = None
    arousal: float | None = None

    @classmethod
    def of(cls, probabilities: Mapping[str, float], feelings: tuple[float, float] | None) -> "Prediction":
        """Return the prediction that chooses the likeliest class."""
        valence, arousal = feelings or (None, None)
        return cls(
            label=max(probabilities, key=lambda name: probabilities[name]),
            probabilities=probabilities,
            valence=valence,
            arousal=arousal,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "valence": self.valence,
            "arousal": self.arousal,
        }
