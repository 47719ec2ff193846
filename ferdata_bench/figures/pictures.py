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

from ferdata_bench.loaders.options import BenchResult
from ferdata_bench.loaders.plot import LINE, OURS, PLAIN, STYLE, THEIRS, save
from ferdata_bench.loaders.report import save_plot

__all__ = ["draw"]


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
        return save(figure, figures / name)


def _bars(figure: Figure, values: Mapping[str, Any]) -> None:
    """Draw shares of the lower ceiling: codecs differ so much that images per second would hide all but the fastest."""
    for axes, each in zip(figure.subplots(1, len(values["sets"]), squeeze=False)[0], values["sets"], strict=True):
        plain = {ratio["codec"]: ratio["plain"] for ratio in each["ratios"]}
        for place, row in enumerate(each["rows"]):
            _bar_of(axes, place - 0.2, row["fraction"], row, OURS, "ferdata.Loader" if place == 0 else None)
            axes.plot([place - 0.4, place], [row["bar"]] * 2, color=LINE, lw=1.5, label="asked" if place == 0 else None)
            if (theirs := plain.get(row["codec"])) is not None:
                share = theirs["images_per_second"] / _ceiling(row)
                _bar_of(axes, place + 0.2, share, theirs, PLAIN, "plain DataLoader" if place == 0 else None)
        names = [f"{row['codec']}\n{row['lower_ceiling']} ceiling\n{_ceiling(row):,.0f}/s" for row in each["rows"]]
        axes.set_xticks(range(len(each["rows"])), names, fontsize=7.5)
        axes.set(
            title=f"{each['images']:,} photographs of {each['size']} px",
            ylabel="share of the lower ceiling",
            ylim=(0, 1.25),
        )
        axes.legend(fontsize=7.5, frameon=False, loc="upper right", ncols=3)


def _bar_of(axes: Axes, x: float, share: float, row: Mapping[str, Any], colour: str, label: str | None) -> None:
    axes.bar(x, share, width=0.38, color=colour, label=label)
    axes.text(x, share, f"{row['images_per_second']:,.0f}/s", fontsize=7, ha="center", va="bottom")


def _ceiling(row: Mapping[str, Any]) -> float:
    return float(row["ceilings"][row["lower_ceiling"]]["images_per_second"])


def _bar(axes: Axes, place: float, measured: Mapping[str, Any], colour: str) -> None:
    axes.bar(place, measured["images_per_second"], width=0.5, color=colour)
    axes.plot([place, place], [min(measured["runs"]), max(measured["runs"])], color="black", lw=0.9, alpha=0.6)


def _scale(figure: Figure, values: Mapping[str, Any]) -> None:
    panels: tuple[tuple[str, Callable[[Mapping[str, Any]], float]], ...] = (
        ("images per second", lambda row: row["images_per_second"]),
        ("construction to first batch, s", lambda row: row["first_batch_seconds"]),
        ("main process's own memory, MB", lambda row: row["after"]["own_bytes"] / 1e6),
    )
    for axes, (title, pick) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for codec in dict.fromkeys(row["codec"] for row in values["rows"]):
            rows = [row for row in values["rows"] if row["codec"] == codec]
            axes.plot([row["images"] for row in rows], [pick(row) for row in rows], marker="o", ms=4, label=codec)
        axes.set(title=title, xlabel="images", ylim=(0, 1.2 * max(pick(row) for row in values["rows"])))
        for scale in (axes.xaxis, axes.yaxis):
            scale.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 2 or value == 0 else f"{value:g}")
        axes.tick_params(axis="x", rotation=30)
        axes.legend(loc="best", fontsize=7.5, frameon=False)


def _ingest(figure: Figure, values: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    workers = values["conditions"]["workers"]
    ways = {"shard": "ingest", "bare, one core": "bare_one_core", f"bare, {workers} at once": "bare_all_workers"}
    for number, name in enumerate(ways.values()):
        _bar(axes, number, values[name], OURS if name == "ingest" else THEIRS)
    limit = workers * values["bare_one_core"]["images_per_second"]
    axes.axhline(limit, color=LINE, ls="--", lw=1)
    axes.text(0, limit, f"{workers} x one core", color=LINE, fontsize=8, ha="center", va="bottom")
    axes.set_xticks(range(len(ways)), list(ways))
    axes.set(ylabel="images per second")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


_DRAWN: dict[str, Callable[[Figure, Mapping[str, Any]], None]] = {"bars": _bars, "scale": _scale, "ingest": _ingest}
