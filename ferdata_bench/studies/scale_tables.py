"""The tables of ``docs/scaling.md``, from what the study of scale has measured.

In: a record for each term and count. Out: Markdown, the same for the same records.
"""

import math
from collections.abc import Sequence
from typing import Any

from ferdata_bench.figures.markdown import table

__all__ = ["scale_tables"]

Row = dict[str, Any]


def scale_tables(rows: Sequence[Row]) -> dict[str, str]:
    """Return the tables, by what each is about: a rank's start, the table of samples, the items of ``shard``."""
    found = {term: {row["count"]: row for row in rows if row["term"] == term} for term in ("index", "order")}
    starts = [found["index"][count] | found["order"][count] for count in found["index"]]
    tables = {
        "start": (
            "images | shards | index, MB | open it, s | its peak, MB | plan the first batch, s | the next epoch's, s "
            "| a window, ms | order's peak, MB",
            [_start(row) for row in starts],
        ),
        "table": (
            "images | bytes a row | row groups | open it, ms | labels of one group, ms | all labels, s "
            "| peak for all, MB",
            [_table(row) for row in rows if row["term"] == "table"],
        ),
        "items": (
            "items, with boxes and landmarks | scanned, MB | chosen, MB | while shards are written, MB "
            "| at the end, MB | of which its own then, MB",
            [_items(row) for row in rows if row["term"] == "items"],
        ),
    }
    return {name: "\n".join(table(head, cells, text_columns=0)) for name, (head, cells) in tables.items()}


def _start(row: Row) -> list[str]:
    seconds = (f"window_first_seconds_{epoch}" for epoch in range(2))
    return [
        _power(row["count"]),
        f"{row['shards']:,}",
        f"{row['file_mb']}",
        _digits(row["open_seconds"]),
        f"{row['peak_mb']}",
        *(_digits(row[name]) for name in seconds),
        _digits(1000 * row["window_window_seconds"]),
        f"{row['window_peak_mb']}",
    ]


def _table(row: Row) -> list[str]:
    milliseconds = (_digits(1000 * row[name]) for name in ("open_seconds", "group_seconds"))
    labels = _digits(row["all_labels_seconds"]), f"{row['all_labels_mb']}"
    return [_power(row["count"]), f"{row['bytes_per_row']:.1f}", f"{row['groups']:,}", *milliseconds, *labels]


def _items(row: Row) -> list[str]:
    names = ("scan_mb", "select_mb", "tasks_mb", "finish_mb", "finish_own_mb")
    return [f"{row['count']:,}", *(f"{row[name]:,}" for name in names)]


def _power(count: int) -> str:
    return f"10^{round(math.log10(count))}"


def _digits(value: float) -> str:
    """Return two digits that count."""
    places = 0 if value <= 0 else max(0, 1 - math.floor(math.log10(value)))
    return f"{value:.{places}f}"
