"""One ``.fpx`` member alone, without an index: it says itself how to undo it.

In: its bytes. Out: uint8 ``[C, H, W]``. Costs what the filter costs, and one fresh array.
"""

import functools
import threading

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs.compact.coder import FilterCoder
from ferdata.format.codecs.compact.filter_spec import (
    FILTER_HEADER_BYTES,
    max_payload_bytes,
    min_payload_bytes,
    parse_filter_header,
)

__all__ = ["decode_member"]


def decode_member(data: memoryview) -> np.ndarray:
    """Return the pixels of a whole member, its header included. Safe in threads.

    Raises:
        ShardCorruptError: If the member is damaged.
        OptionError: If it was written with a filter that this version does not know.
    """
    spec, shape = parse_filter_header(bytes(data[:FILTER_HEADER_BYTES]))
    payload = data[FILTER_HEADER_BYTES:]
    # Before any memory is asked for: a forged shape may claim any.
    if not min_payload_bytes(spec, shape) <= len(payload) <= max_payload_bytes(spec, shape):
        raise ShardCorruptError(f"{len(payload):,} filtered bytes found, expected those of {list(shape)} pixels")
    pixels = np.empty(shape, np.uint8)
    _threads.coder(spec, shape).decode_into(payload, pixels)
    return pixels


class _Threads(threading.local):
    """The coders that a thread used last."""

    def __init__(self) -> None:
        self.coder = functools.lru_cache(maxsize=4)(FilterCoder)


_threads = _Threads()
