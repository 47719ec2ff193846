"""What a person sees: progress bars and tables, through rich. Decides nothing.

In: summaries and reports. Out: lines on a terminal.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ferdata.dataset.info import DatasetDescription
from ferdata.ingest import IngestProgress, IngestSummary
from ferdata.shown import printable, shown, without_credentials

__all__ = ["class_table", "console", "counting_bar", "ingest_bar", "pairs", "show_description", "show_ingest", "show_note"]


class _Screen(Console):
    """Prints text as it is, for paths, class names and notes may hold brackets and colons; but nothing that steers a terminal.

    What the output's encoding cannot hold is escaped before widths are reckoned, so that columns stay straight.
    """

    @property
    def encoding(self) -> str:
        """Name of the encoding of what is printed to now."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a text into what can be shown of it; ends of lines stay."""
        safe = printable(without_credentials(text), keep="\n\t")
        return super().render_str(safe.encode(self.encoding, "backslashreplace").decode(self.encoding), **options)


console = _Screen(markup=False, emoji=False)

_PHASES = {
    "scan": "scanning",
    "leaks": "comparing splits",
    "check": "looking at every JPEG",
    "resume": "reading finished shards",
    "write": "writing shards",
    "finish": "finishing",
}


@contextmanager
def ingest_bar() -> Iterator[Callable[[IngestProgress], None]]:
    """Show one bar for an ingest: images, rate, time left, rejects so far."""
    with _bar(TextColumn("{task.fields[rate]}", markup=False)) as bar:
        task = bar.add_task("starting", total=None, rate="")

        def update(now: IngestProgress) -> None:
            rejected = f", {now.rejected:,} rejected" if now.rejected else ""
            rate = f"{now.images_per_second:,.0f} images/s{rejected}" if now.phase == "write" and now.seconds > 0 else ""
            bar.update(task, description=_PHASES.get(now.phase, now.phase), completed=now.done, total=now.total or None, rate=rate)

        yield update


@contextmanager
def counting_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show one bar for anything that counts (done, total)."""
    with _bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_ingest(summary: IngestSummary) -> None:
    """Print what an ingest amounts to."""
    for note in summary.notes:
        show_note(note)
    if not summary.is_new:
        console.print(f"{summary.out}: finished already with these settings, nothing to do (--fresh writes it again)")
    rows = {
        "accepted": f"{summary.accepted:,} of {summary.rows:,} rows",
        "skipped by rule": _reasons(summary.skipped),
        "rejected": _reasons(summary.rejected) + (f"  (listed in {summary.out}/rejects.csv)" if summary.rejected else ""),
        "repaired": _reasons({name: count for name, count in summary.repairs.items() if name != "unusual_size"}),  # has a note
        "leaks between splits": _leaks(summary),
        "bytes in, out": f"{size(summary.bytes_in)} of images, {size(summary.bytes_out)} in {summary.num_shards} shards ({summary.codec})",
    }
    if summary.is_new:
        resumed = f", {summary.resumed_shards} shards were there already" if summary.resumed_shards else ""
        rows["speed"] = (
            f"{summary.images_per_second:,.0f} images/s ({summary.seconds:.1f} s after a scan of {summary.scan_seconds:.1f} s{resumed})"
        )
    pairs(f"{summary.source} ({summary.layout}) -> {summary.out}", rows)
    class_table(summary.class_counts)


def show_description(description: DatasetDescription) -> None:
    """Print what ``info`` knows of a data set."""
    codec = description.codec + (f", level {description.level}" if description.level is not None else "")
    pairs(
        f"{description.root}",
        {
            "source": f"{description.source} ({description.source_layout})",
            "tensors": f"{description.dtype} {description.shape}, mean {_rounded(description.mean)}, std {_rounded(description.std)}",
            "codec": f"{codec}: {description.bytes_per_image:,.0f} bytes an image{_beside_pixels(description.ratio)}",
            "size": f"{size(description.num_bytes)} in {sum(description.shards.values())} shards",
            "fingerprint": description.fingerprint,
            "transform": ", ".join(f"{name} {value}" for name, value in description.transform.get("settings", {}).items()),
            "settings": ", ".join(f"{name} {value}" for name, value in description.settings.items() if value not in (None, False)),
        },
    )
    class_table({split: dict(zip(description.classes, counts, strict=True)) for split, counts in description.counts.items()})
    for note in description.notes:
        show_note(note)


def show_note(note: str) -> None:
    """Print one note."""
    console.print(Text("note: ", style="dim").append(console.render_str(shown(note), style="not dim")))


def pairs(title: str, rows: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    table = Table(title=shown(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, shown(value))
    console.print(table, highlight=False)


def class_table(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Print samples per class and split."""
    names: Sequence[str] = list(next(iter(counts.values()), {}))
    table = Table("class", *counts, "share of " + next(iter(counts), "all"))
    for column in table.columns[1:]:
        column.justify = "right"
    first = sum(next(iter(counts.values()), {}).values()) or 1
    for name in names:
        values = [counts[split].get(name, 0) for split in counts]
        table.add_row(shown(name), *(f"{value:,}" for value in values), f"{values[0] / first:.1%}")
    table.add_section()
    table.add_row("all", *(f"{sum(split.values()):,}" for split in counts.values()), "")
    console.print(table)


def size(num_bytes: float) -> str:
    """Return bytes in the unit that suits, decimal."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:,.0f} {unit}" if unit in ("B", "kB") else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.2f} TB"


@contextmanager
def _bar(*more: TextColumn) -> Iterator[Progress]:
    columns: tuple[ProgressColumn, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
    )
    columns += (*more, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _leaks(summary: IngestSummary) -> str:
    if not summary.leaked_images:
        return "none"
    examples = "; ".join(" = ".join(pair) for pair in summary.leak_examples[:2])
    return f"{summary.leaked_images:,} images are in more than one split, byte for byte ({examples}); --drop-leaks takes them out of train"


def _beside_pixels(ratio: float) -> str:
    if not ratio:
        return ""
    return f", {ratio:.2f} times smaller than bare pixels" if ratio >= 1 else f", {1 / ratio:.2f} times as large as bare pixels"


def _rounded(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.1f}" for value in values) + "]"
