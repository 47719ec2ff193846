"""What an expression does to a face: muscle actions per class, drawn at random, with valence and arousal.

In: a class id and a random generator. Out: how far each action is pulled on the two sides. Costs about 30 µs.
"""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["ACTIONS", "Expression", "sample_expression"]

ACTIONS: tuple[str, ...] = (
    "brow_in", "brow_out", "brow_low", "lid_up", "lid_tight", "lid_droop", "cheek", "nose", "upper_lip", "smile",
    "dimple", "corner_down", "chin", "stretch", "press", "part", "jaw", "round", "teeth", "low_teeth",
)  # fmt: skip
"""Facial actions, named after what they move; 1 is a strong pull."""

Pull = dict[str, float]

_STYLES: tuple[tuple[tuple[float, Pull], ...], ...] = (
    # Neutral
    ((1.0, {}),),
    # Happy: a laugh, a smile with teeth, a closed smile
    (
        (0.3, {"smile": 1.0, "cheek": 1.0, "part": 0.9, "jaw": 0.5, "teeth": 1.0, "lid_tight": 0.5, "brow_out": 0.2}),
        (0.45, {"smile": 1.0, "cheek": 0.7, "part": 0.9, "jaw": 0.1, "teeth": 1.0, "lid_tight": 0.3}),
        (0.25, {"smile": 0.95, "cheek": 0.6, "lid_tight": 0.25}),
    ),
    # Sad: mouth drawn down, mouth slightly open as in crying
    (
        (0.7, {"brow_in": 1.0, "brow_low": 0.3, "corner_down": 1.0, "lid_droop": 0.8, "chin": 0.6}),
        (0.3, {"brow_in": 1.1, "brow_low": 0.4, "corner_down": 1.1, "lid_droop": 0.7, "lid_tight": 0.4, "part": 0.5,
               "stretch": 0.3}),
    ),
    # Surprise: jaw dropped, lips just parted
    (
        (0.75, {"brow_in": 0.9, "brow_out": 1.0, "lid_up": 0.9, "jaw": 0.95, "part": 0.5, "round": 0.8, "teeth": 0.25}),
        (0.25, {"brow_in": 1.0, "brow_out": 1.1, "lid_up": 1.0, "jaw": 0.4, "part": 0.6, "round": 0.7, "teeth": 0.2}),
    ),
    # Fear: stretched open mouth, stretched with clenched teeth
    (
        (0.6, {"brow_in": 1.0, "brow_low": 0.45, "lid_up": 1.1, "stretch": 1.0, "part": 1.0, "jaw": 0.35,
               "teeth": 0.5, "low_teeth": 0.6}),
        (0.4, {"brow_in": 0.95, "brow_low": 0.5, "lid_up": 1.0, "stretch": 1.1, "part": 0.9, "corner_down": 0.5,
               "teeth": 0.9, "low_teeth": 1.0}),
    ),
    # Disgust: upper lip drawn up, mouth closed with wrinkled nose
    (
        (0.6, {"nose": 1.0, "upper_lip": 1.0, "brow_low": 0.55, "lid_tight": 0.8, "cheek": 0.4, "corner_down": 0.5,
               "part": 0.2, "teeth": 0.9}),
        (0.4, {"nose": 1.1, "upper_lip": 0.45, "brow_low": 0.6, "lid_tight": 0.9, "cheek": 0.3, "corner_down": 0.8,
               "chin": 0.7, "press": 0.2}),
    ),
    # Anger: pressed lips, a shout with teeth
    (
        (0.6, {"brow_low": 1.15, "lid_up": 0.5, "lid_tight": 0.4, "press": 1.0, "corner_down": 0.3, "chin": 0.3,
               "brow_out": 0.35}),
        (0.4, {"brow_low": 1.2, "lid_up": 0.6, "lid_tight": 0.4, "upper_lip": 0.4, "part": 1.0, "jaw": 0.45,
               "teeth": 0.9, "low_teeth": 0.9, "brow_out": 0.35, "nose": 0.3}),
    ),
    # Contempt: see _ONE_SIDED for the smirk
    (
        (0.65, {"lid_droop": 0.6, "chin": 0.25, "press": 0.25, "corner_down": 0.15}),
        (0.35, {"lid_droop": 0.6, "press": 0.35, "corner_down": 0.25}),
    ),
    # None of the eight: chewing, talking, squinting and the like
    (
        (0.4, {"part": 0.5, "jaw": 0.3, "teeth": 0.4}),
        (0.3, {"lid_tight": 0.8, "press": 0.4}),
        (0.3, {"round": 0.9, "press": 0.3, "brow_out": 0.3}),
    ),
)  # fmt: skip

