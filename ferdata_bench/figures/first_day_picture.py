"""The picture of the first day: two bars for each contender, of conversion, first and second epoch, cold and warm.

In: the values of ``first-day.json``. Out: a figure; whose two epochs end first stands on top.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ferdata.training.report.style import CODEC_COLORS, INK, MUTED, RIVAL, SMALL, WIDTH, new_figure, thousands
from ferdata_bench.figures.first_day import TOO_LARGE, in_order, memory, phases

__all__ = ["draw_first_day"]

PARTS = {"conversion, from cold files": 1.0, "first epoch": 0.62, "second epoch": 0.32}
"""Opacity of each part."""
PLACES = {"cold": -0.19, "warm": 0.19}
BAR_HEIGHT, CONTENDER_HEIGHT = 0.34, 0.6
"""Of a contender's height; of the picture, in inches."""
ROOM = 1.62
"""Width of the axes, as a multiple of the longest bar: words follow it."""


def draw_first_day(values: Mapping[str, Any]) -> Figure:
    """Draw what each contender took, with its memory and room on the disk in words."""
    rows = in_order(values)
    longest = max(sum(phases(row, cache)) for row in rows for cache in PLACES if row[cache])
    unit, name = (60.0, "minutes") if longest > 180 else (1.0, "seconds")
    figure = new_figure(WIDTH, 1.3 + CONTENDER_HEIGHT * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        for cache, beside in PLACES.items():
            _bar(axes, place + beside, row, cache, unit=unit, gap=longest / unit * 0.015)
    axes.set_yticks(range(len(rows)), [row["name"].replace("-", "\n", 1) for row in rows])
    axes.tick_params(axis="y", labelcolor=INK, pad=32)
    axes.set(xlim=(0, longest / unit * ROOM), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(thousands)
    conditions = values["conditions"]
    axes.set_xlabel(
        f"{name} from a folder of {conditions['images']:,} JPEG files of 224 px, {conditions['workers']} workers"
    )
    explained: list[Any] = [Patch(color=INK, alpha=shade, linewidth=0, label=part) for part, shade in PARTS.items()]
    explained.append(Line2D([], [], color=INK, marker="D", markersize=4, linestyle="", label="first batch"))
    figure.legend(handles=explained, loc="outside upper left", ncols=4, columnspacing=1.2, handletextpad=0.5)
    return figure


def _bar(axes: Axes, place: float, row: Mapping[str, Any], cache: str, *, unit: float, gap: float) -> None:
    beside: Any = {"textcoords": "offset points", "va": "center", "fontsize": SMALL}
    axes.annotate(cache, (0, place), xytext=(-4, 0), ha="right", color=MUTED, **beside)
    if row[cache] is None:
        axes.text(gap, place, TOO_LARGE, va="center", fontsize=SMALL, color=MUTED)
        return
    color = CODEC_COLORS[row["codec"]] if row["name"].startswith("ferdata") else RIVAL
    parts = phases(row, cache)
    end = 0.0
    for shade, seconds in zip(PARTS.values(), parts, strict=True):
        axes.barh(place, seconds / unit, left=end, height=BAR_HEIGHT, color=color, alpha=shade, linewidth=0)
        end += seconds / unit
    first = (parts[0] + row[cache]["first_batch_seconds"]) / unit
    axes.plot([first], [place], marker="D", markersize=4, color=INK, markeredgecolor="white", markeredgewidth=0.6)
    words = f"{end:.1f}"
    if cache == "cold":
        words += f"   {memory(row) / 1e9:.1f} GB memory, {row['bytes'] / 1e9:.1f} GB disk"
    axes.text(end + gap, place, words, va="center", fontsize=SMALL)
