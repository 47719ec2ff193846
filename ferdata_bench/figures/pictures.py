"""The page's own pictures: the loader beside its ceilings, speed by size, ingest beside its limit; PNG and SVG.

In: values of JSON files. Out: files beside them. Matplotlib's own canvas is used, so no display is needed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ferdata_bench.options import BenchResult
from ferdata_bench.report import save_plot

__all__ = ["draw"]

OURS, PLAIN, BARE = "#1b7f5c", "#8fc4b0", "#9aa5b1"
STYLE: dict[Any, Any] = {"font.size": 9, "svg.hashsalt": "ferdata", "axes.spines.top": False, "axes.spines.right": False}


def draw(name: str, values: Mapping[str, Any], figures: Path) -> list[Path]:
    """Draw what there is to draw of one measurement; return the files written."""
    if name.startswith("bench-"):
        return save_plot(BenchResult.from_json(dict(values)), figures / f"{name}.png")
    if name not in _DRAWN:
        return []
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        _DRAWN[name](figure, values)
        paths = [figures / f"{name}.png", figures / f"{name}.svg"]
        figure.savefig(paths[0], dpi=150)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _bars(figure: Figure, values: Mapping[str, Any]) -> None:
    for axes, each in zip(figure.subplots(1, len(values["sets"]), squeeze=False)[0], values["sets"], strict=True):
        plain = {ratio["codec"]: ratio["plain"] for ratio in each["ratios"]}
        for number, row in enumerate(each["rows"]):
            ceiling = row["ceilings"][row["lower_ceiling"]]
            _bar(axes, number - 0.27, ceiling, BARE, "lower ceiling" if number == 0 else None)
            _bar(axes, number, row, OURS, "ferdata.Loader" if number == 0 else None)
            if row["codec"] in plain:
                _bar(axes, number + 0.27, plain[row["codec"]], PLAIN, "plain DataLoader" if number == 0 else None)
        axes.set_xticks(range(len(each["rows"])), [row["codec"] for row in each["rows"]])
        axes.set(title=f"{each['images']:,} images, {each['size']} px", ylabel="images a second")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(fontsize=7.5, frameon=False)


def _bar(axes: Axes, place: float, measured: Mapping[str, Any], colour: str, label: str | None) -> None:
    axes.bar(place, measured["images_per_second"], width=0.25, color=colour, label=label)
    axes.plot([place, place], [min(measured["runs"]), max(measured["runs"])], color="black", lw=0.9, alpha=0.6)


def _scale(figure: Figure, values: Mapping[str, Any]) -> None:
    panels: tuple[tuple[str, Callable[[Mapping[str, Any]], float]], ...] = (
        ("images a second", lambda row: row["images_per_second"]),
        ("construction to first batch, s", lambda row: row["first_batch_seconds"]),
        ("main process's own memory, MB", lambda row: row["after"]["own_bytes"] / 1e6),
    )
    for axes, (title, pick) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for codec in dict.fromkeys(row["codec"] for row in values["rows"]):
            rows = [row for row in values["rows"] if row["codec"] == codec]
            axes.plot([row["images"] for row in rows], [pick(row) for row in rows], marker="o", ms=4, label=codec)
        axes.set(title=title, xlabel="images", ylim=(0, None))
        for scale in (axes.xaxis, axes.yaxis):
            scale.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 2 or value == 0 else f"{value:g}")
        axes.tick_params(axis="x", rotation=30)
        axes.legend(fontsize=7.5, frameon=False)


def _ingest(figure: Figure, values: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    workers = values["conditions"]["workers"]
    ways = {"shard": "ingest", "bare, one core": "bare_one_core", f"bare, {workers} at once": "bare_all_workers"}
    for number, name in enumerate(ways.values()):
        _bar(axes, number, values[name], OURS if name == "ingest" else BARE, None)
    limit = workers * values["bare_one_core"]["images_per_second"]
    axes.axhline(limit, color="#c0392b", ls="--", lw=1)
    axes.text(len(ways) - 0.5, limit, f"{workers} x one core ", color="#c0392b", fontsize=8, ha="right", va="bottom")
    axes.set_xticks(range(len(ways)), list(ways))
    axes.set(ylabel="images a second")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


_DRAWN: dict[str, Callable[[Figure, Mapping[str, Any]], None]] = {"bars": _bars, "scale": _scale, "ingest": _ingest}
