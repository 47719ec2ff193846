"""``predict``: what runs say of an image, a folder of images or a video."""

from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Given, Json, MaybeFileOut, write_json
from ferdata.console.screen import console, counting_bar, show_note
from ferdata.training.prediction.options import PredictOptions, is_video

__all__ = ["predict"]


def predict(
    asked: Given[PredictOptions],
    runs: Annotated[list[str], typer.Argument(help="Folders of runs; several are an ensemble.", metavar="RUN...")],
    source: Annotated[str, typer.Argument(help="An image, a folder of images, or a video.", metavar="INPUT")],
    out: MaybeFileOut = None,
    json_file: Json = None,
) -> None:
    """Predict, write and print."""
    options = asked.build(runs=runs, source=source, out=out)
    with counting_bar("predicting") as progress:
        ask = ferdata.predict_video if is_video(options.source) else ferdata.predict
        result = ask(options, progress=progress)
    write_json(json_file, result.to_json())
    for note in result.notes:
        show_note(note)
    console.print(result.describe(), markup=False, highlight=False, soft_wrap=True)
