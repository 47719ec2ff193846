"""What does each setting of the report change on drawn faces? Runs the toy commands of ``docs/reproduce.md``.

    python -m ferdata_bench.studies.reproduce --out reproduce

In: the page. Out: what each command leaves below ``toy/``, and of its sweeps one table and one picture (``factors.md``,
``factors.json``, ``factors.png``). A second call goes on where the first stopped. An hour on two busy cores.
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from ferdata.errors import FerdataError
from ferdata.training.report.style import (
    DOCUMENT_DPI,
    TRAIN_COLOR,
    WIDTH,
    new_figure,
    png_bytes,
    style_axes,
    styled,
)
from ferdata.training.run.disk import write_json
from ferdata.training.sweep.result import text_of

__all__ = ["PAGE", "draw_factors", "factor_table", "files", "page_commands", "read_factors", "reproduce"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reproduce.md"
TOY = "toy/"
"""A command that names something below this folder is at toy size, any other for real data sets."""

QUICK = {"--count": "400", "--epochs": "1", "--limit": "64", "--test": "2"}
"""What shows that every command works, and nothing else."""

_DONE = "done.json"
_COLUMNS = 3
_DOT: dict[str, Any] = {"s": 16, "color": TRAIN_COLOR, "alpha": 0.5, "linewidths": 0, "zorder": 3}


def page_commands(page: str, *, toy: bool) -> list[list[str]]:
    """Return the commands of the page, as words, without ``python cli.py``; those at toy size, or the others.

    A command that goes on in the next line ends its line with a backslash.
    """
    lines = "".join(_blocks(page, "")).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("python ")]
    return [words for words in found if toy == any(TOY in word for word in words)]


def files(page: str) -> dict[str, str]:
    """Return the modules that the page shows, by file name: such a block begins with a comment, ``# module NAME``."""
    modules = [(re.match(r"# module (\w+)\n", text), text) for text in _blocks(page, "python")]
    return {f"{named[1]}.py": text for named, text in modules if named}


def reproduce(out: Path, *, quick: bool = False, only: str = "") -> dict[str, Any]:
    """Run the toy commands that have not ended yet, in order, and return the figures of all sweeps.

    Args:
        out: Folder that the commands run in.
        quick: Show that everything works, with few faces and one epoch.
        only: Run only commands that hold this text.

    Raises:
        FerdataError: If a command failed.
    """
    page = PAGE.read_text(encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files(page).items():
        (out / name).write_text(text, encoding="utf-8")
    done = json.loads((out / _DONE).read_text()) if (out / _DONE).is_file() else []
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for words in page_commands(page, toy=True):
        if quick:
            words = [QUICK.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        command = shlex.join(words)
        if command in done or only not in command:
            continue
        print(f"\n{command}", flush=True)
        program = [sys.executable, *words[1:]]
        program[1] = str(ROOT / "cli.py") if words[1] == "cli.py" else words[1]
        if code := subprocess.run(program, cwd=out, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode:
            raise FerdataError(f"{command}: exit code {code} found, expected 0; the same call goes on with it")
        done.append(command)
        (out / _DONE).write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    record = read_factors(out)
    if record:
        write_json(out / "factors.json", record)
        (out / "factors.md").write_text(factor_table(record), encoding="utf-8")
        (out / "factors.png").write_bytes(draw_factors(record))
    return record


def read_factors(out: Path) -> dict[str, Any]:
    """Return what the sweeps came to: by the sweep's title, the setting, and its values with the accuracy of each seed.

    In the order of the page; values in the order in which they were asked for.
    """
    record: dict[str, Any] = {}
    for words in page_commands(PAGE.read_text(encoding="utf-8"), toy=True):
        path = out / words[words.index("--out") + 1] / "result.json" if "--out" in words else out
        if "sweep" not in words or not path.is_file():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        (name,) = found["spec"]["vary"]
        runs = {text_of(each["settings"][name]): each["runs"] for each in found["groups"]}
        record[found["spec"]["title"]] = {
            "setting": name,
            "values": {
                text_of(value): [run["result"] and run["result"]["accuracy"]["val"] for run in runs[text_of(value)]]
                for value in found["spec"]["vary"][name]
            },
        }
    return record


def factor_table(record: Mapping[str, Any]) -> str:
    """Return a Markdown table: each value's mean accuracy on val and standard deviation, and the points they span."""
    lines = ["| | accuracy on val, mean ± standard deviation over the seeds | best over worst |", "|---|---|---:|"]
    for title, factor in record.items():
        means = {value: _mean(runs) for value, runs in factor["values"].items()}
        known = [mean for mean in means.values() if mean is not None]
        cells = [f"{value}: {_shown(factor['values'][value])}" for value in means]
        points = f"{100 * (max(known) - min(known)):.0f} points" if known else ""
        lines.append(f"| {title} | {', '.join(cells)} | {points} |")
    return "\n".join(lines) + "\n"


@styled
def draw_factors(record: Mapping[str, Any]) -> bytes:
    """Return a PNG with a panel a setting: a dot a run, means as dashes, joined if the values are numbers."""
    rows = -(-len(record) // _COLUMNS)
    columns = min(len(record), _COLUMNS)
    figure = new_figure(WIDTH, 0.3 + 1.7 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, (title, factor) in zip(panels, record.items(), strict=False):
        values = factor["values"]
        dots = [(place, run) for place, runs in enumerate(values.values()) for run in runs if run is not None]
        axes.scatter(*zip(*dots, strict=True), **_DOT)
        means = [(place, mean) for place, runs in enumerate(values.values()) if (mean := _mean(runs)) is not None]
        look = {"marker": ""} if all(map(_is_number, values)) else {"marker": "_", "markersize": 14, "linestyle": ""}
        axes.plot(*zip(*means, strict=True), color=TRAIN_COLOR, linewidth=1.6, **look)
        axes.set_xlim(-0.4, len(values) - 0.6)
        axes.set_xticks(range(len(values)), list(values), rotation=30 if len("".join(values)) > 22 else 0)
        style_axes(axes, title=title, x_label="", percent=True)
        axes.set_ylim(0, 1)
    for axes in panels[len(record) :]:
        axes.axis("off")
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel("accuracy on val")
    line = Line2D([], [], color=TRAIN_COLOR, label="mean of a value's runs")
    figure.legend(handles=[axes.scatter([], [], **_DOT, label="a run"), line], loc="outside upper left", ncols=2)
    return png_bytes(figure, dpi=DOCUMENT_DPI)


def _blocks(page: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [text for kind, text in blocks if kind == language]


def _mean(runs: Sequence[float | None]) -> float | None:
    known = [run for run in runs if run is not None]
    return statistics.fmean(known) if known else None


def _shown(runs: Sequence[float | None]) -> str:
    known = [run for run in runs if run is not None]
    if not known:
        return "failed"
    spread = f" ± {100 * statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{100 * statistics.fmean(known):.1f}{spread} %"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.reproduce", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("reproduce"), help="folder that the commands run in")
    parser.add_argument("--quick", action="store_true", help="few faces and one epoch: the figures mean nothing")
    parser.add_argument("--only", default="", help="run only commands that hold this text")
    given = parser.parse_args()
    try:
        record = reproduce(given.out, quick=given.quick, only=given.only)
    except FerdataError as error:
        sys.exit(f"error: {error}")
    print(
        f"\n{factor_table(record)}\n{given.out / 'factors.png'}" if record else f"{given.out}: no sweep has ended yet"
    )


if __name__ == "__main__":
    main()
