"""``fetch``: have a data set from afar in a cache folder."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import CacheGb, Folder, Json, local_folder, write_json
from ferdata.console.screen import console, counting_bar, size

__all__ = ["fetch"]


def fetch(
    folder: Folder,
    cache: Annotated[
        str,
        typer.Argument(
            metavar="CACHE", help="The cache folder, which may hold many data sets.", callback=local_folder("CACHE")
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Fetch one split.", show_default="all")] = None,
    cache_gb: CacheGb = None,
    json_file: Json = None,
) -> None:
    """Fetch, write and print."""
    with counting_bar("fetching, MB") as progress:
        report = ferdata.fetch(folder, cache, split=split, cache_gb=cache_gb, progress=progress)
    write_json(json_file, report.to_json())
    part = f" of {split}" if split else ""
    use = "" if report.is_whole else f"; read it with --shards {folder} --cache {cache}"
    console.print(
        f"{report.folder}: {report.shards:,} shards{part}, {report.samples:,} samples, {size(report.num_bytes)}, "
        f"{size(report.fetched_bytes)} of them fetched now{use}",
        highlight=False,
        soft_wrap=True,
    )
