"""What does the whole way cost? ``synth``, ``shard`` and ``verify --deep`` of 20,000 images by the real command line.

Run ``python -m ferdata_bench.figures.pipeline --json docs/figures/pipeline.json``: 2 to 4 minutes. Seconds are from
start to end of the command, Python's own start included; memory is looked at twice a second, which costs under 1 %.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ferdata.errors import IngestError
from ferdata.plan.conditions import describe_machine
from ferdata_bench.figures.common import Figure, FigureOptions, parse, run_verb
from ferdata_bench.loaders.work import folder_bytes

__all__ = ["main", "run_pipeline"]

COUNT, QUICK_COUNT = 20_000, 40
SIZE = 224


def run_pipeline(options: FigureOptions, say: Callable[[str], None] = print) -> Figure:
    """Run the three commands one after the other.

    Raises:
        IngestError: If one of them fails, or the images are not all there at the end.
    """
    machine = describe_machine()
    count = QUICK_COUNT if options.quick else COUNT
    source, shards = options.work / "pipeline-source", options.work / "pipeline-shards"
    for folder in (source, shards):
        shutil.rmtree(folder, ignore_errors=True)
    workers = ["--workers", str(options.num_workers)]
    verbs = {
        "synth": (["affectnet", str(source), "--count", str(count), "--size", str(SIZE)], source),
        "shard": (["affectnet", "--src", str(source), "--out", str(shards), "--size", str(SIZE)], shards),
        "verify --deep": ([str(shards), "--deep"], shards),
    }
    rows = []
    for verb, (arguments, folder) in verbs.items():
        say(f"{verb}: {count:,} images")
        rows.append(_run(verb, [*arguments, *workers], folder, count, options))
    for folder in (source, shards):
        shutil.rmtree(folder)
    conditions = machine | {
        "images": count,
        "image": f"uint8 [3, {SIZE}, {SIZE}]",
        "workers": options.num_workers,
        "codec": "zstd",
        "quick": options.quick,
    }
    return Figure(conditions=conditions, results={"rows": rows})


def _run(verb: str, arguments: list[str], folder: Path, count: int, options: FigureOptions) -> dict[str, Any]:
    """Run one command and return what it took."""
    run = run_verb("pipeline", [verb.split()[0], *arguments], options.work / "pipeline.json")
    found = next(run.report[name] for name in ("accepted", "images", "samples") if name in run.report)
    if found != count:
        raise IngestError(f"pipeline: {verb} tells of {found} images, expected {count:,}; run it by hand to see why")
    return {
        "verb": verb,
        "seconds": round(run.seconds, 2),
        "images_per_second": round(count / run.seconds, 1),
        "bytes": folder_bytes(folder),
        "peak_pss_bytes": run.memory.peak.total_bytes,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write JSON if asked."""
    options, path, command = parse(
        "ferdata_bench.figures.pipeline", "The whole way through the command line.", arguments
    )
    figure = run_pipeline(options)
    table = Table("verb", "seconds", "images/s", "MB on disk", "peak MB")
    for row in figure.results["rows"]:
        table.add_row(
            *(row["verb"], f"{row['seconds']:,.1f}", f"{row['images_per_second']:,.0f}"),
            *(f"{row[name] / 1e6:,.0f}" for name in ("bytes", "peak_pss_bytes")),
        )
    Console().print(table)
    if path:
        figure.write(path, command=command)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
