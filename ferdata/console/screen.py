"""What a person sees: progress bars and tables, through rich. Decides nothing.

In: summaries and reports. Out: lines on a terminal.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ferdata.bars import FittingProgress, is_kept_whole
from ferdata.program import as_typed
from ferdata.shown import printable, shown, without_credentials

if TYPE_CHECKING:
    from ferdata.ingest import IngestProgress

__all__ = [
    "class_table",
    "console",
    "counting_bar",
    "ingest_bar",
    "pairs",
    "phases_bar",
    "say",
    "show_note",
    "show_text",
    "size",
]


class _Screen(Console):
    """Prints text as it is, for paths, class names and notes may hold brackets; but nothing that steers a terminal.

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
    "spool": "taking images in",
    "scan": "scanning",
    "leaks": "comparing splits",
    "check": "looking at every JPEG",
    "resume": "reading finished shards",
    "write": "writing shards",
    "finish": "finishing",
}


@contextmanager
def ingest_bar() -> Iterator[Callable[["IngestProgress"], None]]:
    """Show one bar for an ingest: images, rate, time left, rejects so far."""
    with _bar(TextColumn("{task.fields[rate]}", markup=False)) as bar:
        task = bar.add_task("starting", total=None, rate="")

        def update(now: "IngestProgress") -> None:
            rejected = f", {now.rejected:,} rejected" if now.rejected else ""
            rate = (
                f"{now.images_per_second:,.0f} images/s{rejected}" if now.phase == "write" and now.seconds > 0 else ""
            )
            bar.update(
                task,
                description=_PHASES.get(now.phase, now.phase),
                completed=now.done,
                total=now.total or None,
                rate=rate,
            )

        yield update


@contextmanager
def phases_bar(first: str = "starting") -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar for anything that counts in several phases (what goes on, done, total)."""
    with _bar() as bar:
        task = bar.add_task(first, total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


@contextmanager
def counting_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show one bar for anything that counts (done, total)."""
    with phases_bar(what) as show:
        yield partial(show, what)


def say(text: str) -> None:
    """Print one line of what goes on."""
    console.print(as_typed(text), style="dim", highlight=False)


def show_text(text: str) -> None:
    """Print sentences, a line or several: a terminal breaks them at words, a file keeps each line whole."""
    for line in text.splitlines():
        console.print(line, highlight=False, soft_wrap=is_kept_whole(line, console))


def show_note(note: str) -> None:
    """Print one note."""
    console.print(Text("note: ", style="dim").append(console.render_str(shown(as_typed(note)), style="not dim")))


def pairs(title: str, rows: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, shown(value))
    console.print(shown(title), style="italic", highlight=False, soft_wrap=True)
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
    length, spent, left = BarColumn(bar_width=20), TimeElapsedColumn(), (TextColumn("left"), TimeRemainingColumn())
    bar = FittingProgress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        length,
        MofNCompleteColumn(),
        *more,
        spent,
        *left,
        spare=[(length,), (spent,), left, more],
        console=console,
        disable=False,
    )
    with (
        bar if console.is_terminal else nullcontext()
    ):  # elsewhere, rich before 14.3 ends even a disabled one in a line
        yield bar
