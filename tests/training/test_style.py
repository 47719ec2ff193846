"""Pictures have one look: colours everybody tells apart, names that nothing touches, whatever a process has set."""

from itertools import combinations

import matplotlib.style
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation

from ferdata.training.report.callouts import label_ends, label_points
from ferdata.training.report.plots import draw_confusion
from ferdata.training.report.style import CODEC_COLORS, INK, RIVAL, new_figure, styled

# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB
SEEN = {
    "everything": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(color: str, seen: np.ndarray) -> np.ndarray:
    """Return a colour as seen, in CIELAB (white of D65)."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ (np.asarray(seen) @ linear).clip(0, 1) / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", SEEN)
def test_codecs_others_and_ceilings_can_be_told_apart_by_everybody(eyes: str) -> None:
    """One man in twelve sees red and green alike; a legend of such colours is none for him."""
    colors = [*CODEC_COLORS.values(), RIVAL, INK]
    seen = {color: lab(color, np.array(SEEN[eyes])) for color in colors}

    near = {(one, other): np.linalg.norm(seen[one] - seen[other]) for one, other in combinations(colors, 2)}

    assert min(near.values()) > 15


def test_a_picture_does_not_look_like_what_a_process_has_set() -> None:
    """Notebooks have dark styles and large letters; a report's pictures are the same from there."""
    plain = draw_confusion([[3, 1], [0, 4]], ["a", "b"], title="val")

    with matplotlib.style.context(["dark_background", {"font.size": 20, "axes.titlelocation": "right"}]):
        assert draw_confusion([[3, 1], [0, 4]], ["a", "b"], title="val") == plain


@styled
def boxes(names: list[tuple[str, float, float]], *, at_ends: bool) -> dict[str, np.ndarray]:
    """Name points and return the boxes of the names in pixels."""
    figure = new_figure(5, 3)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    if at_ends:
        label_ends(axes, [(*name, INK) for name in names])
    else:
        label_points(axes, [(*name, {}) for name in names], line=[(0, 0.5), (1, 0.5)])
    figure.draw_without_rendering()
    found = [text for text in axes.findobj(Annotation) if text.get_text()]
    scale = axes.transData
    for text in found if not at_ends else []:
        box = text.get_window_extent()
        assert not any(box.contains(*scale.transform(place)) for _, *place in names)
        assert not box.y0 < scale.transform((0, 0.5))[1] < box.y1
    return {text.get_text(): text.get_window_extent().extents for text in found}


@pytest.mark.parametrize("at_ends", [True, False])
def test_names_of_neighbours_touch_neither_each_other_nor_what_is_drawn(at_ends: bool) -> None:
    """At the ends of lines, and around points, however near those are."""
    names = [("first of many", 0.5, 0.52), ("second of many", 0.5, 0.53), ("third", 0.5, 0.56), ("far", 0.5, 0.1)]

    placed = boxes(names, at_ends=at_ends)

    assert len(placed) == 4
    if at_ends:
        assert [*placed] == [name for name, *_ in names]
        heights = [placed[name][1] for name in ("far", "first of many", "second of many", "third")]
        assert heights == sorted(heights)
        return
    for one, other in combinations(placed.values(), 2):
        assert (one[:2] >= other[2:]).any() or (one[2:] <= other[:2]).any()
