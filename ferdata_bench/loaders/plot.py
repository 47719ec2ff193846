"""Pictures of a benchmark: bars with the ceilings beside them, and curves of sweeps, as PNG and SVG.

In: a :class:`BenchResult`. Out: files. Imports matplotlib, which is not needed for anything else here.
"""

from pathlib import Path
from typing import Any

import matplotlib

from ferdata.training.report.plots import INK
from ferdata_bench.loaders.options import BenchResult, BenchRow
from ferdata_bench.loaders.report import conditions_lines

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

__all__ = ["LINE", "OURS", "PLAIN", "STYLE", "THEIRS", "save", "write_plots"]

OURS, PLAIN, THEIRS, LINE = "#1b7f5c", "#8fc4b0", "#9aa5b1", "#c0392b"
PLAIN_TEXT = {"text.parse_math": False, "text.usetex": False}  # paths may hold dollars, which would begin a formula
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "svg.hashsalt": "ferdata",
    "axes.spines.top": False,
    "axes.spines.right": False,
} | PLAIN_TEXT


def write_plots(result: BenchResult, path: Path) -> list[Path]:
    """Write ``path`` as PNG and as SVG, and one more pair for each sweep; return what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context(STYLE):
        written += save(_bars(result), path.with_suffix(""))
        for axis in dict.fromkeys(row.sweep for row in result.rows if row.sweep):
            written += save(_curves(result, axis), path.with_name(f"{path.stem}-{axis}"))
        if "codec" in result.conditions["sweep"]:
            written += save(_codecs(result), path.with_name(f"{path.stem}-codec"))
    return written


def _bars(result: BenchResult) -> Figure:
    rows = [row for row in result.rows if row.sweep is None][::-1]
    figure, axes = plt.subplots(figsize=(9.5, 2.2 + 0.3 * len(rows)), layout="constrained")
    copy, decode = result.ceilings["copy"], result.ceilings["decode_by_codec"]
    widest = max([copy or 0, *(max(row.runs) for row in rows)], default=1)
    for position, row in enumerate(rows):
        axes.barh(position, row.images_per_second, height=0.72, color=_colour(row))
        axes.plot([min(row.runs), max(row.runs)], [position, position], color="black", lw=0.9, alpha=0.6)
        end = max(row.runs)
        ceiling = decode.get(row.codec) if row.name == f"ferdata-{row.codec}" else None
        if ceiling and ceiling < (copy or ceiling):
            axes.plot([ceiling, ceiling], [position - 0.42, position + 0.42], color=LINE, lw=2)
            end = ceiling if end < ceiling < end + widest * 0.09 else end  # the figure goes behind a mark in its way
        axes.text(end + widest * 0.008, position, f"{row.images_per_second:,.0f}", va="center", fontsize=8)
    if copy:
        axes.axvline(copy, color=LINE, ls="--", lw=1, ymax=0.96)
        label = f" copy ceiling {copy:,.0f} "
        side = "right" if copy > widest / 2 else "left"
        axes.text(copy, len(rows) - 0.15, label, color=LINE, fontsize=8, ha=side, va="bottom")
    axes.set_yticks(range(len(rows)), [f"{row.name}  ({row.codec})" for row in rows])
    axes.set_xlim(0, widest * 1.1)
    axes.set_ylim(-0.6, len(rows) + 0.5)
    axes.set_xlabel("images per second, as shuffled uint8 batches in the main process")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title(_title(result), loc="left", fontsize=11, fontweight="bold")
    marks = "; red mark: decode ceiling of the row's codec" if any(decode.values()) else ""
    _sign(figure, result, f"bar: median; black line: slowest to fastest run{marks}")
    return figure


def _colour(row: BenchRow) -> str:
    if not row.name.startswith("ferdata"):
        return THEIRS
    return OURS if _is_ours(row.name) else PLAIN


def _is_ours(name: str) -> bool:
    return name.startswith("ferdata") and "-plain-" not in name and "-dataloader-" not in name


def _curves(result: BenchResult, axis: str) -> Figure:
    figure, axes = plt.subplots(figsize=(8.5, 5.2), layout="constrained")
    rows = [row for row in result.rows if row.sweep in (axis, None)]
    names = list(dict.fromkeys(row.name for row in rows))
    for name in names:
        points = sorted((_setting(row, axis), row.images_per_second) for row in rows if row.name == name)
        width, dashes = (2, "-") if _is_ours(name) else (1, ":")
        axes.plot(*zip(*points, strict=True), marker="o", ms=4, lw=width, ls=dashes, label=name)
    if axis == "workers":
        copies = sorted(
            (int(n), kinds["copy"]) for n, kinds in result.ceilings["by_workers"].items() if kinds.get("copy")
        )
        axes.plot(*zip(*copies, strict=True), color=LINE, ls="--", lw=1.2, label="ceiling: copy")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({_setting(row, axis) for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(axis)
    axes.set_ylabel("images per second")
    axes.grid(axis="y", lw=0.4, alpha=0.5)
    axes.legend(fontsize=7.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    conditions = result.conditions
    fixed = f"batches of {conditions['batch_size']}" if axis == "workers" else f"{conditions['workers']} workers"
    title = f"{conditions['images']:,} images {conditions['image']}, {fixed}, {conditions['cores']} cores, by {axis}"
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    _sign(figure, result)
    return figure


def _codecs(result: BenchResult) -> Figure:
    """Speed against size: what each codec costs on disk, and what it gives."""
    figure, axes = plt.subplots(figsize=(8.5, 5.2), layout="constrained")
    for row in (row for row in result.rows if row.sweep is None):
        place = (row.bytes_per_image, row.images_per_second)
        axes.plot(*place, "o", color=_colour(row), ms=8 if _is_ours(row.name) else 5)
        axes.annotate(row.name, place, xytext=(5, 4), textcoords="offset points", fontsize=7.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for scale in (axes.xaxis, axes.yaxis):
        scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
        scale.set_major_formatter(lambda value, _: f"{value:,.0f}")
        scale.set_minor_formatter(NullFormatter())
    axes.set_xlabel("stored bytes per image")
    axes.set_ylabel("images per second")
    axes.grid(lw=0.4, alpha=0.5)
    axes.margins(x=0.18)
    axes.set_title(f"{_title(result)}: speed against size", loc="left", fontsize=11, fontweight="bold")
    _sign(figure, result)
    return figure


def _setting(row: BenchRow, axis: str) -> int:
    return row.workers if axis == "workers" else row.batch_size


def _title(result: BenchResult) -> str:
    conditions = result.conditions
    made = f"{conditions['images']:,} images {conditions['image']}"
    return f"{made}, {conditions['workers']} workers on {conditions['cores']} cores"


def _sign(figure: Figure, result: BenchResult, *legend: str) -> None:
    # pictures are passed on: the folder's name is enough, where it lies is this machine's
    conditions = result.conditions | {"source": result.conditions["source"].rsplit("/", 1)[-1]}
    figure.supxlabel("\n".join([*legend, *conditions_lines(conditions)]), fontsize=6.5, color=INK, x=0.01, ha="left")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and as SVG, and close it."""
    paths = [Path(f"{stem}.png"), Path(f"{stem}.svg")]
    figure.savefig(paths[0], dpi=150)
    figure.savefig(paths[1], metadata={"Date": None})
    plt.close(figure)
    return paths
