"""ferdata: AffectNet and RAF-DB as zstd tar shards of ready tensors, streamed faster than a GPU can eat.

Public names load on first use, so that converting images never waits for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferdata.dataset.webdataset import webdataset_decoder as webdataset_decoder
    from ferdata.errors import FerdataError as FerdataError
    from ferdata.format import read_index as read_index
    from ferdata.stream import IterableShardDataset as IterableShardDataset
    from ferdata.stream import Loader as Loader
    from ferdata.stream import ShardDataset as ShardDataset

__version__ = "0.1.0"

_HOMES = {
    "FerdataError": "ferdata.errors",
    "IterableShardDataset": "ferdata.stream",
    "Loader": "ferdata.stream",
    "ShardDataset": "ferdata.stream",
    "read_index": "ferdata.format",
    "webdataset_decoder": "ferdata.dataset.webdataset",
}

__all__ = ["FerdataError", "IterableShardDataset", "Loader", "ShardDataset", "__version__", "read_index", "webdataset_decoder"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ferdata' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
