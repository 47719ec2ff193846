"""Outlines of head, hair, neck and clothes, from back to front.

In: a mesh and a person. Out: polygons for the three masks skin, hair and cloth. Costs about 50 µs.
"""

import math

import numpy as np

from ferdata.synth.face.curves import smooth
from ferdata.synth.face.geometry import Camera, Mesh
from ferdata.synth.face.people import Person

__all__ = ["CLOTH", "HAIR", "SKIN", "neck_outline", "outlines"]

SKIN, HAIR, CLOTH = 0, 1, 2


def outlines(mesh: Mesh, person: Person, camera: Camera) -> list[tuple[int, np.ndarray]]:
    """Return layer and polygon of every large shape, from back to front.

    Args:
        mesh: Points of the face.
        person: Hair style and volume.
        camera: Scale and lean of the head.
    """
    frame = _Frame(camera)
    skull = np.concatenate([mesh.part("skull"), mesh.part("crown"), mesh.part("skull", 0)[::-1]])
    cover = HAIR if person.style != "scarf" else CLOTH
    shapes: list[tuple[int, np.ndarray]] = []
    shapes += [(cover, points) for points in _back(person, frame)]
    shapes.append((SKIN, neck_outline(camera)))
    shapes += [(CLOTH, points) for points in _clothes(person, frame)]
    covered = person.style in ("long", "bob", "scarf")
    if not covered:
        shapes += [(SKIN, mesh.curve("ear", side)) for side in (0, 1)]
    shapes.append((SKIN, mesh.curve("head")))
    if person.style != "bald":
        shapes.append((cover, _cap(mesh, skull, person, frame)))
    return shapes


def neck_outline(camera: Camera) -> np.ndarray:
    """Return float ``[n, 2]``: the neck, which leans less than the head."""
    return _Frame(camera).place(
        [(-0.62, 0.75), (0.62, 0.75), (0.60, 1.6), (0.80, 2.05), (1.9, 2.4), (-1.9, 2.4), (-0.80, 2.05), (-0.60, 1.6)]
    )


class _Frame:
    """Flat coordinates that move and lean with the head but do not turn with it."""

    def __init__(self, camera: Camera) -> None:
        cos, sin = math.cos(0.6 * camera.roll) * camera.unit, math.sin(0.6 * camera.roll) * camera.unit
        self._axes = np.array([(cos, sin), (-sin, cos)])
        self._origin = np.array([camera.x, camera.y])

    def place(self, points: list[tuple[float, float]] | np.ndarray) -> np.ndarray:
        return np.asarray(self._origin + np.asarray(points, float) @ self._axes)

    def down(self, units: np.ndarray) -> np.ndarray:
        """Return float ``[n, 2]``, steps down the face of float ``[n, 1]`` units."""
        return np.asarray(units * self._axes[1])


def _back(person: Person, frame: _Frame) -> list[np.ndarray]:
    """Hair or cloth behind the head."""
    swell = person.volume + 0.08
    if person.style in ("long", "scarf"):
        low = 2.5 if person.style == "long" else 1.9
        side = [(0.0, -1.62), (0.62, -1.48), (1.04, -1.05), (1.20, -0.4), (1.22, 0.5), (1.25, 1.4), (1.10, low)]
    elif person.style == "bob":
        side = [(0.0, -1.62), (0.62, -1.48), (1.06, -1.05), (1.24, -0.3), (1.30, 0.5), (1.22, 1.15), (0.75, 1.3)]
    elif person.style == "curly":
        turns = np.linspace(0.0, 2 * np.pi, 29)[:-1]
        radius = 1.0 + 0.05 * np.sin(turns * 9 + 7 * person.volume) + 0.03 * np.sin(turns * 14)
        ring = np.stack([np.sin(turns) * 1.28 * radius, -0.45 - np.cos(turns) * 1.30 * radius], 1) * (swell, swell)
        return [smooth(frame.place(ring), closed=True)]
    elif person.style == "bun":
        turns = np.linspace(0.0, 2 * np.pi, 13)[:-1]
        return [smooth(frame.place(np.stack([np.sin(turns) * 0.42, -1.68 - np.cos(turns) * 0.36], 1)), closed=True)]
    else:
        return []
    points = np.array(side) * (swell, 1.0)
    mirrored = points[:0:-1] * (-1.0, 1.0)
    return [smooth(frame.place(np.concatenate([points, mirrored])), closed=True)]


def _clothes(person: Person, frame: _Frame) -> list[np.ndarray]:
    low = 2.12 + 0.3 * person.make_up
    neckline = [(0.62, 1.95), (0.30, low), (-0.30, low), (-0.62, 1.95)]
    left = [(-0.80, 1.90), (-1.5, 2.12), (-2.1, 2.5), (-2.4, 5.0)]
    shirt = frame.place([*left, *((-x, y) for x, y in reversed(left)), *neckline])
    if person.style != "scarf":
        return [shirt]
    return [shirt, frame.place([(-1.05, 0.3), (1.05, 0.3), (1.15, 1.5), (1.4, 2.3), (-1.4, 2.3), (-1.15, 1.5)])]


def _cap(mesh: Mesh, skull: np.ndarray, person: Person, frame: _Frame) -> np.ndarray:
    """Hair on top of the head, down to the hairline."""
    centre = frame.place([(0.0, -0.25)])
    outer = centre + (skull - centre) * person.volume
    right, left = mesh.part("hairline", 1), mesh.part("hairline", 0)
    line = np.concatenate([left, right[::-1]])
    line = line + frame.down(_DROPS[person.style])
    if person.style in ("long", "bob", "scarf"):
        low = 1.3 if person.style != "bob" else 1.0
        sides = frame.place([(-1.1, low), (-1.3, low), (1.3, low), (1.1, low)])
        return np.concatenate([sides[:1], smooth(line), sides[3:2:-1], sides[2:3], smooth(outer), sides[1:2]])
    return np.concatenate([smooth(line), smooth(outer)])


# Distance of the hairline below its natural place, in units, from the left temple to the right one.
_DROPS = {
    name: np.array(drop)[:, None]
    for name, drop in {
        "short": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "parted": (0.0, 0.05, 0.12, 0.06, -0.06, -0.12, 0.02, 0.10, 0.05, 0.0),
        "fringe": (0.1, 0.05, 0.24, 0.38, 0.42, 0.42, 0.38, 0.24, 0.05, 0.1),
        "long": (0.5, 0.17, 0.14, 0.08, -0.03, -0.03, 0.08, 0.14, 0.17, 0.5),
        "bob": (0.6, 0.15, 0.25, 0.36, 0.38, 0.30, 0.10, 0.05, 0.15, 0.6),
        "curly": (0.1, 0.0, 0.03, -0.03, 0.04, -0.03, 0.03, -0.02, 0.04, 0.1),
        "bun": (-0.1, -0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.02, -0.1),
        "scarf": (1.2, 0.15, 0.12, 0.14, 0.16, 0.16, 0.14, 0.12, 0.15, 1.2),
    }.items()
}
