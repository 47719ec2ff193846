"""Pictures of a run. In: lines of ``metrics.jsonl``, a confusion matrix. Out: PNG bytes, drawn without a display."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke

from ferdata.dataset.lettering import with_font
from ferdata.training.report.certainty import Calibration
from ferdata.training.report.style import (
    FEELING_COLORS,
    INK,
    MUTED,
    SMALL,
    TRAIN_COLOR,
    VAL_COLOR,
    new_figure,
    png_bytes,
    style_axes,
    styled,
)

__all__ = ["draw_confusion", "draw_curves", "draw_reliability"]

_LIGHT = "#bcd3fa"
_BLUES = LinearSegmentedColormap.from_list("ferdata", ["#ffffff", "#d6e4fb", "#7fa9ee", "#2f6fde", "#173c80"])
_LONGEST_NAME = 32
_MOST_NUMBERED = 32
"""Classes beyond which cells are only shaded: there would be no room for figures, and hundreds of thousands of them."""


@styled
def draw_curves(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a PNG of loss, accuracy, and (where they are trained) valence and arousal over the epochs."""
    lines = list(lines)
    steps = [line for line in lines if line["kind"] == "step"]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    feelings = any(line.get("val", {}).get("ccc") for line in epochs)
    figure = new_figure(13.5 if feelings else 9.6, 3.7)
    axes = figure.subplots(1, 3 if feelings else 2)
    _draw_loss(axes[0], steps, epochs, label="train, with that of valence and arousal" if feelings else "train")
    _draw_accuracy(axes[1], epochs)
    if feelings:
        _draw_feelings(axes[2], epochs)
    return png_bytes(figure)


@styled
def draw_confusion(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], *, title: str, by: str = "actual"
) -> bytes:
    """Return a PNG of a confusion matrix: rows actual, columns predicted, with counts.

    Cells are shaded by their share of the row (``by="actual"``: the diagonal is recall) or of the column
    (``by="predicted"``: it is precision).
    """
    counts = np.array(confusion, dtype=np.int64)
    shares = counts / np.maximum(1, counts.sum(1 if by == "actual" else 0, keepdims=True))
    numbered = len(classes) <= _MOST_NUMBERED
    side = max(4.0, 0.56 * min(len(classes), _MOST_NUMBERED) + 1.3)
    figure = new_figure(side + 0.3, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    named = range(0, len(classes), -(-len(classes) // _MOST_NUMBERED))
    names = [with_font(classes[number], most=_LONGEST_NAME) for number in named]
    axes.set_xticks(named, [name for name, _ in names], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(named, [name for name, _ in names])
    axes.tick_params(labelcolor=INK)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, (_, path) in zip(labels, names, strict=True):
            label.set_fontproperties(FontProperties(fname=path, size=9))
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    if numbered:
        axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
        axes.grid(which="minor", axis="both")
    for row in range(len(classes) if numbered else 0):
        for column in range(len(classes)):
            share, count = shares[row, column], counts[row, column]
            text = f"{share:.0%}\n{count:,}" if count else "0"
            color = MUTED if not count else "white" if share > 0.55 else INK
            weight = "bold" if count and row == column else "normal"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color, fontweight=weight)
    return png_bytes(figure)


@styled
def draw_reliability(calibration: Calibration) -> bytes:
    """Return a PNG of how often predictions were right against how sure they were, with the samples of each bin."""
    figure = new_figure(5.2, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    count = len(calibration.samples)
    middles = (np.arange(count) + 0.5) / count
    known = [
        (sure, right)
        for sure, right in zip(calibration.confidence, calibration.accuracy, strict=True)
        if sure is not None and right is not None
    ]
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="as sure as right")
    above.plot(*zip(*known, strict=True), **_marked(TRAIN_COLOR), label="these predictions")
    above.set_ylim(0, 1.02)
    style_axes(above, title=f"Calibration error {calibration.error:.1%}", x_label="", percent=True)
    above.set_ylabel("right")
    below.bar(middles, calibration.samples, width=0.9 / count, color=_LIGHT)
    style_axes(below, title="", x_label="probability of the predicted class")
    below.set_ylabel("samples")
    below.set_xlim(0, 1)
    below.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return png_bytes(figure)


def _draw_loss(axes: Axes, steps: list[Mapping[str, Any]], epochs: list[Mapping[str, Any]], *, label: str) -> None:
    if steps:
        last = (epochs or steps)[-1]
        places = np.array([line["step"] + 1 for line in steps]) / max(1, (last["step"] + 1) / (last["epoch"] + 1))
        losses = np.array([line["loss"] for line in steps])
        axes.plot(places, losses, color=TRAIN_COLOR, alpha=0.3, linewidth=0.8, label=f"{label}, each step")
        axes.plot(places, _smoothed(losses), color=TRAIN_COLOR, label=label)
    val = [line for line in epochs if "val" in line]
    if val:
        numbers = [line["epoch"] + 1 for line in val]
        axes.plot(numbers, [line["val"]["loss"] for line in val], **_marked(VAL_COLOR), label="val")
    axes.set_ylim(bottom=0)
    style_axes(axes, title="Loss", x_label="epoch")


def _draw_accuracy(axes: Axes, epochs: list[Mapping[str, Any]]) -> None:
    numbers = [line["epoch"] + 1 for line in epochs]
    axes.plot(
        numbers, [line["train_accuracy"] for line in epochs], **_marked(TRAIN_COLOR), label="train, while training"
    )
    val = [line for line in epochs if "val" in line]
    if val:
        places = [line["epoch"] + 1 for line in val]
        accuracy = [line["val"]["accuracy"] for line in val]
        axes.plot(places, accuracy, **_marked(VAL_COLOR), label="val")
        balanced = [line["val"]["balanced_accuracy"] for line in val]
        axes.plot(places, balanced, color=VAL_COLOR, linewidth=1.2, linestyle=":", label="val, balanced")
        best = int(np.argmax(accuracy))
        is_above = val[best]["train_accuracy"] < accuracy[best] or accuracy[best] < 0.1  # away from curve and axis
        side = 7 if is_above else -15
        near: dict[str, Any] = {"textcoords": "offset points", "xytext": (0, side), "ha": "center", "fontsize": SMALL}
        halo = [withStroke(linewidth=3, foreground="white")]
        label = axes.annotate(f"{accuracy[best]:.1%}", (places[best], accuracy[best]), **near, color=VAL_COLOR)
        label.set(path_effects=halo, zorder=10)
    axes.set_ylim(0, 1.05)
    style_axes(axes, title="Accuracy", x_label="epoch", percent=True)


def _draw_feelings(axes: Axes, epochs: list[Mapping[str, Any]]) -> None:
    for name, color in FEELING_COLORS.items():
        values = [(line["epoch"] + 1, line.get("val", {}).get("ccc", {}).get(name)) for line in epochs]
        known = [(epoch, value) for epoch, value in values if value is not None]
        if known:
            axes.plot(*zip(*known, strict=True), **_marked(color), label=name)
    style_axes(axes, title="Concordance on val (CCC)", x_label="epoch")


def _marked(color: str) -> dict[str, Any]:
    return {"color": color, "marker": "o"}


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Return a running mean over about a fiftieth of the steps."""
    width = max(1, len(values) // 50)
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means
