"""``evaluate``: measure runs on a data set."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Given, Json, write_json
from ferdata.console.screen import counting_bar, show_note, show_text
from ferdata.training.evaluation.options import EvaluateOptions

__all__ = ["evaluate"]


def evaluate(
    asked: Given[EvaluateOptions],
    runs: Annotated[list[str], typer.Argument(help="Folders of runs; several are an ensemble.", metavar="RUN...")],
    shards: Annotated[str, typer.Option(metavar="DIR", help="Measure on the data set in this folder or URL.")],
    json_file: Json = None,
) -> None:
    """Evaluate, write and print."""
    options = asked.build(runs=runs, shards=shards)
    with counting_bar("evaluating") as progress:
        result = ferdata.evaluate(options, progress=progress)
    write_json(json_file, result.to_json())
    for note in result.notes:
        show_note(note)
    show_text(result.describe())
