"""The face as numbers: where its points lie when it is at rest, and where each muscle pulls them.

In: nothing. Out: the template's points, their depth and the pulls, as tables. Computed once a process.

One unit is half the width of the head at the eyes; x points right in the image, y down, z towards the camera.
"""

import numpy as np

__all__ = ["DEPTH", "MOVES", "NUM_LANDMARKS", "SLICES", "TEMPLATE", "TWINS", "Move", "rows_of"]

NUM_LANDMARKS = 68

# Right half of the face (the image's right), by landmark number.
_LANDMARKS: dict[int, tuple[float, float]] = {
    8: (0.0, 1.50), 9: (0.27, 1.46), 10: (0.52, 1.34), 11: (0.72, 1.13), 12: (0.85, 0.87),
    13: (0.925, 0.60), 14: (0.97, 0.32), 15: (0.985, 0.03), 16: (1.0, -0.25),
    22: (0.20, -0.27), 23: (0.33, -0.345), 24: (0.48, -0.375), 25: (0.64, -0.345), 26: (0.78, -0.25),
    27: (0.0, -0.04), 28: (0.0, 0.13), 29: (0.0, 0.30), 30: (0.0, 0.46),
    33: (0.0, 0.61), 34: (0.10, 0.595), 35: (0.20, 0.555),
    42: (0.25, 0.025), 43: (0.37, -0.075), 44: (0.53, -0.08), 45: (0.675, -0.005), 46: (0.54, 0.07), 47: (0.38, 0.075),
    51: (0.0, 0.905), 52: (0.09, 0.89), 53: (0.22, 0.925), 54: (0.36, 0.98),
    55: (0.23, 1.055), 56: (0.10, 1.095), 57: (0.0, 1.10),
    62: (0.0, 0.977), 63: (0.12, 0.972), 64: (0.31, 0.98), 65: (0.12, 0.984), 66: (0.0, 0.988),
}  # fmt: skip
_MIRRORED = {
    **{j: 16 - j for j in range(9, 17)}, **{j: 43 - j for j in range(22, 27)}, 34: 32, 35: 31,
    42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67,
}  # fmt: skip
"""Landmark on the right -> its mirror image on the left."""

# Everything else that is drawn, right half; each also exists mirrored.
_PARTS: dict[str, tuple[tuple[float, float], ...]] = {
    "brow_under": ((0.20, -0.185), (0.33, -0.245), (0.48, -0.285), (0.64, -0.285), (0.78, -0.235)),
    "iris": ((0.46, -0.005),),
    "lid_fold": ((0.25, -0.03), (0.36, -0.145), (0.53, -0.155), (0.69, -0.06)),
    "bag": ((0.30, 0.13), (0.44, 0.175), (0.62, 0.13)),
    "cheek_fold": ((0.22, 0.50), (0.34, 0.66), (0.45, 0.86), (0.48, 1.02)),
    "dimple": ((0.42, 0.90), (0.45, 0.98), (0.42, 1.06)),
    "crow": ((0.74, -0.03), (0.88, -0.12), (0.74, 0.03), (0.90, 0.03), (0.73, 0.08), (0.87, 0.16)),
    "frown": ((0.07, -0.36), (0.075, -0.24), (0.045, -0.14)),
    "nose_line": ((0.05, -0.02), (0.13, 0.07), (0.04, 0.05), (0.15, 0.15), (0.05, 0.12), (0.15, 0.23)),
    "wing": ((0.175, 0.42), (0.215, 0.49), (0.20, 0.57), (0.15, 0.60)),
    "nostril": ((0.09, 0.585),),
    "nose_side": ((0.11, -0.05), (0.11, 0.15), (0.15, 0.38)),
    "cheek": ((0.56, 0.42),),
    "socket": ((0.36, -0.10),),
    "temple": ((0.86, -0.35),),
    "ear": ((1.0, -0.16), (1.10, -0.22), (1.14, -0.05), (1.09, 0.22), (1.02, 0.40), (0.97, 0.36)),
    "skull": ((1.02, -0.50), (0.98, -0.85), (0.82, -1.18), (0.47, -1.42)),
    "hairline": ((1.0, 0.05), (0.95, -0.40), (0.86, -0.68), (0.62, -0.88), (0.28, -0.96)),
    "glass": (
        (0.17, -0.07), (0.25, -0.20), (0.50, -0.23), (0.75, -0.19),
        (0.81, -0.02), (0.74, 0.19), (0.50, 0.25), (0.26, 0.20),
    ),
    "moustache": ((0.0, 0.70), (0.17, 0.73), (0.36, 0.93), (0.42, 1.04)),
    "chin_boss": ((0.17, 1.31),),
}  # fmt: skip
_CENTRE: dict[str, tuple[tuple[float, float], ...]] = {
    "crown": ((0.0, -1.50),),
    "forehead": ((0.0, -0.62),),
    "glabella": ((0.0, -0.25),),
    "under_nose": ((0.0, 0.68),),
    "under_lip": ((0.0, 1.19),),
    "chin_tip": ((0.0, 1.34),),
    "middle": ((0.0, 0.05),),
}
_FOREHEAD_LINES = tuple((x, y) for y in (-0.52, -0.64, -0.76) for x in (-0.52, -0.26, 0.0, 0.26, 0.52))

