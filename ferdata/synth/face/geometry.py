"""A person's face under an expression, seen by a camera.

In: proportions, pulls and a camera. Out: image points and curves by name, the 68 landmarks first. Costs about 80 µs.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from ferdata.synth.face.curves import CURVE_POINTS, CURVE_SLICES, CURVE_WEIGHTS
from ferdata.synth.face.expression import ACTIONS
from ferdata.synth.face.template import DEPTH, MOVES, NUM_LANDMARKS, SLICES, TEMPLATE, TWINS, rows_of

__all__ = ["Camera", "Mesh", "Proportions", "build_mesh", "point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportions:
    """How one person's face differs from the template: shares of a size (0.1 is a tenth more) or shifts in units."""

    width: float = 0.0
    jaw: float = 0.0
    chin: float = 0.0
    eye_size: float = 0.0
    eye_gap: float = 0.0
    eye_tilt: float = 0.0
    nose_width: float = 0.0
    nose_length: float = 0.0
    mouth_width: float = 0.0
    lips: float = 0.0
    brow_height: float = 0.0
    brow_weight: float = 0.0
    forehead: float = 0.0

    def weights(self) -> tuple[float, ...]:
        """Return all values in the order of the fields."""
        return tuple([getattr(self, name) for name in self.__slots__])


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where a head is seen from, and where in the picture it lands.

    Attributes:
        width: Pixels across.
        height: Pixels down.
        unit: Pixels a face unit.
        x: Column of the point between the eyes.
        y: Row of the point between the eyes.
        yaw: Radians; positive turns the face to the image's right.
        pitch: Radians; positive looks down.
        roll: Radians; positive leans clockwise.
    """

    width: int
    height: int
    unit: float
    x: float
    y: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def project(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return float ``[N, 2]`` image points of ``N`` points in space."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, z = x * cos + z * sin, z * cos - x * sin
        cos, sin = math.cos(self.pitch), math.sin(self.pitch)
        y, z = y * cos + z * sin, z * cos - y * sin
        # Weak perspective: what is nearer is larger, as with a portrait lens.
        near = self.unit / (1.0 - 0.07 * z)
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        points = np.empty((len(x), 2))
        points[:, 0] = self.x + (x * cos - y * sin) * near
        points[:, 1] = self.y + (x * sin + y * cos) * near
        return points


class Mesh:
    """Projected points of one face, and the smooth curves through them, by name and side (0 is the image's left)."""

    def __init__(self, points: np.ndarray, curves: np.ndarray | None = None) -> None:
        self.points = points
        self.landmarks = points[:NUM_LANDMARKS]
        self.curves = (
            np.einsum("mk,mkc->mc", CURVE_WEIGHTS, points.take(CURVE_POINTS, axis=0)) if curves is None else curves
        )

    def part(self, name: str, side: int = 1) -> np.ndarray:
        """Return float ``[n, 2]``: the points of a part, in template order."""
        start, stop = SLICES[name, side]
        return self.points[start:stop]

    def curve(self, name: str, side: int = 1) -> np.ndarray:
        """Return float ``[m, 2]``: a curve, closed ones without repeating their first point."""
        start, stop = CURVE_SLICES[name, side]
        return self.curves[start:stop]

    def moved(self, origin: tuple[float, float], scale: float) -> "Mesh":
        """Return the mesh in coordinates that start at ``origin`` and are ``scale`` times finer."""
        return Mesh((self.points - origin) * scale, (self.curves - origin) * scale)


def build_mesh(proportions: Proportions, pulls: np.ndarray, camera: Camera) -> Mesh:
    """Return the image points of a person's face under an expression.

    Args:
        proportions: The person.
        pulls: float ``[len(ACTIONS), 2]``, left and right pull of every action.
        camera: Pose and place in the picture.
    """
    # Persons and expressions are both weighted sums of displacements, so one product does them together.
    weights = np.concatenate([proportions.weights(), pulls[:, 0], pulls[:, 1]])
    x, y = TEMPLATE.T + (np.einsum("w,wn->n", weights, _BASIS)).reshape(2, -1)
    y[_UPPER_LID] = np.minimum(y[_UPPER_LID], y[_LOWER_LID] - 0.02)
    inner = y[_UPPER_LIP]
    y[_LOWER_LIP] = lower = np.maximum(y[_LOWER_LIP], inner + 0.004)
    y[_LOWER_EDGE] = np.maximum(y[_LOWER_EDGE], lower + 0.045)
    y[_UPPER_EDGE] = np.minimum(y[_UPPER_EDGE], inner - 0.03)
    return Mesh(camera.project(x, y, DEPTH))


def point(name: str, side: int = 1, number: int = 0) -> int:
    """Return where in :attr:`Mesh.points` one point of a part is."""
    return SLICES[name, side][0] + number


_OUTLINE = [*range(17), *rows_of("ear", "chin_boss", "chin_tip")]
_ABOVE = rows_of("skull", "crown", "hairline", "forehead_lines", "forehead")
_EYE_R = [*range(42, 48), *rows_of("iris", "lid_fold", "bag", "socket", sides=(1,))]
_EYE_L = [*range(36, 42), *rows_of("iris", "lid_fold", "bag", "socket", sides=(0,))]
_NOSE = [*range(27, 36), *rows_of("wing", "nostril", "nose_side", "under_nose", "nose_line")]
_MOUTH = [*range(48, 68)]
_BROW_TOP = [*range(17, 22), *range(22, 27)]
_BROW_UNDER = [*reversed(rows_of("brow_under", sides=(0,))), *rows_of("brow_under", sides=(1,))]
_UPPER_LID, _LOWER_LID = [37, 38, 43, 44], [41, 40, 47, 46]
_UPPER_LIP, _LOWER_LIP = [61, 62, 63], [67, 66, 65]
_UPPER_EDGE, _LOWER_EDGE = [50, 51, 52], [58, 57, 56]


def _person_moves() -> dict[str, np.ndarray]:
    """Return what each proportion does to every point at a value of 1, float ``[2, points]``."""
    x, y = TEMPLATE.T
    moves = {field.name: np.zeros((2, len(x))) for field in fields(Proportions)}
    moves["width"][0] = x
    moves["jaw"][0, _OUTLINE] = (x * np.clip((y - 0.3) / 1.2, 0.0, 1.0))[_OUTLINE]
    moves["chin"][1] = np.clip((y - 1.0) / 0.5, 0.0, 1.2)
    for rows, sign in ((_EYE_R, 1.0), (_EYE_L, -1.0)):
        moves["eye_size"][0, rows] = x[rows] - sign * 0.46
        moves["eye_size"][1, rows] = y[rows]
        moves["eye_gap"][0, rows] = sign
        moves["eye_tilt"][1, rows] = -(x[rows] * sign - 0.46)
    moves["nose_width"][0, _NOSE] = x[_NOSE]
    moves["nose_length"][1, _NOSE] = np.clip(y[_NOSE] / 0.6, 0.0, 1.1)
    moves["nose_length"][1, _MOUTH] = 0.6
    moves["mouth_width"][0, _MOUTH] = x[_MOUTH]
    moves["lips"][1, _MOUTH] = y[_MOUTH] - 0.98
    moves["brow_height"][1, _BROW_TOP + _BROW_UNDER] = 1.0
    moves["brow_weight"][1, _BROW_UNDER] = y[_BROW_UNDER] - y[_BROW_TOP]
    moves["forehead"][1, _ABOVE] = np.clip((-0.4 - y[_ABOVE]) / 0.6, 0.0, 1.5)
    return moves


def _action_moves(side: int) -> list[np.ndarray]:
    """Return what each action does when pulled on one side, float ``[2, points]``; the middle line takes half."""
    moves = []
    share = np.clip(0.5 + (2 * side - 1) * TEMPLATE[:, 0] * 1e6, 0.0, 1.0)
    for action in ACTIONS:
        move = np.zeros((2, len(TEMPLATE)))
        for where, (out, down) in MOVES[action].items():
            point = where if isinstance(where, int) else SLICES[where[0], 1][0] + where[1]
            twin = TWINS[point]
            move[:, point] = (out, down)
            move[:, twin] = (-out if twin != point else out, down)
        moves.append(move)
    lines = slice(*SLICES["forehead_lines", 1])
    moves[ACTIONS.index("brow_in")][1, lines] = -0.05
    moves[ACTIONS.index("brow_out")][1, lines] = -0.06
    return [move * share for move in moves]


def _basis() -> np.ndarray:
    """All displacements, float64 ``[weights, 2 * points]``: proportions, actions on the left, actions on the right."""
    moves = [*_person_moves().values(), *_action_moves(0), *_action_moves(1)]
    return np.stack([move.ravel() for move in moves])


_BASIS = _basis()
