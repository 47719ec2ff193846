"""Reads ``compact`` shards in WebDataset pipelines: a decoder for ``.fpx`` members, which say how to undo them.

In: a member's name and bytes. Out: uint8 ``[C, H, W]``, bit for bit. Costs what decoding costs, and one fresh array.
"""

from typing import Any

import numpy as np

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format import decode_member

__all__ = ["webdataset_decoder"]

SUFFIX = "fpx"


def webdataset_decoder(key: str, data: Any) -> np.ndarray | None:
    """Return the pixels of an ``.fpx`` member, uint8 ``[C, H, W]``, or None for any other, as WebDataset expects.

    ``wds.WebDataset("pipe:zstd -dcq train-000000.tar.zst").decode(ferdata.webdataset_decoder)`` yields samples with
    ``fpx``, ``cls`` and ``json``. Safe in threads and in workers; needs no index.

    Raises:
        ShardCorruptError: If the member is damaged.
        OptionError: If its payload is of a version that this ferdata does not know.

    Example:
        >>> import webdataset
        >>> url = "pipe:zstd -dcq shards/affectnet/train-000000.tar.zst"
        >>> samples = webdataset.WebDataset(url, shardshuffle=False).decode(ferdata.webdataset_decoder)
        >>> ferdata.webdataset_decoder("face-000001.cls", b"3") is None
        True
    """
    if key.rpartition(".")[2] != SUFFIX or not isinstance(data, (bytes, bytearray, memoryview)):
        return None
    try:
        return decode_member(memoryview(data).cast("B"))
    except ShardCorruptError as error:
        raise ShardCorruptError(f"{key}: {error}; copy the shard again") from error
    except OptionError as error:
        raise OptionError(f"{key}: {error}") from error
