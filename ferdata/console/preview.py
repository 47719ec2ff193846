"""``preview``: draw a contact sheet."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Folder, Picture
from ferdata.console.screen import console

__all__ = ["preview"]


def preview(
    folder: Folder,
    out: Picture,
    split: Annotated[str, typer.Option(help="Show this split.")] = "train",
    per_class: Annotated[int, typer.Option(help="Draw so many faces of each class.")] = 8,
    seed: Annotated[int, typer.Option(help="Draw other faces with another seed.")] = 0,
) -> None:
    """Draw, and print where."""
    console.print(f"wrote {ferdata.preview(folder, out, split=split, per_class=per_class, seed=seed)}")
