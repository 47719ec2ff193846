"""Names beside what they name, where nothing crosses them: at the ends of lines, and at points.

In: axes whose limits and scales are final. Out: texts on them. Costs a layout of the figure without drawing it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from ferdata.training.report.style import SMALL

__all__ = ["label_ends", "label_points"]

_LINE_HEIGHT = 1.25
_MARK_RADIUS = 4.0
"""Points around the middle of a mark that no name touches."""
_SPACE = np.array([-5, -1, 5, 1])
"""Pixels between two names."""
_ANGLES = np.radians([0, 22, -22, 45, -45, 67, -67, 90, -90, 180, 158, -158, 135, -135, 113, -113])
_PLACES = [(float(angle), radius) for radius in (5.5, 11.0, 17.0, 24.0, 32.0, 42.0) for angle in _ANGLES]
"""Where a name may stand: in which direction from its point, and how many points away."""


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, float, str]], *, size: float = SMALL) -> None:
    """Write each name to the right of where its line ends, in its colour; what would touch is moved apart.

    Args:
        axes: Of the lines.
        ends: Name, x and y of the line's end, and its colour.
        size: Of the letters, in points.
    """
    cast(Figure, axes.figure).draw_without_rendering()
    per_point = axes.figure.dpi / 72
    heights = np.array([axes.transData.transform((x, y))[1] / per_point for _, x, y, _ in ends])
    gap = _LINE_HEIGHT * size * max((name.count("\n") + 1 for name, *_ in ends), default=1)
    moves = _apart(heights, gap) - heights
    is_led = np.abs(moves) > size / 3
    for (name, x, y, color), moved, led in zip(ends, moves, is_led, strict=True):
        near: dict[str, Any] = {"xytext": (12 if is_led.any() else 6, moved), "textcoords": "offset points"}
        if led:
            near["arrowprops"] = {
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            }
        axes.annotate(name, (x, y), **near, va="center", color=color, fontsize=size, annotation_clip=False)


def label_points(
    axes: Axes,
    points: Sequence[tuple[str, float, float, Mapping[str, Any]]],
    *,
    marks: Iterable[tuple[float, float]] = (),
    line: Sequence[tuple[float, float]] = (),
    size: float = SMALL,
) -> None:
    """Write names beside points: each in the first place around its point where it covers and touches nothing.

    Args:
        axes: Of the points.
        points: Name, x, y, and what else the text is (colour, weight).
        marks: Points without a name, which are not covered either.
        line: Corners of a line that no name may cross.
        size: Of the letters, in points.
    """
    figure = cast(Figure, axes.figure)
    figure.draw_without_rendering()
    around = _MARK_RADIUS * figure.dpi / 72
    named = np.array([axes.transData.transform((x, y)) for _, x, y, _ in points])
    others = np.array([axes.transData.transform(place) for place in marks]).reshape(-1, 2)
    crossed = _along([axes.transData.transform(corner) for corner in line])
    frame = axes.get_window_extent().extents
    placed: list[np.ndarray] = []
    for number, (name, x, y, look) in enumerate(points):
        text = axes.annotate(name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=size, **look)
        rest = np.concatenate([np.delete(named, number, 0), others])
        costs = []
        for place in _PLACES:
            box = _put(text, place)
            lead = _along([named[number], np.clip(named[number], box[:2], box[2:])])
            costs.append(
                20 * _inside(box, rest, around)
                + 10 * bool((np.linalg.norm(rest[:, None] - lead, axis=2) < around).any())
                + 10 * sum(bool(_inside(other, lead, 0)) for other in placed)
                + _inside(box, crossed, 2)
                + 50 * sum(bool((box[:2] < other[2:]).all() and (box[2:] > other[:2]).all()) for other in placed)
                + 500 * bool((box[:2] < frame[:2]).any() or (box[2:] > frame[2:]).any())
            )
            if costs[-1] == 0:
                break
        best = _PLACES[int(np.argmin(costs))]
        box = _put(text, best)
        placed.append(box + _SPACE)
        if best[1] > _PLACES[0][1]:  # so far away that it might be taken for another point's
            crossed = np.concatenate([crossed, _along([named[number], np.clip(named[number], box[:2], box[2:])])])
            drawn = {
                "arrowstyle": "-",
                "linewidth": 0.6,
                "shrinkA": 1.5,
                "shrinkB": _MARK_RADIUS,
                "color": text.get_color(),
            }
            axes.annotate("", (x, y), xytext=text.xyann, textcoords="offset points", arrowprops=drawn)


def _put(text: Annotation, place: tuple[float, float]) -> np.ndarray:
    """Move a text to a place around its point, and return the box that it then takes."""
    angle, radius = place
    side, up = (round(1.2 * float(part)) for part in (np.cos(angle), np.sin(angle)))
    text.xyann = (radius * np.cos(angle), radius * np.sin(angle))
    text.set(ha={-1: "right", 0: "center", 1: "left"}[side], va={-1: "top", 0: "center", 1: "bottom"}[up])
    return np.array(text.get_window_extent().extents)


def _along(corners: Sequence[np.ndarray]) -> np.ndarray:
    """Return places on a line through corners, float ``[places, 2]``."""
    steps = np.linspace(0, 1, 200)[:, None]
    return np.concatenate([np.zeros((0, 2)), *(one + (other - one) * steps for one, other in pairwise(corners))])


def _inside(box: np.ndarray, points: np.ndarray, around: float) -> int:
    """Return how many points lie in a box or nearer to it than ``around`` pixels."""
    return int(((points > box[:2] - around).all(1) & (points < box[2:] + around).all(1)).sum())


def _apart(places: np.ndarray, gap: float) -> np.ndarray:
    """Return heights at least ``gap`` apart, in the order of ``places`` and together as near to them as can be."""
    order = np.argsort(-places, kind="stable")
    groups: list[list[float]] = []  # neighbours that are moved together: the sum of what each would have, and how many
    for place in places[order] + gap * np.arange(len(places)):
        groups.append([place, 1])
        while len(groups) > 1 and groups[-1][0] / groups[-1][1] > groups[-2][0] / groups[-2][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    levels = np.concatenate([np.full(int(count), total / count) for total, count in groups] or [np.zeros(0)])
    moved = np.empty(len(places))
    moved[order] = levels - gap * np.arange(len(places))
    return moved
