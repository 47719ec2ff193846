"""Where a portrait lands in a picture: cropped like AffectNet's faces, aligned like RAF-DB's, or in a photograph.

In: a portrait and a size. Out: a :class:`Camera`, and the face box a detector would find. Costs nothing to speak of.
"""

import numpy as np

from ferdata.synth.face.geometry import Camera
from ferdata.synth.face.people import Portrait

__all__ = ["BOX_UNITS", "aligned_camera", "crop_camera", "face_box", "photo_camera"]

BOX_UNITS = 2.35
"""Side of a face box in face units."""


def crop_camera(portrait: Portrait, size: int) -> Camera:
    """Frame a portrait as AffectNet's crops are: the face fills the square, loosely."""
    scale, across, down = (portrait.dice[:3] * 2.0 - 1.0).tolist()
    x, y = size * (0.5 + 0.03 * across), size * (0.42 + 0.03 * down)
    return _camera(portrait, size, size, size * 0.335 * (1.0 + 0.08 * scale), x, y)


def aligned_camera(portrait: Portrait, size: int) -> Camera:
    """Frame a portrait as RAF-DB's aligned images are: eyes level, always at the same place."""
    pose = portrait.pose
    x, y = size * 0.5 - 0.28 * np.sin(pose.yaw) * size, size * (0.40 - 0.22 * np.sin(pose.pitch))
    return _camera(portrait, size, size, size * 0.345, x, y, roll=0.0)


def photo_camera(portrait: Portrait, face: int) -> Camera:
    """Put a portrait in a photograph larger than the face.

    Args:
        portrait: Whose dice decide how much larger, and where the face is.
        face: Pixels; the face box is between 0.7 and 1.3 times as wide.
    """
    dice = portrait.dice[26:31].tolist()
    box = face * (0.7 + 0.6 * dice[0])
    width, height = round(box * (1.3 + 1.0 * dice[1])), round(box * (1.3 + 0.9 * dice[2]))
    # Some faces stand so close to an edge that their box reaches over it.
    x = box * 0.46 + (width - box * 0.92) * dice[3]
    y = box * 0.40 + (height - box * 0.98) * 0.8 * dice[4]
    return _camera(portrait, width, height, box / BOX_UNITS, x, y)


def face_box(landmarks: np.ndarray) -> tuple[int, int, int, int]:
    """Return x, y, width and height of the box a face detector would draw; it may reach over the picture's edges."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    side = 1.08 * max(high[0] - low[0], (high[1] - low[1]) * 1.12)
    x, y = (low[0] + high[0] - side) / 2, high[1] + 0.04 * side - side
    return round(float(x)), round(float(y)), round(float(side)), round(float(side))


def _camera(
    portrait: Portrait, width: int, height: int, unit: float, x: float, y: float, roll: float | None = None
) -> Camera:
    pose = portrait.pose
    roll = pose.roll if roll is None else roll
    unit, x, y = float(unit), float(x), float(y)
    return Camera(width=width, height=height, unit=unit, x=x, y=y, yaw=pose.yaw, pitch=pose.pitch, roll=roll)
