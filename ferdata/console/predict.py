"""``predict``: what runs say of an image, a folder of images, a video, or of pictures as they come."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

import ferdata
from ferdata.console.options import Given, Json, MaybeFileOut, write_json
from ferdata.console.screen import console, counting_bar, show_note, show_text
from ferdata.errors import OptionError
from ferdata.training.prediction.options import CAMERA, PredictOptions, is_video

__all__ = ["predict"]

_INPUTS = "an image, a folder of images, or a video; of --live also camera, camera:1 or a stream's address"


def predict(
    asked: Given[PredictOptions],
    inputs: Annotated[
        list[str],
        typer.Argument(help=f"Folders of runs, several are an ensemble; and {_INPUTS}.", metavar="RUN... INPUT"),
    ],
    live: Annotated[
        bool,
        typer.Option("--live", help="Show on a page what is said of pictures as they come; without INPUT, a camera's."),
    ] = False,
    out: MaybeFileOut = None,
    json_file: Json = None,
) -> None:
    """Predict, write and print."""
    runs, source = _runs_and_source(inputs, live=live)
    options = asked.build(runs=runs, source=source, out=out)
    if live:
        _show(options, json_file)
        return
    with counting_bar("predicting") as progress:
        ask = ferdata.predict_video if is_video(options.source) else ferdata.predict
        result = ask(options, progress=progress)
    write_json(json_file, result.to_json())
    for note in result.notes:
        show_note(note)
    show_text(result.describe())


def _show(options: PredictOptions, json_file: str | None) -> None:
    if options.out is not None:
        raise OptionError(f"out: {options.out} found beside --live, expected none; take --json, which has its figures")
    with ferdata.predict_live(options) as view:
        console.print(f"{view.address} shows {options.source}; Ctrl-C ends it", markup=False, highlight=False)
        with suppress(KeyboardInterrupt):  # the usual way
            view.wait()
    figures = view.figures()
    write_json(json_file, figures.to_json())
    show_text(figures.describe())


def _runs_and_source(inputs: list[str], *, live: bool) -> tuple[list[str], str]:
    """Return what stands last apart; a run that stands there, with --live, means a camera."""
    if live and (len(inputs) == 1 or inputs[-1].endswith(".pt") or Path(inputs[-1]).is_dir()):
        return inputs, CAMERA
    if len(inputs) < 2:
        raise typer.BadParameter(f"{inputs[0]} found alone, expected a run and {_INPUTS}.", param_hint="'RUN... INPUT'")
    return inputs[:-1], inputs[-1]
