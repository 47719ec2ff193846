"""Is the plan's prediction right? Compares it with the real loader's images a second, codec by codec, on this machine.

    python -m ferdata_bench.plan_check [DIR] [--json FILE]

In: a data set; photographs of 224 px where none is given. Out: a table and a JSON file; exit code 1 where a prediction is more than 20 %
off. Every codec is recoded in full and streamed warm, so it takes minutes and several times the data set's size on disk.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ferdata import read_index
from ferdata.errors import FerdataError
from ferdata.ingest import IngestOptions, ingest
from ferdata.recode import recode
from ferdata.screen import console
from ferdata.store import Store
from ferdata_bench.photos import write_photos
from ferdata_bench.plan import MachinePlan, plan
from ferdata_bench.timing import now

__all__ = ["CheckedRow", "check_plan", "main"]

TOLERANCE = 0.2
PHOTOS = 4096
RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRow:
    """One codec with one number of workers: predicted and measured images a second, and the error as a share of the measured rate."""

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
                runs = measure_loader(folder, num_workers=row.workers, min_seconds=min_seconds)
                measured = statistics.median(runs)
                checked.append(CheckedRow(codec=codec, workers=row.workers, predicted=row.warm, measured=measured, runs=tuple(runs)))
    return found, checked


def measure_loader(root: Path, *, num_workers: int, min_seconds: float) -> list[float]:
    """Return images a second of each of a few runs over the largest split, after one epoch to warm up."""
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
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="A data set; photographs where none is given.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    count: Annotated[int, typer.Option(help="How many photographs.")] = PHOTOS,
    size: Annotated[int, typer.Option(help="Their side in pixels.")] = 224,
    seconds: Annotated[float, typer.Option(help="Shortest timed run.")] = 2.0,
) -> None:
    """Compare the plan with the real loader."""
    try:
        with tempfile.TemporaryDirectory(prefix="ferdata-plan-check-") as work:
            if folder is None:
                write_photos(Path(work, "source"), count=count, size=size)
                folder = Path(work, "photos")
                ingest(IngestOptions(source="folder", src=str(Path(work, "source")), out=str(folder), size=size, codec="jpeg"))
            found, checked = check_plan(folder, work=Path(work), min_seconds=seconds)
    except FerdataError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    is_right = all(abs(row.error) <= TOLERANCE for row in checked)
    _show(checked)
    if json_file is not None:
        json_file.write_text(json.dumps(_to_json(found, checked, is_right), indent=1) + "\n")
    console.print(
        f"{'within' if is_right else 'NOT within'} {TOLERANCE:.0%}; recommended: {found.recommendation.sentence}", highlight=False
    )
    if not is_right:
        raise typer.Exit(1)


def _show(checked: Sequence[CheckedRow]) -> None:
    table = Table("codec", "workers", "predicted", "measured", "off by")
    for row in checked:
        table.add_row(row.codec, str(row.workers), f"{row.predicted:,.0f}", f"{row.measured:,.0f}", f"{row.error:+.0%}")
    console.print(table)


def _to_json(found: MachinePlan, checked: Sequence[CheckedRow], is_right: bool) -> dict[str, Any]:
    rows = [asdict(row) | {"error": row.error} for row in checked]
    return {"tolerance": TOLERANCE, "is_right": is_right, "rows": rows, "plan": found.to_json()}


if __name__ == "__main__":
    typer.run(main)
