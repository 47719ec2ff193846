"""The documents' own pictures: the loader beside its ceilings, speed by size, ingest beside its limit; PNG and SVG.

In: values of JSON files. Out: files beside them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ferdata.training.report.callouts import label_ends
from ferdata.training.report.style import (
    CODEC_COLORS,
    INK,
    RIVAL,
    WIDTH,
    new_figure,
    save,
    styled,
    thousands,
)
from ferdata_bench.figures.first_day_picture import draw_first_day
from ferdata_bench.loaders.options import BenchResult
from ferdata_bench.loaders.plot import PLAINLY, ROW_HEIGHT, bar
from ferdata_bench.loaders.report import save_plot
from ferdata_bench.studies.front import StudyRow
from ferdata_bench.studies.front_plot import draw_front

__all__ = ["OTHERS", "draw"]

OTHERS = ("pretraining", "reproduce")
"""Pictures beside the documents that show them, from files beside them: PNG alone."""


@styled
def draw(name: str, values: Mapping[str, Any], figures: Path) -> list[Path]:
    """Draw what there is to draw of one measurement; return the files written."""
    if name.startswith("bench-"):
        return save_plot(BenchResult.from_json(dict(values)), figures / f"{name}.png")
    if name in OTHERS:
        path = figures / f"{name}.png"
        path.write_bytes(_draw_other(name, dict(values)))
        return [path]
    return save(_DRAWN[name](values), figures / name) if name in _DRAWN else []


def _draw_other(name: str, values: dict[str, Any]) -> bytes:
    # what these studies train with is slow to import
    if name == "pretraining":
        from ferdata_bench.studies.pretraining import draw_study

        return draw_study(values)
    from ferdata_bench.studies.reproduce import draw_factors

    return draw_factors(values)


def _bars(values: Mapping[str, Any]) -> Figure:
    """Draw shares of the lower ceiling: codecs differ so much that images per second would hide all but the fastest."""
    most = max(len(each["rows"]) for each in values["sets"])
    figure = new_figure(WIDTH, 1.3 + 2.4 * ROW_HEIGHT * most)
    for axes, each in zip(figure.subplots(1, len(values["sets"]), squeeze=False)[0], values["sets"], strict=True):
        plain = {ratio["codec"]: ratio["plain"] for ratio in each["ratios"]}
        for place, row in enumerate(each["rows"]):
            at, color = 2.4 * place, CODEC_COLORS[row["codec"]]
            bar(axes, at, row["fraction"], _rate(row), color=color)
            axes.plot([row["bar"]] * 2, [at - 0.44, at + 0.44], color=INK, linewidth=2)
            if (theirs := plain.get(row["codec"])) is not None:
                share = theirs["images_per_second"] / _ceiling(row)
                bar(axes, at + 0.84, share, _rate(theirs), color=color, pale=True)
        names = [f"{row['codec']}\n{row['lower_ceiling']}\n{_ceiling(row):,.0f}/s" for row in each["rows"]]
        axes.set_yticks([2.4 * place + 0.42 for place in range(len(names))], names)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(2.4 * most - 0.9, -0.7)
        axes.set_xlim(0, 1.5)
        axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
        axes.grid(visible=False)
        axes.axvline(1, color=INK, linestyle="--", linewidth=1, zorder=0)
        axes.set(title=f"{each['images']:,} photographs of {each['size']} px", xlabel="share of the lower ceiling")
    explained = [
        Patch(color=INK, label="full: ferdata.Loader"),
        PLAINLY,
        Line2D([], [], color=INK, marker="|", markersize=9, markeredgewidth=2, linestyle="", label="what is asked"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1, label="the lower ceiling: which, and its rate"),
    ]
    figure.legend(handles=explained, loc="outside upper left", ncols=2)
    return figure


def _rate(row: Mapping[str, Any]) -> str:
    return f"{row['images_per_second']:,.0f}/s"


def _ceiling(row: Mapping[str, Any]) -> float:
    return float(row["ceilings"][row["lower_ceiling"]]["images_per_second"])


def _scale(values: Mapping[str, Any]) -> Figure:
    panels: tuple[tuple[str, Callable[[Mapping[str, Any]], float]], ...] = (
        ("images per second", lambda row: row["images_per_second"]),
        ("seconds to the first batch", lambda row: row["first_batch_seconds"]),
        ("MB of the main process", lambda row: row["after"]["own_bytes"] / 1e6),
    )
    figure = new_figure(WIDTH, 2.5)
    for axes, (title, pick) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        ends = []
        for codec in dict.fromkeys(row["codec"] for row in values["rows"]):
            points = [(row["images"], pick(row)) for row in values["rows"] if row["codec"] == codec]
            axes.plot(*zip(*points, strict=True), marker="o", color=CODEC_COLORS[codec])
            ends.append((codec, *points[-1], CODEC_COLORS[codec]))
        axes.set(title=title, xlabel="thousands of images", ylim=(0, 1.1 * max(map(pick, values["rows"]))), xlim=0)
        axes.set_xticks(sorted({row["images"] for row in values["rows"]}))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}")
        axes.yaxis.set_major_formatter(thousands)
        label_ends(axes, ends)
    return figure


def _ingest(values: Mapping[str, Any]) -> Figure:
    conditions = values["conditions"]
    codec, workers = conditions["codec"], conditions["workers"]
    rows = {
        f"ferdata shard, {workers} workers": "ingest",
        "bare decoding and compressing, one core": "bare_one_core",
        f"the same, {workers} at once": "bare_all_workers",
    }
    figure = new_figure(WIDTH, 1.5 + 1.5 * ROW_HEIGHT * len(rows))
    axes = figure.subplots()
    for place, name in enumerate(rows.values()):
        row = values[name]
        color = CODEC_COLORS[codec.partition(",")[0]] if name == "ingest" else RIVAL
        bar(axes, place, row["images_per_second"], f"{row['images_per_second']:,.0f}", color=color, runs=row["runs"])
    limit = workers * values["bare_one_core"]["images_per_second"]
    axes.axvline(limit, color=INK, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlim(0, 1.18 * max(max(values[name]["runs"]) for name in rows.values()))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.set(xlabel=f"images per second, {codec}")
    axes.xaxis.set_major_formatter(thousands)
    explained = [
        Line2D([], [], color=INK, linestyle="--", linewidth=1, label=f"{workers} times one core, {limit:,.0f}"),
        Line2D([], [], color=INK, linewidth=0.9, label="slowest to fastest run"),
    ]
    figure.legend(handles=explained, loc="outside upper left", ncols=2)
    return figure


def _study(values: Mapping[str, Any]) -> Figure:
    return draw_front([StudyRow(**row) for row in values["rows"]])


_DRAWN: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "bars": _bars,
    "scale": _scale,
    "ingest": _ingest,
    "first-day": draw_first_day,
    "study": _study,
}
