"""Eyes, brows, nose, mouth and glasses: the parts with edges of their own.

In: a mesh and who, how expressed. Out: paint over planes of plain skin. Costs about 0.7 ms at 224 px.
"""

import math
from collections.abc import Sequence

import numpy as np

from ferdata.synth.face.brush import CLEAR, Overlay
from ferdata.synth.face.expression import Expression
from ferdata.synth.face.geometry import Camera, Mesh
from ferdata.synth.face.people import Person, Portrait

__all__ = ["paint_features"]


def paint_features(planes: Sequence[np.ndarray], mesh: Mesh, portrait: Portrait, camera: Camera) -> None:
    """Paint every feature on three float32 ``[H, W]`` planes of plain skin, in place.

    Args:
        planes: The skin layer, before light.
        mesh: Points of the face.
        portrait: Colours, teeth, gaze, and the side the light comes from.
        camera: Picture size and scale.
    """
    person = portrait.person
    box = _window(mesh, camera, person.glasses > 0)
    if box is None:
        return
    overlay = Overlay(box, 2 if camera.unit > 50 else 3, portrait.shot.gain)
    placed = mesh.moved((box[0], box[1]), overlay.scale)
    unit = camera.unit * overlay.scale
    up = np.array([math.sin(camera.roll), -math.cos(camera.roll)]) * unit
    for side in (0, 1):
        _paint_eye(overlay, placed, portrait, unit, up, side)
    _paint_brows(overlay, placed, person, unit)
    _paint_nose(overlay, placed, person, unit)
    _paint_mouth(overlay, placed, person, portrait.expression, unit)
    if person.glasses:
        _paint_glasses(overlay, placed, person, unit)
    overlay.blend(planes)


def _window(mesh: Mesh, camera: Camera, glasses: bool) -> tuple[int, int, int, int] | None:
    """Return the part of the picture that holds all features, None if it lies outside; arms of glasses reach far."""
    inside = mesh.landmarks if glasses else mesh.landmarks[17:]
    margin = 0.08 * camera.unit
    low, high = inside.min(axis=0).tolist(), inside.max(axis=0).tolist()
    left, top = max(0, int(low[0] - margin)), max(0, int(low[1] - margin))
    right, bottom = min(camera.width, int(high[0] + margin) + 1), min(camera.height, int(high[1] + margin) + 1)
    return (left, top, right, bottom) if right > left and bottom > top else None


def _paint_eye(overlay: Overlay, mesh: Mesh, portrait: Portrait, unit: float, up: np.ndarray, side: int) -> None:
    person = portrait.person
    upper, lower = mesh.curve("upper_lid", side), mesh.curve("lower_lid", side)
    overlay.polygon(np.concatenate([upper, lower]), overlay.ink(_EYE_WHITE))

    centre = (mesh.part("iris", side)[0] + portrait.pose.gaze * unit).tolist()
    radius = 0.118 * unit * (1.0 + person.proportions.eye_size)
    narrow = radius * math.cos(portrait.pose.yaw)
    overlay.ring(centre, narrow, radius, overlay.ink(person.iris), overlay.ink(person.iris * 0.42), 0.16 * radius)
    overlay.disc(centre, 0.42 * narrow, 0.42 * radius, (14, 12, 12, 255))
    spark = (centre[0] + math.copysign(0.045, portrait.light.x) * unit, centre[1] - 0.05 * unit)
    overlay.disc(spark, 0.026 * unit, 0.026 * unit, (250, 250, 250, 255))

    # The lids cover what of the iris lies outside the opening.
    above = np.stack([upper[-1] + 0.3 * up, upper[0] + 0.3 * up])
    below = np.stack([lower[-1] - 0.3 * up, lower[0] - 0.3 * up])
    overlay.polygon(np.concatenate([upper, above]), CLEAR)
    overlay.polygon(np.concatenate([lower, below]), CLEAR)
    lash = _LASH * (0.030 + 0.022 * person.make_up)
    overlay.polygon(
        np.concatenate([upper - 0.006 * up, (upper + lash * up)[::-1]]), overlay.ink(0.12 * person.hair + _LASH_BLACK)
    )
    overlay.polygon(np.concatenate([lower, (lower[1:-1] - 0.016 * up)[::-1]]), overlay.ink(person.skin * _RIM))


_EYE_WHITE = np.array([226.0, 221.0, 216.0])
_LASH_BLACK = np.array([14.0, 10.0, 10.0])
_RIM = np.array([0.66, 0.54, 0.52])
_LASH = np.append(np.linspace(0.55, 1.0, 11), [0.6, 0.4])[:, None]
"""Thickness of the lashes along the upper lid, from the nose outwards."""


def _feathered(overlay: Overlay, points: np.ndarray, colour: np.ndarray, ground: np.ndarray, rim: float) -> None:
    """Fill a polygon with a rim of a middle colour, so that its edge is soft as on skin."""
    out = np.sign(points - points.sum(axis=0) / len(points)) * rim
    overlay.polygon(points + out, overlay.ink(0.4 * colour + 0.6 * ground))
    overlay.polygon(points, overlay.ink(colour))


