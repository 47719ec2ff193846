"""``convert``: a run's network in another program's form."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import FileOut, Json, write_json
from ferdata.console.screen import show_text

__all__ = ["convert"]


def convert(
    run: Annotated[str, typer.Argument(help="Folder of the run, or a checkpoint of one.", metavar="RUN")],
    out: FileOut,
    to: Annotated[
        str | None,
        typer.Option(help="Write this form.", metavar="onnx|torch-export|weights", show_default="by the file's ending"),
    ] = None,
    json_file: Json = None,
) -> None:
    """Convert, check, write and print."""
    converted = ferdata.convert(run, out, to=to)
    write_json(json_file, converted.to_json())
    show_text(converted.describe())
