"""``recode``: change the codec of a data set."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Folder, Json, Level, Out, Workers, check_codec, write_json
from ferdata.console.screen import console, counting_bar, size
from ferdata.format.codecs import CODECS

__all__ = ["recode"]


def recode(
    folder: Folder,
    codec: Annotated[str, typer.Option(help="Store pixels by this codec: raw, zstd or compact.")],
    out: Out,
    level: Level = None,
    num_workers: Workers = None,
    json_file: Json = None,
) -> None:
    """Recode, write and print."""
    if codec not in CODECS:  # the library says what to do where it cannot be made from pixels
        check_codec(codec, ["raw", "zstd", "compact"])
    with counting_bar("recoding") as progress:
        report = ferdata.recode(folder, out=out, codec=codec, level=level, num_workers=num_workers, progress=progress)
    write_json(json_file, report.to_json())
    console.print(f"{out}: {report.samples:,} samples, {size(report.bytes_in)} -> {size(report.bytes_out)} ({codec})")
