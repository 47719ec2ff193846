"""The codec study as a picture: times smaller against speed, one panel per size and kind, the front drawn through.

In: marked rows. Out: a figure.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ferdata.training.report.callouts import label_points
from ferdata.training.report.style import CODEC_COLORS, INK, MUTED, RIVAL, WIDTH, new_figure, styled, thousands
from ferdata_bench.studies.front import StudyRow

__all__ = ["draw_front"]

_MARKERS = {"ferdata": "^", "imagecodecs": "o", "openzl": "s"}


@styled
def draw_front(rows: Sequence[StudyRow]) -> Figure:
    """Draw one panel below the other for each size and kind in ``rows``."""
    groups = list(dict.fromkeys((row.size, row.kind) for row in rows))
    figure = new_figure(WIDTH, 0.4 + 3.4 * len(groups))
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    libraries = dict.fromkeys(row.library for row in rows)
    others = [library for library in libraries if library != "ferdata"]
    explained = [_mark(library, RIVAL, label=library) for library in others]
    explained.insert(0, _mark("ferdata", INK, label="ferdata"))
    explained.append(Line2D([], [], color=INK, linestyle="--", linewidth=1, label="Pareto front"))
    figure.legend(handles=explained, loc="outside upper left", ncols=len(explained))
    for axes, group in zip(panels, groups, strict=True):
        here = [row for row in rows if (row.size, row.kind) == group and row.name != "jpeg"]
        for row in here:
            axes.plot(row.ratio, row.mb_per_second, color=_color(row), marker=_MARKERS[row.library], markersize=6)
        front = _places(sorted((row for row in here if row.front_gap == 0), key=lambda row: row.ratio))
        axes.plot(*zip(*front, strict=True), color=INK, linestyle="--", linewidth=1, zorder=1)
        axes.set(
            title=f"{group[0]} x {group[0]} pixels, {group[1]}",
            yscale="log",
            xlim=(0.95, 1.22 * max(row.ratio for row in here)),
        )
        axes.set_ylabel("MB/s of pixels, one core")
        axes.yaxis.set_major_formatter(thousands)
        axes.grid(visible=True, axis="both")
    panels[-1].set_xlabel("times smaller than the pixels")
    for axes, group in zip(panels, groups, strict=True):
        _name(axes, [row for row in rows if (row.size, row.kind) == group and row.name != "jpeg"])
    return figure


def _name(axes: Axes, rows: Sequence[StudyRow]) -> None:
    """Name what is drawn; of a codec's levels the fastest and the smallest."""
    levels = sorted((row for row in rows if row.name.startswith("zstd ")), key=lambda row: row.ratio)
    axes.plot(*zip(*_places(levels), strict=True), color=CODEC_COLORS["zstd"], linewidth=1, zorder=1)
    named = [row for row in rows if row not in levels[1:-1]]
    front = _places(sorted((row for row in rows if row.front_gap == 0), key=lambda row: row.ratio))
    texts = []
    for row in named:
        look = {"color": _color(row) if row.library == "ferdata" else MUTED}
        texts.append((row.name, row.ratio, row.mb_per_second, look))
    label_points(axes, texts, marks=_places(levels), line=front)


def _places(rows: Sequence[StudyRow]) -> list[tuple[float, float]]:
    return [(row.ratio, row.mb_per_second) for row in rows]


def _color(row: StudyRow) -> str:
    return CODEC_COLORS[row.name.partition(" ")[0]] if row.library == "ferdata" else RIVAL


def _mark(library: str, color: str, *, label: str) -> Line2D:
    return Line2D([], [], color=color, marker=_MARKERS[library], markersize=6, linestyle="", label=label)