Move = dict[int | tuple[str, int], tuple[float, float]]
"""Landmark or (part, number), on the right half -> units outwards and down at full pull."""

MOVES: dict[str, Move] = {
    "brow_in": {
        22: (-0.02, -0.20), 23: (-0.02, -0.13), 24: (0.0, -0.045), 26: (0.0, 0.03), ("brow_under", 0): (-0.02, -0.19),
        ("brow_under", 1): (-0.02, -0.12), ("brow_under", 2): (0.0, -0.04), ("brow_under", 4): (0.0, 0.03),
        ("lid_fold", 1): (0.0, -0.03),
    },
    "brow_out": {
        22: (0.0, -0.02), 23: (0.0, -0.07), 24: (0.0, -0.14), 25: (0.0, -0.17), 26: (0.0, -0.10),
        ("brow_under", 0): (0.0, -0.02), ("brow_under", 1): (0.0, -0.07), ("brow_under", 2): (0.0, -0.14),
        ("brow_under", 3): (0.0, -0.17), ("brow_under", 4): (0.0, -0.10),
    },
    "brow_low": {
        22: (-0.07, 0.14), 23: (-0.05, 0.105), 24: (-0.02, 0.06), 25: (0.0, 0.02), ("brow_under", 0): (-0.06, 0.13),
        ("brow_under", 1): (-0.05, 0.10), ("brow_under", 2): (-0.02, 0.06), ("brow_under", 3): (0.0, 0.025),
        ("lid_fold", 1): (0.0, 0.05), ("lid_fold", 2): (0.0, 0.04),
    },
    "lid_up": {
        43: (0.0, -0.075), 44: (0.0, -0.075), 46: (0.0, 0.02), 47: (0.0, 0.02), ("lid_fold", 1): (0.0, -0.05),
        ("lid_fold", 2): (0.0, -0.05),
    },
    "lid_tight": {43: (0.0, 0.025), 44: (0.0, 0.03), 46: (0.0, -0.035), 47: (0.0, -0.035)},
    "lid_droop": {
        43: (0.0, 0.055), 44: (0.0, 0.065), 45: (0.0, 0.015), ("lid_fold", 1): (0.0, 0.03),
        ("lid_fold", 2): (0.0, 0.04), ("iris", 0): (0.0, 0.015),
    },
    "cheek": {46: (0.0, -0.035), 47: (0.0, -0.03), ("cheek", 0): (0.02, -0.09), ("bag", 1): (0.0, -0.03)},
    "nose": {
        34: (0.02, -0.06), 35: (0.035, -0.08), 33: (0.0, -0.05), 30: (0.0, -0.03), 22: (-0.02, 0.05), 23: (0.0, 0.03),
        50: (0.0, -0.05), 52: (0.0, -0.05), 53: (0.0, -0.05), 51: (0.0, -0.04), ("wing", 0): (0.03, -0.06),
        ("wing", 1): (0.04, -0.08), ("wing", 2): (0.04, -0.08), ("wing", 3): (0.03, -0.07),
        ("nostril", 0): (0.02, -0.06), ("cheek_fold", 0): (0.03, -0.10), 46: (0.0, -0.015), 47: (0.0, -0.02),
        43: (0.0, 0.01), 44: (0.0, 0.01),
    },
    "upper_lip": {
        51: (0.0, -0.085), 52: (0.01, -0.11), 53: (0.03, -0.10), 54: (0.02, -0.02), 62: (0.0, -0.085),
        63: (0.01, -0.10), 35: (0.02, -0.02), 64: (0.02, -0.02), ("cheek_fold", 0): (0.02, -0.05),
        ("cheek_fold", 1): (0.04, -0.06),
    },
    "smile": {
        51: (0.0, 0.03), 52: (0.02, 0.025), 53: (0.09, -0.05), 54: (0.17, -0.16), 55: (0.11, -0.05), 56: (0.04, 0.01),
        57: (0.0, 0.02), 62: (0.0, 0.035), 63: (0.05, 0.015), 64: (0.15, -0.14), 65: (0.05, 0.015), 66: (0.0, 0.03),
        35: (0.03, -0.02), 12: (0.02, 0.0), 11: (0.02, 0.0), ("cheek_fold", 1): (0.08, -0.02),
        ("cheek_fold", 2): (0.13, -0.06), ("cheek_fold", 3): (0.12, -0.03), ("dimple", 0): (0.15, -0.13),
        ("dimple", 1): (0.15, -0.14), ("dimple", 2): (0.13, -0.13), ("cheek", 0): (0.03, -0.05),
        ("moustache", 2): (0.1, -0.05), ("moustache", 3): (0.13, -0.12),
    },
    "dimple": {
        53: (0.04, -0.03), 54: (0.11, -0.10), 55: (0.05, -0.04), 64: (0.10, -0.10), ("dimple", 0): (0.10, -0.09),
        ("dimple", 1): (0.11, -0.09),
        ("dimple", 2): (0.10, -0.09), ("cheek_fold", 2): (0.06, -0.02), ("cheek_fold", 3): (0.06, -0.02),
    },
    "corner_down": {
        52: (0.0, -0.01), 53: (0.01, 0.045), 54: (0.0, 0.14), 55: (0.0, 0.055), 63: (0.0, 0.005), 64: (0.0, 0.13),
        65: (0.0, 0.01), 51: (0.0, -0.015), 62: (0.0, -0.02), 66: (0.0, -0.02), 57: (0.0, -0.01),
        ("cheek_fold", 3): (0.0, 0.05), ("dimple", 1): (0.0, 0.1), ("dimple", 2): (0.0, 0.14),
        ("moustache", 3): (0.0, 0.1),
    },
    "chin": {
        55: (0.0, -0.025), 56: (0.0, -0.04), 57: (0.0, -0.045), 66: (0.0, -0.02), 62: (0.0, -0.02), 8: (0.0, -0.03),
        51: (0.0, -0.015),
    },
    "stretch": {
        53: (0.06, 0.03), 54: (0.15, 0.05), 55: (0.10, 0.02), 64: (0.14, 0.05), 63: (0.05, 0.0), 65: (0.06, 0.02),
        52: (0.01, 0.02), 51: (0.0, 0.02), ("cheek_fold", 3): (0.1, 0.03), ("dimple", 1): (0.13, 0.05),
    },
    "press": {
        51: (0.0, 0.045), 52: (0.0, 0.052), 53: (0.0, 0.03), 55: (0.0, -0.03), 56: (0.0, -0.055), 57: (0.0, -0.06),
    },
    "part": {
        55: (0.0, 0.04), 56: (0.0, 0.085), 57: (0.0, 0.09), 65: (0.0, 0.10), 66: (0.0, 0.105), 62: (0.0, -0.015),
        63: (0.0, -0.015), 51: (0.0, -0.01), 52: (0.0, -0.01),
    },
    "jaw": {
        53: (-0.01, -0.005), 54: (-0.03, 0.10), 55: (-0.01, 0.24), 56: (0.0, 0.33), 57: (0.0, 0.345), 64: (-0.03, 0.10),
        65: (0.0, 0.30), 66: (0.0, 0.33), 8: (0.0, 0.26), 9: (0.0, 0.25), 10: (-0.01, 0.20), 11: (-0.02, 0.11),
        12: (-0.02, 0.04), ("under_lip", 0): (0.0, 0.32), ("chin_tip", 0): (0.0, 0.28), ("chin_boss", 0): (0.0, 0.28),
        ("cheek_fold", 3): (0.0, 0.08), ("moustache", 3): (-0.02, 0.1),
    },
    "round": {
        53: (-0.05, -0.02), 54: (-0.11, 0.01), 55: (-0.06, 0.03), 64: (-0.09, 0.01), 63: (-0.01, -0.01),
        65: (-0.01, 0.02), 57: (0.0, 0.03), 56: (0.0, 0.03), 51: (0.0, -0.03), 52: (0.0, -0.03),
        ("cheek_fold", 3): (-0.06, 0.0),
    },
    "teeth": {},
    "low_teeth": {},
}  # fmt: skip


