"""``plan``: measure this machine, and print what suits a data set here."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ferdata.console.options import Folder, Json, write_json
from ferdata.console.screen import console, say, show_note, size

if TYPE_CHECKING:
    from ferdata.plan.advise import MachinePlan

__all__ = ["plan", "show_plan"]

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
    names = ("codec", "on disk", "cached", "workers", "warm", "cold", "later", "limit", "cold limit")
    table = Table(*names, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=CAPTION)
    for column in table.columns[1:7]:
        column.justify = "right"
    last = ""
    for row in found.rows:
        first = (row.codec, size(row.num_bytes), f"{row.cached_share:.0%}") if row.codec != last else ("", "", "")
        chosen = (row.codec, row.workers) == (found.recommendation.codec, found.recommendation.workers)
        rates = (f"{rate:,.0f}" for rate in (row.warm, row.cold, row.steady))
        table.add_row(
            *first, str(row.workers), *rates, row.limit, row.cold_limit, style="bold green" if chosen else None
        )
        last = row.codec
    console.print(table)
    for note in found.notes:
        show_note(note)
    console.print(found.recommendation.sentence, style="bold", highlight=False)
