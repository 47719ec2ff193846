"""The training that runs where there is no data: built-in faces, and settings that learn them in minutes on two cores.

In: nothing. Out: a data set folder and the settings of a run.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ferdata.dataset.builtin import builtin_shards
from ferdata.training.run.process_group import join_ranks

__all__ = ["BUILTIN_SETTINGS", "builtin_settings"]

BUILTIN_SETTINGS: Mapping[str, Any] = {"model": "basic1", "epochs": 8, "batch_size": 32, "lr": 1e-3}


def builtin_settings(device: str, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the settings, drawing the faces first if they are not there; under ``torchrun``, on the first rank alone.

    Args:
        device: The run's, which decides how ranks talk to each other.
        say: Called with a sentence before something is built.
    """
    return {**BUILTIN_SETTINGS, "shards": join_ranks(device).from_first(lambda: builtin_shards(say=say))}
