"""Smooth curves through the points of a face: Catmull-Rom splines as fixed weights.

In: control points. Out: weights that turn them into curves. The curves of a face are computed together, in about 30 µs.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

from ferdata.synth.face.template import rows_of

__all__ = ["CURVE_POINTS", "CURVE_SLICES", "CURVE_WEIGHTS", "smooth"]


def smooth(points: np.ndarray, *, closed: bool = False, steps: int = 4) -> np.ndarray:
    """Return float ``[m, 2]``: a smooth curve through float ``[n, 2]`` points, ``steps`` pieces between neighbours."""
    return np.asarray(_spline(len(points), closed, steps) @ points)


@cache
def _spline(num_points: int, closed: bool, steps: int) -> np.ndarray:
    """Catmull-Rom weights, float ``[m, num_points]``."""
    weights = np.zeros((num_points * steps if closed else (num_points - 1) * steps + 1, num_points))
    for row, (numbers, factors) in enumerate(_weights_of(num_points, closed, steps)):
        np.add.at(weights[row], numbers, factors)
    return weights


def _weights_of(num_points: int, closed: bool, steps: int) -> Iterator[tuple[list[int], list[float]]]:
    """Yield the four control points of every place on a curve and their weights."""
    places = range(num_points * steps if closed else (num_points - 1) * steps + 1)
    for place in places:
        segment, t = divmod(place / steps, 1.0)
        factors = (-t + 2 * t * t - t**3, 2 - 5 * t * t + 3 * t**3, t + 4 * t * t - 3 * t**3, -t * t + t**3)
        numbers = [int(segment) + shift for shift in (-1, 0, 1, 2)]
        numbers = [n % num_points if closed else min(max(n, 0), num_points - 1) for n in numbers]
        yield numbers, [factor / 2 for factor in factors]


def _curves() -> Iterator[tuple[str, int, list[int], bool, int]]:
    """Yield every curve that is drawn: name, side, rows of its control points, closed, pieces between neighbours."""
    right = list(range(22, 27)), [42, 43, 44, 45], [45, 46, 47, 42]
    left = list(range(21, 16, -1)), [39, 38, 37, 36], [36, 41, 40, 39]
    for side, (brow, upper, lower) in enumerate((left, right)):
        yield "brow", side, brow, False, 3
        yield "upper_lid", side, upper, False, 4
        yield "lower_lid", side, lower, False, 4
        for name in ("brow_under", "wing", "cheek_fold", "dimple", "lid_fold", "bag"):
            yield name, side, rows_of(name, sides=(side,)), False, 3
        yield "ear", side, rows_of("ear", sides=(side,)), True, 3
        yield "glass", side, rows_of("glass", sides=(side,)), True, 3
    skull = [*rows_of("skull", sides=(1,)), *rows_of("crown"), *reversed(rows_of("skull", sides=(0,)))]
    yield "head", 1, [*range(17), *skull], True, 3
    yield "nose_base", 1, list(range(31, 36)), False, 3
    yield "lips", 1, list(range(48, 60)), True, 4
    yield "upper_lip", 1, list(range(60, 65)), False, 4
    yield "lower_lip", 1, [60, 67, 66, 65, 64], False, 4
    lines = rows_of("forehead_lines")
    for number in range(3):
        yield "forehead_line", number, lines[number * 5 : number * 5 + 5], False, 2


def _curve_table() -> tuple[np.ndarray, np.ndarray, dict[tuple[str, int], tuple[int, int]]]:
    points: list[list[int]] = []
    weights: list[list[float]] = []
    slices: dict[tuple[str, int], tuple[int, int]] = {}
    for name, side, controls, closed, steps in _curves():
        start = len(points)
        for numbers, factors in _weights_of(len(controls), closed, steps):
            points.append([controls[number] for number in numbers])
            weights.append(factors)
        slices[name, side] = (start, len(points))
    return np.array(points), np.array(weights), slices


CURVE_POINTS, CURVE_WEIGHTS, CURVE_SLICES = _curve_table()
"""Four control points of every place on every curve; their weights; (curve, side) -> its places."""
