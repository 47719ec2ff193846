"""The look of every picture: sizes, fonts, and colours that people who see few colours can tell apart, on white.

In: inches. Out: figures, PNG bytes, files. What draws is decorated with :data:`styled`, makes its figure with
:func:`new_figure`, and takes its colours from here; ``callouts`` puts names beside what they name.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = [
    "CODEC_COLORS",
    "DOCUMENT_DPI",
    "FEELING_COLORS",
    "GRID",
    "INK",
    "MUTED",
    "PALE",
    "RIVAL",
    "SERIES",
    "SHADES",
    "SMALL",
    "TRAIN_COLOR",
    "VAL_COLOR",
    "WIDTH",
    "new_figure",
    "png_bytes",
    "save",
    "style_axes",
    "styled",
    "thousands",
]

WIDTH = 6.5
"""Inches of a picture in a document: in GitHub's column of 830 px, 9 points are 16 px, and at half of that still 8."""
DOCUMENT_DPI = 256
DPI = 144
"""Of pictures in pages, whose style sheet knows how far they may shrink."""
SMALL = 8.0
"""Points of what stands beside and below: ticks, legends, names."""

INK, MUTED, GRID = "#1f2933", "#616e7c", "#e4e7eb"
"""As in the pages' style sheet."""
TRAIN_COLOR, VAL_COLOR = "#2f6fde", "#e8762c"
FEELING_COLORS = {"valence": "#1b998b", "arousal": "#b5179e"}
CODEC_COLORS = {"compact": "#0072b2", "raw": "#d55e00", "zstd": "#009e73", "jpeg": "#882e72"}
"""A codec has its colour in every picture (Okabe and Ito's, and a purple of Tol's)."""
RIVAL = "#9aa5b1"
"""What is not ours."""
PALE = 0.4
"""Opacity of a colour that says: the same, by plainer means."""
SERIES = (
    "#332288", "#cc6677", "#117733", "#ddcc77", "#88ccee", "#aa4499", "#44aa99", "#882255", "#999933", INK,
)  # fmt: skip
"""Of things without an order, like classes (Tol's muted colours)."""
SHADES = LinearSegmentedColormap.from_list("ferdata-rank", ["#c3cfdd", "#7fa9ee", TRAIN_COLOR, "#173c80"])
"""Of things with an order: the more, the darker."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "white",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.titlesize": 10.5,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # which comes with matplotlib
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
    "svg.hashsalt": "ferdata",
    "savefig.facecolor": "white",
    "text.color": INK,
    "text.parse_math": False,  # names may hold dollars, which would begin a formula
    "text.usetex": False,
    **{f"{axis}.{part}.size": 0 for axis in ("xtick", "ytick") for part in ("major", "minor")},
    **{f"{axis}.labelcolor": MUTED for axis in ("xtick", "ytick")},
    **{f"{axis}.labelsize": SMALL for axis in ("xtick", "ytick")},
}
styled = matplotlib.rc_context(_STYLE)
"""Decorates what draws: ticks and texts that are made there have this look, whatever a process has set for itself."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches, drawn by Agg whatever backend the process uses."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


@styled
def png_bytes(figure: Figure, *, dpi: int = DPI) -> bytes:
    """Return a figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@styled
def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure of a document as PNG and as SVG; return both files."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    paths[0].write_bytes(png_bytes(figure, dpi=DOCUMENT_DPI))
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def thousands(value: float, _: Any = None) -> str:
    """Return a number as axes show it: 0.5, 20, 150,000."""
    return f"{value:,.0f}" if value >= 2 or value == 0 else f"{value:g}"


def style_axes(axes: Axes, *, title: str, x_label: str, percent: bool = False) -> None:
    """Give axes a title, what their x is, whole epochs, percentages, and a legend of what has a name."""
    axes.set_title(title)
    axes.set_xlabel(x_label)
    if x_label == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        # named, since matplotlib warns if it takes a second to find the default's place, as on a busy machine
        axes.legend(loc="best")