def _assemble() -> tuple[np.ndarray, dict[tuple[str, int], tuple[int, int]], list[int]]:
    """Lay out all points: landmarks, then parts left and right, then the middle; with the mirror twin of each."""
    points = np.zeros((NUM_LANDMARKS, 2))
    twins = list(range(NUM_LANDMARKS))
    for number, place in _LANDMARKS.items():
        points[number] = place
        twin = _MIRRORED.get(number, number)
        points[twin] = (-place[0] if twin != number else place[0], place[1])
        twins[number], twins[twin] = twin, number
    slices: dict[tuple[str, int], tuple[int, int]] = {}
    rows = points.tolist()
    for name, places in _PARTS.items():
        for side, sign in ((0, -1.0), (1, 1.0)):
            slices[name, side] = (len(rows), len(rows) + len(places))
            other = len(places) if side == 0 else -len(places)
            twins += [len(rows) + i + other for i in range(len(places))]
            rows += [[sign * x, y] for x, y in places]
    for name, places in [*_CENTRE.items(), ("forehead_lines", _FOREHEAD_LINES)]:
        slices[name, 1] = (len(rows), len(rows) + len(places))
        twins += range(len(rows), len(rows) + len(places))
        rows += [list(place) for place in places]
    return np.array(rows), slices, twins


