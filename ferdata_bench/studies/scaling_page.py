"""The tables of ``docs/scaling.md``, from what the studies of scale and of a far bucket have measured.

In: their records. Out: Markdown, the same for the same records.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ferdata_bench.figures.markdown import table

__all__ = ["bucket_tables", "scale_tables"]

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


def bucket_tables(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the tables of epochs behind a URL: the first, by size of the set and round trip; and those after it."""
    rates, sizes = list[dict[tuple[str, int, int], Row]](), list[str]()
    for record in records:
        rates.append({(row["way"], row["latency_ms"], row["workers"]): row for row in record["timings"]})
        sizes.append(f"{record['conditions']['images']:,} images")
    known = records[0]["conditions"]
    workers, latencies, far = known["workers"], known["latencies_ms"], known["latencies_ms"][-1]
    columns = [(found, latency) for found in rates for latency in latencies]
    names = [f"{size}, {latency} ms" for size in sizes for latency in latencies]

    def line(words: str, way: str, number: int, show: Callable[[Row], str]) -> list[str]:
        return [words, *(show(found[way, latency, number]) for found, latency in columns)]

    first = [line("whole shards by the same client, images/s", "whole shards", known["connections"], _speed)]
    first += [line(f"first epoch, {number} workers", "first epoch", number, _speed) for number in workers]
    first += [line(f"first batch, {number} workers, s", "first epoch", number, _wait) for number in workers]
    later = [
        [
            f"{epoch}, {number} workers",
            *(
                _speed(found[f"{epoch}, {where}", latency, number])
                for found in rates
                for where, latency in (("local", 0), ("cached", far))
            ),
        ]
        for epoch in ("second epoch", "third epoch")
        for number in workers
    ]
    later_names = [f"{size}, {where}" for size in sizes for where in ("local", "cached")]
    return {
        "first": "\n".join(table(f" | {' | '.join(names)}", first)),
        "later": "\n".join(table(f" | {' | '.join(later_names)}", later)),
    }


def _speed(row: Row) -> str:
    share = "" if row["share"] is None else f" ({row['share']:.2f})"
    return f"{row['images_per_second']:,.0f}{share}"


def _wait(row: Row) -> str:
    return f"{row['first_batch_seconds']:.2f}"


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
