"""The settings that a resumed run goes on with: its own, and those of the machine where they are given anew.

In: what was asked for and what the run was begun with. Out: settings, or which of them would make it another run.
"""

from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path

from ferdata.errors import OptionError
from ferdata.shown import HIDDEN
from ferdata.training.options import TrainOptions

__all__ = ["MACHINE_FIELDS", "resumed_options"]

MACHINE_FIELDS = (
    "shards",
    "num_workers",
    "memory_bytes",
    "resident",
    "decode",
    "device",
    "compile",
    "accumulate",
    "checkpoint_steps",
    "watch",
    "epochs",
)
"""What may differ between a run and its resumption: where it runs, and how long, but not what is computed."""


def resumed_options(
    asked: TrainOptions, saved: TrainOptions, where: str, given: Collection[str] | None = None
) -> TrainOptions:
    """Return the settings to go on with: the saved ones, with this machine's where they are given.

    Args:
        asked: What was asked for now.
        saved: The run's settings.
        where: The run's folder.
        given: Names of the settings that were asked for. None: all that are not the defaults.

    Raises:
        OptionError: If a setting is given that would change what the run computes, or where it is.
    """
    if given is None:
        plain = TrainOptions()
        given = [field.name for field in fields(asked) if getattr(asked, field.name) != getattr(plain, field.name)]
    wanted = {name: getattr(asked, name) for name in given if name != "resume"}
    if asked.set_weights is not None:
        wanted["set_weights"] = asked.set_weights
    kept = {name: getattr(saved, name) for name in wanted}
    folder = Path(where).absolute()
    if "name" in wanted and wanted["name"] != kept["name"]:
        kept["name"] = folder.name
    if "out" in wanted and Path(wanted["out"]).absolute() == folder.parent:
        kept["out"] = wanted["out"]
    # a concordance is that of a micro-batch, and images are mixed within one: others make another loss
    free = [name for name in MACHINE_FIELDS if name != "accumulate" or not (saved.valence_arousal or saved.mixup)]
    clashing = [
        f"{name}={value!r} found, expected {name}={kept[name]!r}"
        for name, value in wanted.items()
        if name not in free and value != kept[name]
    ]
    if clashing:
        raise OptionError(
            f"{where}: {'; '.join(clashing)}; a resumed run keeps its settings, or start another with init_from={where}"
        )
    settings = replace(
        saved, **{name: value for name, value in wanted.items() if name in MACHINE_FIELDS}, resume=asked.resume
    )
    if any(HIDDEN in root for root in settings.roots):
        raise OptionError(
            f"{where}: the address of its shards was kept without its credentials, expected them again; pass shards="
        )
    return settings
