"""Says in words what the figures mean: what limits this machine, and what a reader should know before quoting them.

In: ceilings and rows. Out: one sentence, and notes.
"""

from collections.abc import Sequence
from typing import Any

from ferdata_bench.loaders.options import BenchOptions, BenchRow

__all__ = ["explain_limit", "general_notes"]

CLOSE = 0.7
BUSY_LOAD = 0.5


def explain_limit(ceilings: dict[str, Any], rows: Sequence[BenchRow], *, cores: int, workers: int) -> str:
    """Return one sentence on what limits this machine with these settings."""
    best = max((row for row in rows if row.sweep is None), key=lambda row: row.images_per_second, default=None)
    if best is None or not ceilings["copy"]:
        return "Nothing was measured, so nothing can be said about this machine."
    many = f"{cores} core{'s' * (cores != 1)} and {workers} worker{'s' * (workers != 1)}"
    copy, decode, codec = ceilings["copy"], ceilings["decode"], ceilings["decode_codec"]
    if decode and decode < copy and best.codec != "raw":
        bound = f"decoding: {many} decode {decode:,.0f} {codec} images/s, while memory could take {copy:,.0f}"
    else:
        bound = f"memory: {many} can copy {copy:,.0f} ready images/s into batches"
        bound += f", and decode {decode:,.0f} from {codec}" if decode and decode < copy else ""
    reached = f"{best.name}, the fastest here, delivers {best.images_per_second:,.0f}"
    disk = ceilings["disk"]
    slower = (
        f"; data that is not in memory arrives at {disk:,.0f} images/s from the disk"
        if disk and disk < best.images_per_second
        else ""
    )
    return (
        f"This machine's limit is {bound}; {reached} ({best.images_per_second / copy:.0%} of the copy ceiling){slower}."
    )


def general_notes(options: BenchOptions, *, cores: int, load: float) -> list[str]:
    """Return notes that hold for the whole run."""
    notes = []
    if options.num_workers > cores:
        notes.append(
            f"{options.num_workers} workers were asked for and measured on {cores} cores: processes take turns, "
            f"so figures are no better than with {cores} workers, and vary more"
        )
    if load > BUSY_LOAD * cores:
        notes.append(
            f"the machine was busy before the run (load {load:.1f} on {cores} cores): "
            "expect lower figures and a wide spread"
        )
    if options.cold:
        notes.append(
            "cold: every timed epoch read a fresh copy after posix_fadvise(DONTNEED); "
            "workers start within the timed epoch"
        )
    return notes
