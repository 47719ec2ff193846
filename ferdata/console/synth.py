"""``synth``: draw faces as a source tree."""

from dataclasses import asdict
from typing import Annotated

import typer

from ferdata.console import screen
from ferdata.console.options import Json, Workers, one_of, write_json
from ferdata.sources.layout import DRAWN

__all__ = ["synth"]


def synth(
    source: Annotated[str, one_of(DRAWN, metavar="SOURCE", help="Which data set's layout, labels and class balance")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the source tree goes.")],
    count: Annotated[int, typer.Option(help="Draw this many images in all.")] = 2000,
    size: Annotated[
        int | None,
        typer.Option(help="Draw faces of this height and width.", show_default="as in the data set"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draw other faces with another seed.")] = 0,
    num_workers: Workers = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Write another layout of the data set, such as AN-csv or RAF-original.", show_default="its usual one"
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Draw, write and print."""
    from ferdata.synth import write_synthetic

    with screen.counting_bar("drawing faces") as progress:
        summary = write_synthetic(
            source,
            folder,
            count=count,
            size=size,
            seed=seed,
            num_workers=num_workers,
            layout=layout,
            progress=progress,
        )
    write_json(json_file, asdict(summary) | {"images_per_second": summary.images_per_second})
    rate = f"{summary.images:,} in {summary.seconds:.1f} s, {summary.images_per_second:,.0f} images/s"
    mean = screen.size(summary.bytes / summary.images)
    screen.pairs(f"synthetic {source} ({summary.layout}) -> {folder}", {"images": rate, "mean size": mean})
    screen.class_table(summary.counts)
