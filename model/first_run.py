"""The training that runs where there is no data: built-in synthetic faces, learnt in minutes on two cores.

In: nothing. Out: a data set folder and the settings of a run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ferdata.dataset.builtin import BuiltinOptions, builtin_shards
from ferdata.training.run.ranks import join_ranks

__all__ = ["BUILTIN_SETTINGS", "BuiltinRun", "builtin_settings"]

BUILTIN_SETTINGS: Mapping[str, Any] = {"model": "basic1", "epochs": 8, "batch_size": 32, "lr": 1e-3}

_FACES = BuiltinOptions(count=6000, size=80)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinRun:
    """A data set folder, and settings for :class:`model.TrainOptions`."""

    shards: str
    settings: dict[str, Any]


def builtin_settings(device: str, *, say: Callable[[str], None] | None = None) -> BuiltinRun:
    """Return the built-in run, drawing its faces first where they are missing; under ``torchrun``, on the first rank.

    Args:
        device: The run's, which decides how ranks talk to each other.
        say: Called with a sentence before something is built.
    """
    shards = join_ranks(device).from_first(lambda: builtin_shards(_FACES, say=say))
    return BuiltinRun(shards=shards, settings=dict(BUILTIN_SETTINGS))
