"""A film of one drawn person whose expression changes on a known timeline, as a test of what reads films.

In: classes and a seed. Out: frames, each with what it shows. Costs about 15 ms a frame at 640 x 480.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from ferdata.errors import OptionError
from ferdata.synth.face.face import NO_FACE, render
from ferdata.synth.face.framing import BOX_UNITS, face_box
from ferdata.synth.face.geometry import Camera
from ferdata.synth.face.people import Portrait, sample_portrait

__all__ = ["FilmFrame", "draw_film"]

_KEY_SECONDS = 0.4
"""An expression moves from one way to show it to the next in this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmFrame:
    """One frame.

    Attributes:
        image: In RGB.
        seconds: When it is shown.
        label: What the face shows.
        box: ``(x, y, width, height)`` of the face, as a detector would draw it.
    """

    image: Image.Image
    seconds: float
    label: int
    box: tuple[int, int, int, int]


def draw_film(
    labels: Sequence[int],
    seed: int,
    *,
    size: tuple[int, int] = (640, 480),
    frames_per_second: float = 25,
    seconds_each: float = 1.0,
    face: float = 0.4,
) -> Iterator[FilmFrame]:
    """Draw a person who shows one expression after the other, moving about; a pure function of its arguments.

    Args:
        labels: AffectNet ids 0..9, in the order in which they are shown.
        seed: Who it is, and how each expression is shown; at least 0.
        size: Width and height of the frames.
        frames_per_second: Their rate.
        seconds_each: How long each expression is shown; from one to the next it jumps.
        face: Height of the face's box as a share of the frame's.

    Raises:
        OptionError: If a label is another one.

    Example:
        >>> frames = list(draw_film([1, 3], 0, size=(160, 120), frames_per_second=5))
        >>> [frame.label for frame in frames]
        [1, 1, 1, 1, 1, 3, 3, 3, 3, 3]
    """
    for label in labels:
        if not 0 <= label < NO_FACE:
            raise OptionError(f"labels: {label} found, expected AffectNet ids from 0 to {NO_FACE - 1}")
    rest = sample_portrait(0, seed)
    for number in range(round(len(labels) * seconds_each * frames_per_second)):
        seconds = number / frames_per_second
        place = min(int(seconds / seconds_each + 1e-9), len(labels) - 1)
        portrait = _showing(rest, labels[place], seed, seconds - place * seconds_each)
        drawn = render(portrait, _camera(rest, size, face, seconds))
        yield FilmFrame(image=drawn.image, seconds=seconds, label=labels[place], box=face_box(drawn.landmarks))


def _showing(rest: Portrait, label: int, seed: int, since: float) -> Portrait:
    """Return the person with an expression, between two ways of showing it."""
    key, share = divmod(max(0.0, since) / _KEY_SECONDS, 1.0)
    one, other = (sample_portrait(label, 1000 * seed + int(key) + step).expression for step in (0, 1))
    return replace(rest, label=label, expression=replace(one, pulls=(1 - share) * one.pulls + share * other.pulls))


def _camera(portrait: Portrait, size: tuple[int, int], face: float, seconds: float) -> Camera:
    """Look at a head that sways, a third of the frame to and fro in eight seconds."""
    width, height = size
    phase, pose = 2 * math.pi * seconds / 8, portrait.pose
    return Camera(
        width=width,
        height=height,
        unit=height * face / BOX_UNITS,
        x=width * (0.5 + 0.16 * math.sin(phase)),
        y=height * (0.45 + 0.03 * math.sin(2 * phase)),
        yaw=pose.yaw + 0.1 * math.sin(phase),
        pitch=pose.pitch,
        roll=pose.roll + 0.06 * math.sin(1.7 * phase),
    )