_ONE_SIDED: Pull = {
    "smile": 0.8, "dimple": 1.1, "cheek": 0.3, "brow_out": 0.55, "upper_lip": 0.25, "corner_down": -0.15,
}  # fmt: skip
_CONTEMPT = 7
_UNCERTAIN = 9

# Usual places on the circumplex (valence, arousal) of a clear expression, and the spread around them.
_PLACES = np.array([
    (0.0, 0.0), (0.70, 0.22), (-0.62, -0.30), (0.16, 0.72), (-0.32, 0.74),
    (-0.66, 0.42), (-0.52, 0.62), (-0.50, 0.36), (0.0, 0.05),
])  # fmt: skip
_SPREAD = (0.05, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One drawn expression.

    Attributes:
        pulls: float ``[len(ACTIONS), 2]``, how far each action is pulled on the image's left and right.
        valence: In [-1, 1], 6 decimals.
        arousal: In [-1, 1], 6 decimals.
    """

    pulls: np.ndarray
    valence: float
    arousal: float

    def __getitem__(self, action: str) -> float:
        """Return an action's mean pull over both sides."""
        row = self.pulls[_ROW[action]]
        return float(row[0] + row[1]) / 2

    def side(self, action: str, side: int) -> float:
        """Return an action's pull on the image's left (0) or right (1)."""
        return float(self.pulls[_ROW[action], side])


_ROW = {name: row for row, name in enumerate(ACTIONS)}


def sample_expression(label: int, rng: np.random.Generator) -> Expression:
    """Draw one expression of a class.

    Args:
        label: AffectNet id 0..10. 9 mixes two classes, 10 has a neutral face's values.
        rng: Source of every random number.
    """
    if label == _UNCERTAIN:
        first, second = rng.choice(_CONTEMPT + 1, 2, replace=False)
        one, two = sample_expression(int(first), rng), sample_expression(int(second), rng)
        return _settle((one.pulls + two.pulls) / 2, (one.valence + two.valence) / 2, (one.arousal + two.arousal) / 2)
    label = 0 if label > _UNCERTAIN else label
    styles = _STYLES[label]
    chance = rng.random()
    style = 0
    while style < len(styles) - 1 and chance >= styles[style][0]:
        chance -= styles[style][0]
        style += 1
    intensity = 0.62 + 0.5 * rng.random()
    spread = rng.standard_normal((len(ACTIONS), 4))

    pulls = _PULLS[label][style].copy()
    if label == _CONTEMPT:
        pulls[:, int(spread[0, 3] > 0)] += _SMIRK
    # A stronger pull varies more; nobody is quite symmetric; and a resting face is never quite at rest.
    pulls *= intensity * (1.0 + 0.16 * spread[:, :1] + 0.05 * spread[:, 1:3])
    pulls += 0.06 * spread[:, 3:] * (_RESTLESS[:, None])
    valence, arousal = (_PLACES[label] * (0.4 + 0.6 * intensity) + _SPREAD[label] * rng.standard_normal(2)).tolist()
    return _settle(pulls, valence, arousal)


def _vector(pull: Pull) -> np.ndarray:
    return np.array([pull.get(action, 0.0) for action in ACTIONS])


_PULLS = [[np.repeat(_vector(pull)[:, None], 2, axis=1) for _, pull in styles] for styles in _STYLES]
_SMIRK = _vector(_ONE_SIDED)
# Actions that open a mouth or bare teeth stay at rest by themselves: a random slit would read as an expression.
_RESTLESS = np.array([name not in ("part", "teeth", "low_teeth", "jaw") for name in ACTIONS], float)


def _settle(pulls: np.ndarray, valence: float, arousal: float) -> Expression:
    radius = max(1.0, math.hypot(valence, arousal))
    return Expression(
        pulls=np.minimum(np.maximum(pulls, -0.15), 1.45),
        valence=round(valence / radius, 6),
        arousal=round(arousal / radius, 6),
    )
