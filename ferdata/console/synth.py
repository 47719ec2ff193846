"""``synth``: draw faces as a source tree."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from ferdata.console import screen
from ferdata.console.options import Json, Workers, write_json

__all__ = ["synth"]


class Drawn(StrEnum):
    """A data set that can be drawn."""

    affectnet = "affectnet"
    rafdb = "rafdb"


def synth(
    source: Annotated[Drawn, typer.Argument(help="Which data set's layout, labels and class balance.")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the source tree goes.")],
    count: Annotated[int, typer.Option(help="Draw this many images in all.")] = 2000,
    size: Annotated[
        int | None,
        typer.Option(help="Draw faces of this height and width.", show_default="224 for affectnet, 100 for rafdb"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draw other faces with another seed.")] = 0,
    num_workers: Workers = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Write this layout: AN-npy, AN-csv, RAF-basic or RAF-original.", show_default="AN-npy or RAF-basic"
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Draw, write and print."""
    from ferdata.synth import write_synthetic

    with screen.counting_bar("drawing faces") as progress:
        summary = write_synthetic(
            source.value,
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
    screen.pairs(f"synthetic {source.value} ({summary.layout}) -> {folder}", {"images": rate, "mean size": mean})
    screen.class_table(summary.counts)
