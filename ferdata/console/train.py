"""``train``: train a network, or go on with a run."""

import typer

from ferdata.console.options import Given, Json, Sets, write_json
from ferdata.console.screen import say, show_text
from ferdata.mixing import weighted
from ferdata.training import TrainOptions

__all__ = ["train"]


def train(asked: Given[TrainOptions], shards: Sets = None, json_file: Json = None) -> None:
    """Train, write and print; of several processes, the first one does."""
    from ferdata.dataset.builtin import find_shards
    from ferdata.training import FollowingError, RichProgress, is_first_process
    from ferdata.training import train as run
    from ferdata.training.first_run import builtin_settings

    tell = say if is_first_process() else lambda text: None
    settings = dict(asked.values) | {"shards": weighted(shards) if shards else None}
    try:
        if settings["resume"] in (None, "auto"):
            settings["shards"] = settings["shards"] or find_shards(None, say=tell)
            if settings["shards"] is None:
                built = builtin_settings(settings["device"], say=tell)
                settings |= {name: value for name, value in built.items() if name not in asked.typed}
        with RichProgress() as progress:
            result = run(asked.build(**settings), progress=progress, given=asked.typed)
    except FollowingError:
        raise typer.Exit(1) from None  # the first rank tells
    if is_first_process():
        write_json(json_file, result.to_json())
        show_text(result.describe())
