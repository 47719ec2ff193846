"""``verify``: check every checksum and every count."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Folder, Json, Workers, write_json
from ferdata.console.screen import console, counting_bar

__all__ = ["verify"]


def verify(
    folder: Folder,
    deep: Annotated[bool, typer.Option(help="Decode every sample and compare it with the index.")] = False,
    num_workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Check, write and print; where a data set is not sound, end with exit code 1."""
    with counting_bar("verifying shards") as progress:
        report = ferdata.verify(folder, deep=deep, num_workers=num_workers, progress=progress)
    write_json(json_file, report.to_json())
    for error in report.errors:
        console.print(error, style="red", markup=False, highlight=False, soft_wrap=True)
    verdict = "sound" if report.ok else f"NOT sound, {len(report.errors)} faults"
    # what is missing or damaged was not decoded: the counts are then what the index lists
    reach = (", every one decoded" if deep else "") if report.ok else " in the index"
    console.print(f"{folder}: {verdict}; {report.shards} shards, {report.samples:,} samples{reach}")
    if not report.ok:
        raise typer.Exit(1)
