"""The codec study as a picture: times smaller against speed, one panel per size and kind, the front drawn through.

In: marked rows. Out: a PNG. Matplotlib's own canvas is used, so no display is needed.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ferdata_bench.studies.front import StudyRow

__all__ = ["plot_study"]

STYLES = {"ferdata": ("tab:green", "^"), "imagecodecs": ("tab:blue", "o"), "openzl": ("tab:orange", "s")}
_BELOW = ("Blosc, bit shuffle + zstd", "QOI", "JPEG-LS", "PNG")
"""Names under their marks, where another's would cross them."""


def plot_study(rows: Sequence[StudyRow], path: Path) -> None:
    """Draw one panel for each size (a row) and kind (a column) in ``rows``, and write them to ``path``."""
    sizes, kinds = (list(dict.fromkeys(values)) for values in zip(*((row.size, row.kind) for row in rows), strict=True))
    figure = Figure(figsize=(8 * len(kinds), 6 * len(sizes)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes_row, size in zip(figure.subplots(len(sizes), len(kinds), squeeze=False), sizes, strict=True):
        for axes, kind in zip(axes_row, kinds, strict=True):
            _draw_panel(axes, [row for row in rows if (row.size, row.kind) == (size, kind) and row.name != "jpeg"])
            axes.set_title(f"{size} x {size} pixels, {kind}")
    figure.savefig(path, dpi=80)


def _draw_panel(axes: Axes, rows: Sequence[StudyRow]) -> None:
    for library, (colour, marker) in STYLES.items():
        here = [row for row in rows if row.library == library]
        axes.scatter(
            [row.ratio for row in here], [row.mb_per_second for row in here], c=colour, marker=marker, label=library
        )
    for row in rows:
        if row.library == "ferdata" and row.name not in ("raw", "zstd -10", "compact"):
            continue  # the other zstd levels, which a line of text says
        weight = "bold" if row.name == "compact" else "normal"
        place = (row.ratio, row.mb_per_second)
        axes.annotate(
            row.name,
            place,
            xytext=(5, -12 if row.name in _BELOW else 4),
            textcoords="offset points",
            fontsize=8,
            fontweight=weight,
        )
    front = sorted((row for row in rows if row.front_gap == 0), key=lambda row: row.ratio)
    axes.plot([row.ratio for row in front], [row.mb_per_second for row in front], "k--", lw=1, label="Pareto front")
    axes.set(yscale="log", xlabel="times smaller than the pixels", ylabel="MB/s of pixels decoded by one core")
    axes.margins(x=0.22)
    axes.text(0.01, 0.02, "triangles without a name: zstd at other levels", fontsize=8, transform=axes.transAxes)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="upper right")
