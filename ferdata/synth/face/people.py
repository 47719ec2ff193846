"""Who is drawn, how they hold their head, and how the picture is taken; all at random.

In: a class and a seed. Out: a :class:`Portrait` of plain values that any camera can look at. Costs about 0.1 ms.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ferdata.synth.face.expression import Expression, sample_expression
from ferdata.synth.face.geometry import Proportions

__all__ = ["STYLES", "Light", "Person", "Portrait", "Pose", "Shot", "grow", "sample_person", "sample_portrait"]

Colour = np.ndarray
"""float ``[3]``, red, green, blue in 0..255."""

_SKINS = np.array(
    [(238, 206, 188), (230, 190, 166), (220, 172, 140), (196, 142, 106), (150, 102, 74), (104, 70, 54)], float
)
_HAIRS = np.array(
    [(28, 24, 24), (52, 38, 30), (88, 60, 42), (128, 90, 56), (186, 150, 98), (140, 66, 36), (168, 166, 164)], float
)
_IRISES = np.array([(74, 48, 30), (98, 66, 38), (92, 104, 66), (84, 122, 148), (108, 128, 134)], float)

STYLES: tuple[str, ...] = ("short", "parted", "fringe", "long", "bob", "curly", "bun", "bald", "scarf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One identity: proportions, colours and what grows or sits on the face.

    Attributes:
        feminine: Decides how hair, brows and jaw are drawn.
        style: Hair style, one of ``STYLES``.
        volume: How far hair stands off the skull, 1 is not at all.
        beard: Darkness of a beard, 0..1.
        moustache: Darkness of a moustache, 0..1.
        glasses: 0 none, 1 thin frames, 2 thick frames.
        age: 0 young .. 1 old: how much creases show at rest.
        make_up: 0..1, redness of the lips and darkness of the lashes.
    """

    feminine: bool
    proportions: Proportions
    skin: Colour
    hair: Colour
    iris: Colour
    cloth: Colour
    style: str
    volume: float
    beard: float
    moustache: float
    glasses: int
    age: float
    make_up: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A main light and what comes from everywhere.

    Attributes:
        x: Direction to the light, to the image's right.
        y: Direction to the light, down.
        ambient: Share of light without direction, 0..1.
        shine: Strength of highlights on the skin.
    """

    x: float
    y: float
    ambient: float
    shine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What lens, sensor and processing do.

    Attributes:
        blur: Share of each neighbour in a pixel, 0 is sharp.
        noise: Standard deviation of the sensor noise at middle grey, in levels.
        gain: float ``[3]``, colour cast and exposure.
        grey: True for a black-and-white picture.
    """

    blur: float
    noise: float
    gain: Colour
    grey: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How the head is held and where the eyes look.

    Attributes:
        yaw: Radians; positive turns the face to the image's right.
        pitch: Radians; positive looks down.
        roll: Radians; positive leans clockwise.
        gaze: float ``[2]``, shift of the irises in face units.
    """

    yaw: float
    pitch: float
    roll: float
    gaze: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """Everything about one picture except its size and framing.

    Attributes:
        dice: float ``[32]`` in [0, 1): what is left to chance when the picture is framed and painted.
    """

    label: int
    expression: Expression
    person: Person
    light: Light
    shot: Shot
    pose: Pose
    dice: np.ndarray


_SAD, _CONTEMPT = 2, 7


def sample_portrait(label: int, seed: int) -> Portrait:
    """Draw a portrait of a class.

    Args:
        label: AffectNet id 0..10.
        seed: At least 0; the same seed gives the same portrait.
    """
    rng = np.random.default_rng((label, seed))
    expression = sample_expression(label, rng)
    n = rng.standard_normal(5).tolist()
    # Sad people look down, contempt tilts the head; the class must not be readable from the pose alone.
    pose = Pose(
        yaw=_within(0.16 * n[0], 0.40),
        pitch=_within(0.09 * n[1] + (0.07 if label == _SAD else 0.0), 0.24),
        roll=_within(0.07 * n[2] + (math.copysign(0.05, n[2]) if label == _CONTEMPT else 0.0), 0.30),
        gaze=np.array([0.03 * n[3], 0.010 * n[4] + (0.02 if label == _SAD else 0.0)]),
    )
    return Portrait(
        label=label,
        expression=expression,
        person=_person(rng),
        light=_light(rng),
        shot=_shot(rng),
        pose=pose,
        dice=rng.random(32),
    )


def sample_person(seed: int, *, feminine: bool) -> Person:
    """Draw who is to be in many portraits; the same seed gives the same person."""
    rng = np.random.default_rng(seed)
    while (person := _person(rng)).feminine != feminine:
        pass
    return person


def grow(portrait: Portrait, share: float) -> Portrait:
    """Return a portrait on the way to its expression: at rest where ``share`` is 0, all there at 1."""
    full = portrait.expression
    expression = replace(
        full,
        pulls=full.pulls * share,
        valence=round(full.valence * share, 6),
        arousal=round(full.arousal * share, 6),
    )
    return replace(portrait, expression=expression)


def _person(rng: np.random.Generator) -> Person:
    n = rng.standard_normal(16).tolist()
    u = rng.random(16).tolist()
    feminine, dark_only = u[1] < 0.5, u[0] > 0.6
    side = -1.0 if feminine else 1.0
    old = min(1.0, max(0.0, u[2] ** 1.6 + 0.05 * n[3]))
    hair = _HAIRS[-1] if u[4] < old - 0.55 else _HAIRS[int(u[3] * (3 if dark_only else 6))]
    bearded = not feminine and u[7] < 0.34
    return Person(
        feminine=feminine,
        proportions=Proportions(
            width=0.035 * n[4],
            jaw=-0.015 + 0.045 * side + 0.05 * n[5],
            chin=-0.015 + 0.015 * side + 0.05 * n[6],
            eye_size=0.095 - 0.045 * side + 0.05 * n[7],
            eye_gap=0.015 * n[8],
            eye_tilt=0.03 + 0.06 * n[9],
            nose_width=-0.01 + 0.07 * side + 0.10 * n[10],
            nose_length=0.035 * n[11],
            mouth_width=0.02 + 0.06 * n[12],
            lips=-0.08 * side + 0.12 * n[13],
            brow_height=-0.0025 + 0.0175 * side + 0.02 * n[14],
            brow_weight=-0.12 + 0.18 * side + 0.12 * n[15],
            forehead=0.06 * n[3],
        ),
        skin=np.clip(_between(_SKINS, u[0] ** 1.15) + np.array([5.0 * n[0], 3.0 * n[1], 4.0 * n[2]]), 30.0, 252.0),
        hair=np.clip(hair * (1.0 + 0.12 * n[0]), 12.0, 235.0),
        iris=_IRISES[int(u[6] * (2 if dark_only else 5))] * (0.85 + 0.3 * u[8]),
        cloth=_CLOTHS[int(u[9] * len(_CLOTHS))] * (0.7 + 0.6 * u[10]),
        style=(_HERS if feminine else _HIS)[int(u[5] * 8)],
        volume=1.04 + 0.10 * u[11],
        beard=0.55 + 0.45 * u[12] if bearded and u[13] < 0.65 else 0.0,
        moustache=0.6 + 0.4 * u[12] if bearded else 0.0,
        glasses=0 if u[14] > 0.2 else 1 + int(u[14] > 0.1),
        age=old,
        make_up=u[15] if feminine else 0.0,
    )


_HERS = ("long", "long", "bob", "fringe", "bun", "curly", "parted", "scarf")
_HIS = ("short", "short", "short", "parted", "parted", "curly", "bald", "fringe")
_CLOTHS = np.array([
    (190, 60, 60), (60, 90, 150), (70, 120, 80), (40, 40, 46),
    (225, 222, 215), (150, 110, 160), (205, 160, 70), (90, 100, 110),
], float)  # fmt: skip


def _light(rng: np.random.Generator) -> Light:
    """Draw a light, mostly from above and from one side."""
    u = rng.random(4).tolist()
    return Light(x=1.5 * u[0] - 0.75, y=-0.75 + 0.75 * u[1], ambient=0.45 + 0.30 * u[2], shine=0.4 + 0.9 * u[3])


def _shot(rng: np.random.Generator) -> Shot:
    """Draw a camera: sharpness, noise, white balance and exposure."""
    u = rng.random(8).tolist()
    n = rng.standard_normal(3)
    warmth = np.array([0.045, 0.0, -0.065]) * (2.0 * u[6] - 0.9)
    gain = (1.0 + warmth + 0.012 * n) * (0.90 + 0.17 * u[0])
    return Shot(
        blur=0.10 + 0.15 * u[1] if u[2] < 0.6 else 0.0,
        noise=0.8 + 5.2 * u[3] ** 1.3,
        gain=gain,
        grey=u[5] < 0.06,
    )


def _within(value: float, bound: float) -> float:
    return max(-bound, min(bound, value))


def _between(stops: np.ndarray, t: float) -> np.ndarray:
    place = t * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    return np.asarray(stops[low] + (stops[low + 1] - stops[low]) * (place - low))
