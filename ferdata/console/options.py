"""What options of the command line have in common: their types and help, and checks that come before hours of work.

In: what a user typed. Out: the same, or an error in one line. Nothing is made here but the files of ``--json`` at the end.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ferdata.errors import OptionError
from ferdata.parallel import check_workers, crowding
from ferdata.place import is_standard_output
from ferdata.shown import without_credentials
from ferdata.store import check_file, check_folder, write_file_at

__all__ = ["Folder", "Json", "LocalOut", "Out", "OutOrUsual", "Picture", "Plot", "Shards", "Workers", "check_codec", "names", "write_json"]

PICTURES = (".png", ".svg")


def _json_file(path: str | None) -> str | None:
    return None if path is None else _checked_file(path, "--json")


def _picture_file(path: str) -> str:
    return _checked_file(path, "--out")


def _checked_file(path: str, option: str) -> str:
    """Check a file; where it is the standard output, what is said to people goes to standard error instead."""
    found = check_file(path, option=option)
    if is_standard_output(found):
        from ferdata.console.screen import console

        console.stderr = True
    return found


def _plot_file(path: str | None) -> str | None:
    if path is None:
        return None
    if "://" in path or Path(path).suffix.lower() not in PICTURES:
        raise OptionError(f"--plot {path}: expected a local file that ends in {' or '.join(PICTURES)} (both are written); name one")
    for suffix in PICTURES:
        check_file(str(Path(path).with_suffix(suffix)), option="--plot")
    return check_file(path, option="--plot")


def _local_folder(path: str) -> str:
    if "://" in path:
        raise OptionError(f"--out {path}: a URL found, expected a local folder; name one")
    return check_folder(path, option="--out")


def _out_folder(path: str | None) -> str | None:
    return None if path is None else check_folder(path, option="--out")


def _workers(number: int | None) -> int | None:
    if number is not None:
        check_workers(number, least=0)  # of none, the verb knows what to make
        if note := crowding(number):
            from ferdata.console.screen import show_note

            show_note(note)
    return number


Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write every figure to this file; - for standard output.", callback=_json_file)
]
Plot = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write the bar chart here, as PNG and as SVG beside each other.", callback=_plot_file)
]
Picture = Annotated[str, typer.Option("--out", metavar="FILE", help="PNG file to write; - for standard output.", callback=_picture_file)]
Out = Annotated[str, typer.Option(metavar="DIR", help="Folder or URL to write to.", callback=_out_folder)]
LocalOut = Annotated[str, typer.Option(metavar="DIR", help="Folder for everything that is made.", callback=_local_folder)]
OutOrUsual = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where the data set goes; shards/<source> when left out.", callback=_out_folder)
]
Workers = Annotated[int | None, typer.Option(help="Worker processes; all cores when left out.", callback=_workers)]
Folder = Annotated[str, typer.Argument(metavar="DIR", help="Folder or URL of a finished data set.")]
Shards = Annotated[str | None, typer.Option(metavar="DIR", help="Folder or URL of a finished data set; found or built in when left out.")]


def check_codec(codec: str, known: list[str]) -> None:
    """See that a codec is one of those the verb knows.

    Raises:
        OptionError: If not.
    """
    if codec not in known:
        raise OptionError(f"--codec: {codec!r} found, expected {', '.join(known[:-1])} or {known[-1]}")


def names(text: str) -> list[str]:
    """Return the names in a comma-separated list; ``none`` alone is a name too."""
    return [name for name in text.split(",") if name and name != "none"] or (["none"] if text == "none" else [])


def write_json(path: str | None, figures: dict[str, Any]) -> None:
    """Write a verb's figures where ``--json`` says."""
    if path is not None:
        write_file_at(path, (json.dumps(without_credentials(figures), indent=1) + "\n").encode())
