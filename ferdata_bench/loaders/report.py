"""Shows a benchmark's result: a table for the terminal, a JSON file, pictures.

In: a :class:`BenchResult`. Out: text on a console, files. Every table and picture names the conditions.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferdata.errors import StoreError
from ferdata_bench.loaders.options import BenchResult, BenchRow

__all__ = ["conditions_lines", "print_result", "save_plot", "write_json"]


def print_result(result: BenchResult, console: Console) -> None:
    """Print conditions, the table with its ceilings, sweeps, notes and the sentence on what limits the machine."""
    console.print()
    for line in conditions_lines(result.conditions):
        console.print(Text(line, style="dim"))
    main = [row for row in result.rows if row.sweep is None]
    console.print(_table(main, result.ceilings, width=console.width))
    for axis in dict.fromkeys(row.sweep for row in result.rows if row.sweep):  # the codecs are all in the main table
        console.print(_sweep_table(axis, [row for row in result.rows if row.sweep in (axis, None)]))
    if console.width < WIDE:
        console.print(
            Text("a wider terminal shows memory, first batch and ingest too; --json writes everything", style="dim")
        )
    for note in result.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(Text(result.limit, style="bold"))


def write_json(result: BenchResult, path: Path) -> None:
    """Write every figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")


def save_plot(result: BenchResult, path: Path) -> list[Path]:
    """Draw the result as PNG and SVG beside each other, and its sweeps; return the files written."""
    from ferdata_bench.loaders.plot import write_plots  # matplotlib is slow to import, and tables don't need it

    try:
        return write_plots(result, path)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}, expected a picture that can be written; choose another name"
        ) from error


def conditions_lines(conditions: dict[str, Any]) -> list[str]:
    """Return the conditions as a few lines of text."""
    versions = ", ".join(f"{name} {version}" for name, version in conditions["versions"].items())
    return [
        f"{conditions['cpu']}, {conditions['cores']} cores, {conditions['memory_bytes'] / 2**30:.0f} GiB, "
        f"{conditions['system']}, load {conditions['load_before']} before",
        f"{conditions['images']:,} images {conditions['image']} ({conditions['bytes_per_image']:,} bytes; JPEG "
        f"{conditions['source_bytes_per_image']:,}) from {conditions['source']}",
        f"cache {conditions['cache']}; {conditions['workers']} workers, batches of {conditions['batch_size']}, "
        f"{conditions['epochs']} timed runs of at least {conditions['min_seconds']} s; "
        f"consumer {conditions['consumer']}",
        f"Python {conditions['python']}, {versions}; commit {conditions['commit'] or 'unknown'}",
    ]


def _table(rows: list[BenchRow], ceilings: dict[str, Any], *, width: int) -> Table:
    columns = _COLUMNS if width >= WIDE else _COLUMNS[: NARROW_COLUMNS if width >= NARROW else 3]
    table = Table(
        title="Images per second: median of the turns, warm-up left out",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("contender", no_wrap=True)
    for heading, _ in columns:
        table.add_column(heading, justify="left" if heading == "codec" else "right", no_wrap=True)
    for name, rate in _ceiling_lines(ceilings):
        table.add_row(name, "", f"{rate:,.0f}", *[""] * (len(columns) - 2), style="dim")
    table.add_row()
    for row in rows:
        table.add_row(
            row.name, *[show(row) for _, show in columns], style="bold green" if row.name.startswith("ferdata") else ""
        )
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


_COLUMNS: list[tuple[str, Callable[[BenchRow], str]]] = [
    ("codec", lambda row: row.codec),
    ("images/s", lambda row: f"{row.images_per_second:,.0f}"),
    ("spread", lambda row: f"{row.spread:.0%}"),
    ("ceiling", lambda row: _share(row.fraction_of_ceiling)),
    ("CPU µs", lambda row: f"{row.cpu_seconds_per_image * 1e6:,.0f}"),
    ("B/image", lambda row: f"{row.bytes_per_image:,.0f}"),
    ("peak MB", lambda row: f"{row.peak_memory_bytes / 1e6:,.0f}"),
    ("own MB", lambda row: f"{row.peak_private_bytes / 1e6:,.0f}"),
    ("1st s", lambda row: f"{row.first_batch_seconds:.2f}"),
    ("ingest s", lambda row: "" if row.ingest_seconds is None else f"{row.ingest_seconds:.1f}"),
]
NARROW_COLUMNS = 5
NARROW, WIDE = 72, 110
"""Below this width, names would be cut beside five columns; from this one on, all of them fit."""


def _ceiling_lines(ceilings: dict[str, Any]) -> list[tuple[str, float]]:
    lines = [("ceiling: copy", ceilings["copy"])]
    lines += [(f"ceiling: decode {codec}", rate) for codec, rate in ceilings["decode_by_codec"].items()]
    lines += [("ceiling: cold disk", ceilings["disk"])]
    return [(name, rate) for name, rate in lines if rate]


def _sweep_table(axis: str, rows: list[BenchRow]) -> Table:
    """Return contenders by settings: one column for each value of the axis."""
    values = sorted({_setting(row, axis) for row in rows})
    table = Table(
        title=f"Images per second by {axis}",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("contender", no_wrap=True)
    for value in values:
        table.add_column(str(value), justify="right", no_wrap=True)
    for name in dict.fromkeys(row.name for row in rows):
        rates = {_setting(row, axis): f"{row.images_per_second:,.0f}" for row in rows if row.name == name}
        table.add_row(name, *[rates.get(value, "") for value in values])
    return table


def _setting(row: BenchRow, axis: str) -> int:
    return row.workers if axis == "workers" else row.batch_size
