"""Pictures of a benchmark: bars with the ceilings beside them, and curves of sweeps, as PNG and SVG.

In: a :class:`BenchResult`. Out: files. Imports matplotlib, which is not needed for anything else here.
"""

import textwrap
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from ferdata.training.report.callouts import label_ends, label_points
from ferdata.training.report.style import (
    CODEC_COLORS,
    INK,
    MUTED,
    PALE,
    RIVAL,
    SMALL,
    WIDTH,
    new_figure,
    save,
    styled,
    thousands,
)
from ferdata_bench.loaders.options import BenchResult, BenchRow
from ferdata_bench.loaders.report import conditions_lines

__all__ = ["PLAINLY", "ROW_HEIGHT", "bar", "write_plots"]

ROW_HEIGHT = 0.2
"""Inches of a bar, with the room around it."""
PLAINLY = Patch(color=INK, alpha=PALE, label="pale: in a plain DataLoader")
_TICK: dict[str, Any] = {"color": INK, "linewidth": 2}
_COLUMNS_OF_CONDITIONS = 128


@styled
def write_plots(result: BenchResult, path: Path) -> list[Path]:
    """Write ``path`` as PNG and as SVG, and one more pair for each sweep; return what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = save(_bars(result), path.with_suffix(""))
    for axis in dict.fromkeys(row.sweep for row in result.rows if row.sweep):
        written += save(_curves(result, axis), path.with_name(f"{path.stem}-{axis}"))
    if "codec" in result.conditions["sweep"]:
        written += save(_codecs(result), path.with_name(f"{path.stem}-codec"))
    return written


def bar(axes: Axes, place: float, value: float, text: str, *, color: str, pale: bool = False, runs: Any = ()) -> None:
    """Draw a bar with its runs as a line, and what it says in a column at the right, where no bar ends."""
    axes.barh(place, value, height=0.72, color=color, alpha=PALE if pale else 1)
    if runs:
        axes.plot([min(runs), max(runs)], [place, place], color=INK, linewidth=0.9)
    axes.text(1.0, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=SMALL)


def _bars(result: BenchResult) -> Figure:
    rows = [row for row in result.rows if row.sweep is None][::-1]
    figure = new_figure(WIDTH, 2.0 + ROW_HEIGHT * len(rows))
    axes = figure.subplots()
    copy, decode = result.ceilings["copy"], result.ceilings["decode_by_codec"]
    widest = max([copy or 0, *(max(row.runs) for row in rows)], default=1)
    explained: list[Artist] = [Line2D([], [], color=INK, linewidth=0.9, label="slowest to fastest run")]
    ours = dict.fromkeys(row.codec for row in reversed(rows) if _is_ours(row.name) and row.codec in CODEC_COLORS)
    for position, row in enumerate(rows):
        text = f"{row.images_per_second:,.0f}"
        bar(axes, position, row.images_per_second, text, **_look(row), runs=row.runs)
        ceiling = decode.get(row.codec) if row.name == f"ferdata-{row.codec}" else None
        if ceiling and ceiling < (copy or ceiling):
            axes.plot([ceiling, ceiling], [position - 0.42, position + 0.42], **_TICK)
    if any(decode.values()):
        explained += [Line2D([], [], **_TICK, marker="|", markersize=9, linestyle="", markeredgewidth=2)]
        explained[-1].set_label("the codec's decode ceiling")
    if copy:
        label = f"copy ceiling, {copy:,.0f}"
        axes.axvline(copy, color=INK, linestyle="--", linewidth=1)
        explained.append(Line2D([], [], color=INK, linestyle="--", linewidth=1, label=label))
    patches: list[Artist] = [Patch(color=CODEC_COLORS[codec], label=f"ferdata's shards, {codec}") for codec in ours]
    if any(_look(row)["pale"] for row in rows):
        patches.append(PLAINLY)
    if any(_look(row)["color"] == RIVAL for row in rows):
        patches.append(Patch(color=RIVAL, label="others"))
    axes.set_yticks(range(len(rows)), [_named(row) for row in rows])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlim(0, widest * 1.16)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False)
    axes.set_xlabel("images per second, as shuffled uint8 batches in the main process")
    axes.xaxis.set_major_formatter(thousands)
    axes.set_title(_title(result))
    _sign(figure, result, [*patches, *explained])
    return figure


def _look(row: BenchRow) -> dict[str, Any]:
    ours = row.name.startswith("ferdata") and row.codec in CODEC_COLORS
    return {"color": CODEC_COLORS[row.codec] if ours else RIVAL, "pale": ours and not _is_ours(row.name)}


def _is_ours(name: str) -> bool:
    return name.startswith("ferdata") and "-plain-" not in name and "-dataloader-" not in name


def _named(row: BenchRow) -> str:
    return row.name if row.codec in row.name else f"{row.name} ({row.codec})"


def _curves(result: BenchResult, axis: str) -> Figure:
    figure = new_figure(WIDTH, 4.6)
    axes = figure.subplots()
    rows = [row for row in result.rows if row.sweep in (axis, None)]
    ends = []
    for name in dict.fromkeys(row.name for row in rows):
        here = [row for row in rows if row.name == name]
        points = sorted((_setting(row, axis), row.images_per_second) for row in here)
        look = _look(here[0])
        line = {"color": look["color"], "alpha": PALE if look["pale"] else 1, "marker": "o"}
        axes.plot(*zip(*points, strict=True), **line, linewidth=1.8 if _is_ours(name) else 1)
        ends.append((name, *points[-1], MUTED if look["color"] == RIVAL else look["color"]))
    if axis == "workers":
        copies = sorted(
            (int(n), kinds["copy"]) for n, kinds in result.ceilings["by_workers"].items() if kinds.get("copy")
        )
        axes.plot(*zip(*copies, strict=True), color=INK, linestyle="--", linewidth=1)
        ends += [("copy ceiling", *copies[-1], INK)] if copies else []
    axes.set_xscale("log", base=2)
    _logarithmic(axes, "y")
    ticks = sorted({_setting(row, axis) for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel(axis)
    axes.set_ylabel("images per second")
    conditions = result.conditions
    fixed = f"batches of {conditions['batch_size']}" if axis == "workers" else f"{conditions['workers']} workers"
    axes.set_title(f"{_images(result)}, {fixed}, {conditions['cores']} cores, by {axis}")
    _sign(figure, result)
    label_ends(axes, ends)
    return figure


def _codecs(result: BenchResult) -> Figure:
    """Speed against size: what each codec costs on disk, and what it gives."""
    figure = new_figure(WIDTH, 4.6)
    axes = figure.subplots()
    names = []
    for row in (row for row in result.rows if row.sweep is None):
        place = (row.bytes_per_image, row.images_per_second)
        look = _look(row)
        shade = {"color": look["color"], "alpha": PALE if look["pale"] else 1}
        axes.plot(*place, marker="o", markersize=8 if _is_ours(row.name) else 5, **shade)
        names.append((row.name, *place, {"color": MUTED if look["color"] == RIVAL else look["color"]}))
    _logarithmic(axes, "x")
    _logarithmic(axes, "y")
    axes.set_xlabel("stored bytes per image")
    axes.set_ylabel("images per second")
    axes.margins(0.18)
    axes.set_title(f"{_title(result)}: speed against size")
    _sign(figure, result)
    label_points(axes, names)
    return figure


def _logarithmic(axes: Axes, which: str) -> None:
    axes.set(**{f"{which}scale": "log"})
    scale = axes.xaxis if which == "x" else axes.yaxis
    scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
    scale.set_major_formatter(thousands)
    scale.set_minor_formatter(NullFormatter())


def _setting(row: BenchRow, axis: str) -> int:
    return row.workers if axis == "workers" else row.batch_size


def _images(result: BenchResult) -> str:
    return f"{result.conditions['images']:,} images {result.conditions['image']}"


def _title(result: BenchResult) -> str:
    return f"{_images(result)}, {result.conditions['workers']} workers on {result.conditions['cores']} cores"


def _sign(figure: Figure, result: BenchResult, explained: Any = ()) -> None:
    # pictures are passed on: the folder's name is enough, where it lies is this machine's
    conditions = result.conditions | {"source": result.conditions["source"].rsplit("/", 1)[-1]}
    lines = [part for line in conditions_lines(conditions) for part in textwrap.wrap(line, _COLUMNS_OF_CONDITIONS)]
    figure.supxlabel("\n".join(lines), fontsize=6.5, color=MUTED, x=0.01, ha="left")
    if explained:
        figure.legend(handles=list(explained), loc="outside upper left", ncols=3)
