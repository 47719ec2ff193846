"""Pictures of a sweep: what each setting does, the way of every run, all settings side by side, and which matter.

In: a :class:`SweepResult`. Out: PNG bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ferdata.training.report.callouts import label_ends
from ferdata.training.report.style import (
    INK,
    SHADES,
    SMALL,
    TRAIN_COLOR,
    new_figure,
    png_bytes,
    style_axes,
    styled,
    thousands,
)
from ferdata.training.sweep.result import Group, text_of
from ferdata.training.sweep.spec import Range

__all__ = ["draw_curves_of", "draw_effects", "draw_importance", "draw_parallel"]

_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
_MOST_EFFECTS = 6
_MOST_NAMED = 8
_LOG_SPAN = 20
"""Numbers that span more than this factor are drawn on a logarithmic scale."""


@styled
def draw_effects(groups: Sequence[Group], vary: Mapping[str, Any]) -> bytes:
    """Return a PNG with accuracy against each setting: a dot a run, and the mean of each value as a line."""
    names = list(vary)[:_MOST_EFFECTS]
    figure = new_figure(3.4 * len(names) + 0.6, 3.4)
    panels: Sequence[Axes] = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        places, ticks = _places(groups, name, vary[name])
        dots = [(place, run.accuracy) for group, place in zip(groups, places, strict=True) for run in group.runs]
        known = [(place, accuracy) for place, accuracy in dots if accuracy is not None]
        places = [place for place, _ in known]
        axes.scatter(places, [value for _, value in known], s=18, color=TRAIN_COLOR, alpha=0.45, linewidths=0, zorder=3)
        if ticks is not None:
            at = sorted(set(places))
            means = [np.mean([value for place, value in known if place == each]) for each in at]
            axes.plot(at, means, color=TRAIN_COLOR)
            axes.set_xticks(range(len(ticks)), ticks, rotation=25 if len("".join(ticks)) > 28 else 0)
            axes.set_xlim(-0.5, len(ticks) - 0.5)
        elif _is_wide(places):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(thousands)
            axes.xaxis.set_minor_formatter(NullFormatter())
        style_axes(axes, title=_titled(name), x_label="", percent=True)
    panels[0].set_ylabel("accuracy")
    return png_bytes(figure)


@styled
def draw_curves_of(curves: Sequence[tuple[str, Sequence[float]]]) -> bytes:
    """Return a PNG of accuracy by epoch, a line a combination, best first; the first eight are named at their ends.

    Args:
        curves: Label, and the mean accuracy over the seeds after each epoch.
    """
    figure = new_figure(9.6, 4.4)
    axes = figure.subplots()
    ends = []
    for rank, (label, values) in enumerate(curves):
        color = SHADES(1 - rank / max(1, len(curves) - 1))
        axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1.8 if rank == 0 else 1.2)
        if rank < _MOST_NAMED:
            ends.append((label, len(values), values[-1], INK))
    style_axes(axes, title="Accuracy on val", x_label="epoch", percent=True)
    axes.set_xlim(1, max((len(values) for _, values in curves), default=1) * 1.02 + 0.02)
    label_ends(axes, ends)
    return png_bytes(figure)


@styled
def draw_parallel(groups: Sequence[Group], vary: Mapping[str, Any]) -> bytes:
    """Return a PNG of parallel coordinates: an axis a setting and one of accuracy, a line a combination."""
    names = list(vary)
    figure = new_figure(1.9 * (len(names) + 1) + 1.2, 3.8)
    axes = figure.subplots()
    means = np.array([group.mean for group in groups], float)
    columns = []
    for number, name in enumerate(names):
        places, ticks = _places(groups, name, vary[name])
        values = np.array(places, float)
        is_log = ticks is None and _is_wide(places)
        scaled = np.log(values) if is_log else values
        low, high = (0, len(ticks) - 1) if ticks is not None else (scaled.min(), scaled.max())
        columns.append((scaled - low) / ((high - low) or 1))
        marks = ticks if ticks is not None else [f"{values.min():.3g}", f"{values.max():.3g}"]
        at = np.arange(len(marks)) / max(1, len(marks) - 1)
        for place, mark in zip(at, marks, strict=True):
            axes.text(number - 0.03, place, mark, ha="right", va="center", fontsize=SMALL, bbox=_PLATE)
    span = (means.max() - means.min()) or 1.0
    columns.append((means - means.min()) / span)
    for place, value in ((0, means.min()), (1, means.max())):
        axes.text(len(names) + 0.03, place, f"{value:.1%}", ha="left", va="center", fontsize=SMALL)
    for row in np.argsort(means):
        color = SHADES(columns[-1][row])
        axes.plot(range(len(names) + 1), [column[row] for column in columns], color=color, linewidth=1.4, alpha=0.85)
    for number, name in enumerate([*names, "accuracy"]):
        axes.plot([number, number], [0, 1], color="#cbd2d9", linewidth=1, zorder=0)
        axes.text(number, 1.07, _titled(name), ha="center", va="bottom", fontsize=9)
    axes.set_xlim(-0.6, len(names) + 0.6)
    axes.set_ylim(-0.05, 1.18)
    axes.axis("off")
    return png_bytes(figure)


@styled
def draw_importance(shares: Mapping[str, float]) -> bytes:
    """Return a PNG of how much of the spread each setting explains."""
    names = list(shares)[::-1]
    figure = new_figure(5.6, 0.5 * len(names) + 1.1)
    axes = figure.subplots()
    axes.barh([_titled(name) for name in names], [shares[name] for name in names], color=TRAIN_COLOR, height=0.6)
    style_axes(axes, title="", x_label="share of the spread that it explains")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlim(0, 1)
    return png_bytes(figure)


def _places(groups: Sequence[Group], name: str, values: Any) -> tuple[list[float], list[str] | None]:
    """Return where each combination stands on a setting's axis, and the names of its places; None of numbers."""
    if isinstance(values, Range):
        return [float(group.settings[name]) for group in groups], None
    return [float(values.index(group.settings[name])) for group in groups], [text_of(value) for value in values]


def _is_wide(places: Sequence[float]) -> bool:
    return min(places) > 0 and max(places) / min(places) > _LOG_SPAN


def _titled(name: str) -> str:
    return name.replace("pretrain.", "pre-training: ").replace("_", " ")
