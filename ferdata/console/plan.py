"""``plan``: measure this machine, and print what suits a data set here."""

from collections.abc import Collection
from itertools import accumulate
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ferdata.console.options import Folder, Json, write_json
from ferdata.console.screen import console, say, show_note, size

if TYPE_CHECKING:
    from ferdata.plan.advise import MachinePlan

__all__ = ["plan", "show_plan"]

_COLUMNS = ("codec", "on disk", "cached", "workers", "warm", "cold", "later", "limit", "cold limit")
_SPARED = ("cold limit", "cached", "limit")
"""What a narrow terminal does without, first what is missed least."""
CAPTION = "images per second: warm, all in memory; cold, the first epoch; later, every other epoch on this machine"


def plan(folder: Folder, json_file: Json = None) -> None:
    """Measure, write and print."""
    from ferdata.plan.advise import plan as advise

    found = advise(folder, say=say)
    write_json(json_file, found.to_json())
    show_plan(found)


def show_plan(found: "MachinePlan") -> None:
    """Print a plan: what was measured, a row for each codec and number of workers, and the sentence."""
    machine = found.machine
    disk = "memory speed" if machine.disk_bytes_per_second > 20e9 else f"{size(machine.disk_bytes_per_second)}/s"
    gpu = (
        f", {found.gpu['count']} x {found.gpu['name']} ({size(found.gpu['copy_bytes_per_second'])}/s)"
        if found.gpu
        else ", no GPU"
    )
    console.print(
        f"{found.root}: {found.num_samples:,} images of {list(found.shape)}; "
        f"{found.conditions['cpu']}, {machine.cores} cores{gpu}; "
        f"{size(machine.memory_bytes)} for the page cache, disk {disk}; measured in {found.seconds:.0f} s",
        highlight=False,
    )
    unlimited = console.options.update(width=10_000)
    for spared in accumulate(((name,) for name in _SPARED), initial=()):
        table = _table(found, spared)
        if table.__rich_measure__(console, unlimited).maximum <= console.width:
            break
    console.print(table)
    if spared:
        console.print(Text(f"a wider terminal shows {', '.join(spared)} too; --json writes everything", style="dim"))
    for note in found.notes:
        show_note(note)
    console.print(found.recommendation.sentence, style="bold", highlight=False)


def _table(found: "MachinePlan", spared: Collection[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=CAPTION)
    for name in (name for name in _COLUMNS if name not in spared):
        table.add_column(name, justify="left" if name in ("codec", "limit", "cold limit") else "right")
    last = ""
    for row in found.rows:
        first = (row.codec, size(row.num_bytes), f"{row.cached_share:.0%}") if row.codec != last else ("", "", "")
        rates = (f"{rate:,.0f}" for rate in (row.warm, row.cold, row.steady))
        cells = zip(_COLUMNS, (*first, str(row.workers), *rates, row.limit, row.cold_limit), strict=True)
        chosen = (row.codec, row.workers) == (found.recommendation.codec, found.recommendation.workers)
        table.add_row(*(cell for name, cell in cells if name not in spared), style="bold green" if chosen else None)
        last = row.codec
    return table
