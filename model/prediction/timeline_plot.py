"""A timeline as a picture: the probability of each class over time, valence and arousal. In: a timeline. Out: PNG."""

from typing import TYPE_CHECKING

import numpy as np

from ferdata.training.report.style import FEELING_COLORS, SERIES, new_figure, png_bytes, style_axes, styled

if TYPE_CHECKING:
    from ferdata.training.prediction.timeline import Timeline

__all__ = ["draw_timeline"]

_MOST_FACES = 6


@styled
def draw_timeline(timeline: "Timeline") -> bytes:
    """Return a PNG with a row for each of the faces that are seen longest."""
    tracks = list(timeline.by_track().items())[:_MOST_FACES]
    feelings = any(moment.prediction.valence is not None for moment in timeline.moments)
    figure = new_figure(11.0, 3.2 * max(1, len(tracks)))
    grid = figure.subplots(max(1, len(tracks)), 1 + feelings, squeeze=False, width_ratios=[2, 1] if feelings else [1])
    for (track, moments), row in zip(tracks, grid, strict=False):
        seconds = [moment.seconds for moment in moments]
        for number, name in enumerate(timeline.classes):
            values = [moment.prediction.probabilities[name] for moment in moments]
            row[0].plot(seconds, values, color=SERIES[number % len(SERIES)], label=name)
        style_axes(row[0], title=f"face {track}: probability", x_label="seconds", percent=True)
        row[0].set_ylim(-0.02, 1.02)
        if feelings:
            for name, color in FEELING_COLORS.items():
                felt = np.array([getattr(moment.prediction, name) for moment in moments], float)
                row[1].plot(seconds, felt, color=color, label=name)
            style_axes(row[1], title="valence and arousal", x_label="seconds")
            row[1].set_ylim(-1.05, 1.05)
        for axes in row:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png_bytes(figure)
