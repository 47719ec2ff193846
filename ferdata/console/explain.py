"""``explain``: what a run's network looks at."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Given, Json, write_json
from ferdata.console.screen import counting_bar, show_note, show_text
from ferdata.training.explanation.options import ExplainOptions

__all__ = ["explain"]


def explain(
    asked: Given[ExplainOptions],
    run: Annotated[str, typer.Argument(help="Folder of the run, or a checkpoint of one.", metavar="RUN")],
    json_file: Json = None,
) -> None:
    """Explain, write and print."""
    options = asked.build(run=run)
    with counting_bar("looking") as progress:
        result = ferdata.explain(options, progress=progress)
    write_json(json_file, result.to_json())
    for note in result.notes:
        show_note(note)
    show_text(result.describe())
