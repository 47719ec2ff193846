"""The verbs by name. A verb's file, and what it imports, is only loaded once the verb is typed.

In: the name of a verb. Out: a command whose options are made from what the function of that name in its file takes.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import ferdata
from ferdata.console.options import spread
from ferdata.console.terminal import Verb

__all__ = ["VERBS", "app", "function_of"]

VERBS = {
    "shard": "Convert a folder of images to shards.",
    "synth": "Draw synthetic faces as a source tree in the data set's true layout.",
    "info": "Say what a data set holds.",
    "verify": "Check every checksum and every count.",
    "audit": "Find copies, leaks, suspicious labels and outliers, and show them on one page.",
    "plan": "Measure this machine and say which codec and how many workers suit a data set here.",
    "preview": "Draw a contact sheet with class names.",
    "export": "Get the samples out as plain tars, pictures or Parquet files.",
    "fetch": "Have a data set from afar in a local folder, and verify it.",
    "recode": "Change the codec without going back to the images.",
    "bench-loader": "Measure the loader beside the alternatives, with this machine's ceilings.",
    "train": "Train a network on shards, and write a report of the run.",
    "sweep": "Train over varied settings, and compare the runs.",
    "evaluate": "Measure one run or an ensemble on a data set, which may be another than theirs.",
    "predict": "Say what an image, each image of a folder, each moment of a video, or a camera shows.",
    "explain": "Show on one page what a run's network looks at.",
    "convert": "Write a run's network as ONNX, as an exported program of torch's, or as bare weights.",
    "demo": "Run all of the above on built-in synthetic faces, and end in a report with pictures.",
}


_LOCAL = ("synth", "convert", "demo")
"""Verbs that read nothing from behind URLs."""

_WITH_LOADERS = ("bench-loader", "train", "sweep", "evaluate", "explain")
"""Verbs that read data sets by loaders, which may have a cache."""


class _Verbs(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the verb that was typed, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name else command, rest


def function_of(name: str) -> Callable[..., None]:
    """Return the function that a verb is made of, whose parameters are its arguments and options."""
    word = name.replace("-", "_")
    verb = getattr(import_module(f"ferdata.console.{word}"), word)
    return spread(verb, reads_urls=name not in _LOCAL, has_loaders=name in _WITH_LOADERS)


def _load(name: str) -> Any:
    verb = typer.Typer(add_completion=False, rich_markup_mode=app.rich_markup_mode)
    verb.command(name, cls=Verb, help=VERBS[name])(function_of(name))
    return typer.main.get_command(verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"ferdata {ferdata.__version__}")
        raise typer.Exit


app = typer.Typer(cls=_Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(help="Convert facial-expression images to shards once, and stream them at memory speed.")
def _ferdata(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None: ...


for _name, _help in VERBS.items():
    app.command(_name, help=_help)(lambda: None)
