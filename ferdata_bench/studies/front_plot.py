"""The codec study as a picture: bytes per image against speed, one panel per size, the front drawn through.

In: marked rows and the defaults. Out: a PNG. Matplotlib's own canvas is used, so no display is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ferdata_bench.studies.front import StudyRow

__all__ = ["plot_study"]

STYLES = {
    "raw": ("raw", "tab:red", "s"),
    "zstd": ("zstd, plain pixels", "tab:blue", "o"),
    "bytes": ("filtered, bytes", "tab:olive", "x"),
    "nibbles": ("filtered, nibbles", "tab:pink", "x"),
    "planes": ("filtered, bit planes", "tab:orange", "+"),
    "rice": ("filtered, Rice", "tab:green", "^"),
    "jpeg": ("jpeg", "tab:purple", "D"),
}


def plot_study(rows: Sequence[StudyRow], defaults: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw one panel for each size in ``rows``, the default of each codec ringed, and write them to ``path``."""
    sizes = sorted({row.size for row in rows}, reverse=True)
    figure = Figure(figsize=(7.5 * len(sizes), 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        _draw_panel(axes, [row for row in rows if row.size == size], defaults)
        axes.set_title(f"{size} x {size} pixels")
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Axes, rows: Sequence[StudyRow], defaults: Mapping[str, Mapping[str, Any]]) -> None:
    for kind, (label, colour, marker) in STYLES.items():
        here = [row for row in rows if _kind(row) == kind]
        axes.scatter(
            [row.bytes_per_image / 1e3 for row in here],
            [row.times_decode_jpeg for row in here],
            s=22,
            c=colour,
            marker=marker,
            label=label,
        )
    front = sorted(
        (row for row in rows if row.front_gap == 0 and row.images_per_frame == 1), key=lambda row: row.bytes_per_image
    )
    axes.plot(
        [row.bytes_per_image / 1e3 for row in front],
        [row.times_decode_jpeg for row in front],
        "k--",
        lw=1,
        label="Pareto front",
    )
    for codec, default in defaults.items():
        row = next(row for row in rows if row.name == default["name"])
        place = (row.bytes_per_image / 1e3, row.times_decode_jpeg)
        axes.annotate(codec, place, xytext=(8, 10), textcoords="offset points", fontweight="bold")
        axes.scatter(*place, s=150, facecolors="none", edgecolors="k", linewidths=1.5)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="stored kB an image",
        ylabel="images/s on one core, as a multiple of decode_jpeg",
    )
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="upper left")


def _kind(row: StudyRow) -> str:
    return str(row.filter["arrangement"]) if row.filter is not None else row.codec
