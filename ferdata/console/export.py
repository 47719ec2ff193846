"""``export``: get the samples out."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Folder, Json, Out, Workers, write_json
from ferdata.console.screen import console, counting_bar

__all__ = ["export"]


def export(
    folder: Folder,
    out: Out,
    to: Annotated[
        str,
        typer.Option(
            help="Write plain WebDataset tars (tar), class folders of PNG files (folder), or Parquet files with a "
            "card, as Hugging Face's datasets reads them (datasets)."
        ),
    ] = "tar",
    num_workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Export, write and print."""
    with counting_bar("exporting") as progress:
        report = ferdata.export(folder, to=to, out=out, num_workers=num_workers, progress=progress)
    write_json(json_file, report.to_json())
    console.print(f"{out}: {report.samples:,} samples in {report.files:,} files")
