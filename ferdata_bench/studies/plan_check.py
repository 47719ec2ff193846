"""Is the plan's prediction right? Compares it with the loader's images per second, codec by codec, on this machine.

    python -m ferdata_bench.studies.plan_check [DIR] [--json FILE] [--leave-gb 3 --count 24576]

In: a data set; photographs of 224 px if none is given. Out: a table and a JSON file; exit code 1 if a prediction is
more than 20 % off, or another choice than the recommended one is more than 10 % faster. Every codec is recoded in full
and streamed, so it takes minutes and several times the data set's size on disk. With ``--leave-gb`` all other memory is
taken away first: what a set does that does not fit.
"""

import json
import mmap
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ferdata import read_index
from ferdata.dataset.recode import recode
from ferdata.errors import FerdataError
from ferdata.parallel import available_memory
from ferdata.plan.advise import MachinePlan, plan
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import now
from ferdata.store import Store
from ferdata_bench.loaders.photos import shard_tree, write_photos

__all__ = ["CheckedRow", "check_plan", "is_right_choice", "main", "memory_taken"]

TOLERANCE = 0.2
PHOTOS = 4096
RUNS = 3


CHOICE = 0.9
"""Fraction of the fastest measured rate that the recommended choice must reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRow:
    """One codec with one number of workers: images/s as predicted and measured, and the error over the latter."""

    codec: str
    workers: int
    predicted: float
    measured: float
    runs: tuple[float, ...]

    @property
    def error(self) -> float:
        """Return how much the prediction is off: 0.1 is 10 % too high."""
        return self.predicted / self.measured - 1


def check_plan(
    root: Path, *, work: Path, min_seconds: float = 2.0, workers: Sequence[int] | None = None
) -> tuple[MachinePlan, list[CheckedRow]]:
    """Plan for a data set, then stream it under every codec it can have here.

    Args:
        root: A data set.
        work: Folder for the recoded ones.
        min_seconds: Shortest timed run; epochs are repeated until then.
        workers: Numbers of workers; None takes all that the plan has.
    """
    found = plan(str(root), work=work)
    stored = read_index(Store(root)).codec.name
    checked = []
    for codec in dict.fromkeys(row.codec for row in found.rows):
        if codec == stored:
            folder = root
        elif codec == "jpeg":
            continue  # the source's files are not here
        else:
            folder = work / f"all-{codec}"
            recode(str(root), out=str(folder), codec=codec)
        for row in found.rows:
            if row.codec == codec and (workers is None or row.workers in workers):
                runs = tuple(measure_loader(folder, num_workers=row.workers, min_seconds=min_seconds))
                rate, told = statistics.median(runs), row.steady
                checked.append(CheckedRow(codec=codec, workers=row.workers, predicted=told, measured=rate, runs=runs))
    return found, checked


def is_right_choice(found: MachinePlan, checked: Sequence[CheckedRow]) -> bool:
    """Tell whether no measured choice is clearly faster than the recommended one."""
    chosen = (found.recommendation.codec, found.recommendation.workers)
    ours = next(row.measured for row in checked if (row.codec, row.workers) == chosen)
    return ours >= CHOICE * max(row.measured for row in checked)


@contextmanager
def memory_taken(leave_bytes: int | None) -> Iterator[None]:
    """Hold all available memory but ``leave_bytes`` for the time of the block; None holds nothing."""
    num_bytes = 0 if leave_bytes is None else available_memory() - leave_bytes
    with ExitStack() as stack:
        if num_bytes > 0:
            block = stack.enter_context(mmap.mmap(-1, num_bytes))
            for start in range(0, num_bytes, mmap.PAGESIZE):
                block[start] = 1
        yield


def measure_loader(root: Path, *, num_workers: int, min_seconds: float) -> list[float]:
    """Return images per second of each of a few runs over the largest split, after one epoch to warm up."""
    from ferdata import Loader

    index = read_index(Store(root))
    split = max(index.splits, key=index.num_samples)
    rates = []
    with Loader(root, split=split, num_workers=num_workers, drop_last=False) as loader:
        for run in range(1 + RUNS):
            images, start = 0, now()
            while True:
                images += sum(len(batch.images) for batch in loader)
                if run == 0 or now() - start >= min_seconds:
                    break
            if run:
                rates.append(images / (now() - start))
    return rates


def main(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A data set; photographs if none is given.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    count: Annotated[int, typer.Option(help="How many photographs.")] = PHOTOS,
    size: Annotated[int, typer.Option(help="Their side in pixels.")] = 224,
    seconds: Annotated[float, typer.Option(help="Shortest timed run.")] = 2.0,
    leave_gb: Annotated[float | None, typer.Option(help="Take all other memory away first.")] = None,
) -> None:
    """Compare the plan with the real loader."""
    try:
        with tempfile.TemporaryDirectory(prefix="ferdata-plan-check-") as work:
            if folder is None:
                write_photos(Path(work, "source"), count=count, size=size)
                folder = Path(work, "photos")
                shard_tree(Path(work, "source"), folder, size=size, codec="jpeg")
                os.sync()  # or the disk still writes, beside the measurement, what was just made
            with memory_taken(None if leave_gb is None else int(leave_gb * 1e9)):
                found, checked = check_plan(folder, work=Path(work), min_seconds=seconds)
    except FerdataError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    is_close = all(abs(row.error) <= TOLERANCE for row in checked)
    is_right = is_right_choice(found, checked)
    _show(checked)
    if json_file is not None:
        extra = {"images": found.num_samples, "size": size, "left_memory_gb": leave_gb}
        values = _to_json(found, checked, extra, is_close=is_close, is_right=is_right)
        json_file.write_text(json.dumps(values, indent=1) + "\n")
    Console().print(
        f"{'within' if is_close else 'NOT within'} {TOLERANCE:.0%}; recommended, and "
        f"{'as fast as any' if is_right else 'NOT the fastest'}: {found.recommendation.sentence}",
        highlight=False,
    )
    if not (is_close and is_right):
        raise typer.Exit(1)


def _show(checked: Sequence[CheckedRow]) -> None:
    table = Table("codec", "workers", "predicted", "measured", "off by")
    for row in checked:
        table.add_row(row.codec, str(row.workers), f"{row.predicted:,.0f}", f"{row.measured:,.0f}", f"{row.error:+.0%}")
    Console().print(table)


def _to_json(
    found: MachinePlan, checked: Sequence[CheckedRow], extra: dict[str, Any], *, is_close: bool, is_right: bool
) -> dict[str, Any]:
    rows = [asdict(row) | {"error": row.error} for row in checked]
    return {
        "conditions": describe_machine() | extra,
        "tolerance": TOLERANCE,
        "is_close": is_close,
        "is_right": is_right,
        "rows": rows,
        "plan": found.to_json(),
    }


if __name__ == "__main__":
    typer.run(main)