def rows_of(*names: str, sides: tuple[int, ...] = (0, 1)) -> list[int]:
    """Return the rows of ``TEMPLATE`` that hold these parts, left side first; the middle line counts as right."""
    return [i for name in names for side in sides if (name, side) in SLICES for i in range(*SLICES[name, side])]


TEMPLATE, SLICES, TWINS = _assemble()
"""float ``[N, 2]``, landmarks first; (part, side) -> its rows; the row of each point's mirror image."""


def _surface(flat: np.ndarray) -> np.ndarray:
    """Depth of the front of the head at flat points."""
    x, y = flat.T
    return np.asarray(0.85 * np.sqrt(np.maximum(0.01, 1.0 - (x / 1.10) ** 2 - ((y - 0.15) / 2.1) ** 2)))


def _depths() -> np.ndarray:
    depth = _surface(TEMPLATE)
    depth[:17] = [0.12, 0.14, 0.17, 0.22, 0.28, 0.38, 0.50, 0.60, 0.64, 0.60, 0.50, 0.38, 0.28, 0.22, 0.17, 0.14, 0.12]
    depth[27:31] += (0.02, 0.08, 0.18, 0.28)
    depth[31:36] += (0.05, 0.12, 0.16, 0.12, 0.05)
    depth[48:68] += 0.04
    depth[rows_of("wing", "nostril")] += 0.08
    depth[rows_of("nose_side")] += 0.04
    depth[rows_of("ear")] = -0.2
    depth[rows_of("skull", "crown")] = 0.05
    depth[rows_of("glass")] += 0.08
    return depth


DEPTH = _depths()
"""float ``[N]``."""