def _paint_brows(overlay: Overlay, mesh: Mesh, person: Person, unit: float) -> None:
    colour = 0.72 * np.minimum(person.hair, 150.0) + 0.18 * person.skin
    for side in (0, 1):
        outline = np.concatenate([mesh.curve("brow", side), mesh.curve("brow_under", side)[::-1]])
        _feathered(overlay, outline, colour, person.skin, 0.016 * unit)


def _paint_nose(overlay: Overlay, mesh: Mesh, person: Person, unit: float) -> None:
    base = mesh.curve("nose_base")
    under = np.concatenate([base, base[::-1] - (0.0, 0.035 * unit)])
    overlay.polygon(under, overlay.ink(person.skin * (0.86, 0.80, 0.79)))
    wing, rim, hole = (overlay.ink(person.skin * shade) for shade in _NOSE_SHADES)
    for side in (0, 1):
        outer = mesh.curve("wing", side)
        inner = outer[-2::-1] + np.array([(1 - 2 * side) * 0.035 * unit, 0.0])
        overlay.polygon(np.concatenate([outer, inner]), wing)
        centre = mesh.part("nostril", side)[0].tolist()
        overlay.disc(centre, 0.075 * unit, 0.038 * unit, rim)
        overlay.disc(centre, 0.055 * unit, 0.024 * unit, hole)


_NOSE_SHADES = np.array([(0.80, 0.72, 0.70), (0.66, 0.55, 0.53), (0.36, 0.27, 0.25)])


def _paint_mouth(overlay: Overlay, mesh: Mesh, person: Person, expression: Expression, unit: float) -> None:
    """Lips, and between them the opening with teeth and tongue, or the line where they meet."""
    natural = person.skin * (0.90, 0.66, 0.64)
    colour = natural + max(0.0, person.make_up - 0.4) * 1.2 * (_LIPSTICK - natural)
    outer, upper, lower = mesh.curve("lips"), mesh.curve("upper_lip"), mesh.curve("lower_lip")
    _feathered(overlay, outer, colour, person.skin, 0.014 * unit)
    overlay.polygon(np.concatenate([outer[:25], upper[::-1]]), overlay.ink(colour * 0.84))

    opening = float((lower[:, 1] - upper[:, 1]).max())
    dark = colour * (0.42, 0.32, 0.32)
    if opening > 0.035 * unit:
        overlay.polygon(np.concatenate([upper, lower[::-1]]), overlay.ink(_CAVITY))
        _paint_teeth(overlay, upper, lower, expression, unit)
        overlay.line(upper, overlay.ink(dark), 0.016 * unit)
    else:
        overlay.line((upper + lower) * 0.5, overlay.ink(dark), 0.028 * unit)


_LIPSTICK = np.array([176.0, 44.0, 58.0])


def _paint_teeth(overlay: Overlay, upper: np.ndarray, lower: np.ndarray, expression: Expression, unit: float) -> None:
    """Fill an open mouth from the top with teeth, from the bottom with teeth and the tongue above them."""
    above, below = upper[1:-1], lower[1:-1]
    gap = below[:, 1] - above[:, 1]
    top, bottom = expression["teeth"], expression["low_teeth"]
    down = np.minimum(top * 0.17 * unit * _ARCH, gap * (1.0 if bottom < 0.3 else 0.52))
    up = np.minimum(bottom * 0.13 * unit * _ARCH, gap - down)
    room = gap - down - up
    if room.max() > 0.09 * unit:
        tongue = np.minimum(0.13 * unit * (1.0 - _ALONG**2), room * 0.7)
        edge = _moved(below, -up)
        overlay.polygon(np.concatenate([edge, _moved(edge, -tongue)[::-1]]), overlay.ink(_TONGUE))
    # Light falls into a mouth only as far as it is open.
    shade = 0.62 + 0.38 * min(1.0, float(gap.max()) / (0.25 * unit))
    white, seam = overlay.ink(_TOOTH * shade), overlay.ink(_TOOTH * (0.86 * shade))
    for start, length in ((above, down), (below, -up)):
        if np.abs(length).max() > 0.02 * unit:
            edge = _moved(start, length)
            overlay.polygon(np.concatenate([start, edge[::-1]]), white)
            for place in range(2, len(start) - 2, 3):
                overlay.line(np.stack([start[place], edge[place]]), seam, 0.006 * unit)


_CAVITY = np.array([66.0, 22.0, 24.0])
_TONGUE = np.array([172.0, 84.0, 86.0])
_TOOTH = np.array([238.0, 232.0, 220.0])
_ALONG = np.linspace(-1.0, 1.0, 17)[1:-1]
_ARCH = 1.0 - 0.8 * _ALONG**2


def _moved(points: np.ndarray, down: np.ndarray) -> np.ndarray:
    moved = points.copy()
    moved[:, 1] += down
    return moved


def _paint_glasses(overlay: Overlay, mesh: Mesh, person: Person, unit: float) -> None:
    thick = person.glasses == 2
    colour = (34, 30, 32, 255) if thick else (120, 104, 84, 255)
    width = (0.045 if thick else 0.02) * unit
    for side in (0, 1):
        ring = mesh.curve("glass", side)
        overlay.line(np.concatenate([ring, ring[:2]]), colour, width)
        overlay.line(np.stack([mesh.part("glass", side)[3], mesh.part("ear", side)[0]]), colour, width)
    overlay.line(np.stack([mesh.part("glass", 0)[0], mesh.part("glass", 1)[0]]), colour, width)
