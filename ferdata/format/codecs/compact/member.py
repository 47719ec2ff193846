"""A ``.fpx`` member: 128 bytes that say what it is and which shape it has, then the payload.

In: its bytes. Out: uint8 ``[C, H, W]``, without an index. Costs what decoding costs, and one fresh array.
"""

import functools
import json
import threading

import numpy as np

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codecs.compact.coder import PixelCoder, Shape, max_payload_bytes, min_payload_bytes

__all__ = ["decode_member", "member_header"]

HEADER_BYTES = 128
_NAME = b"\x93PIXELS"
_VERSION = 2
"""Of payloads; a reader refuses one that it does not know. Version 1 had other filters too, and was never released."""


def member_header(shape: Shape) -> bytes:
    """Return what stands in front of a payload: name and version, then JSON, spaces and a newline."""
    text = json.dumps({"shape": list(shape)}, separators=(",", ":")).encode("ascii")
    return _NAME + bytes([_VERSION]) + text.ljust(HEADER_BYTES - len(_NAME) - 2) + b"\n"


def decode_member(data: memoryview) -> np.ndarray:
    """Return the pixels of a whole member, its header included. Safe in threads.

    Raises:
        ShardCorruptError: If the member is damaged.
        OptionError: If its payload is of a version that this ferdata does not know.
    """
    shape = _parse_header(bytes(data[:HEADER_BYTES]))
    payload = data[HEADER_BYTES:]
    # Before any memory is asked for: a forged shape may claim any.
    if not min_payload_bytes(shape) <= len(payload) <= max_payload_bytes(shape):
        raise ShardCorruptError(f"{len(payload):,} bytes of payload found, expected those of {list(shape)} pixels")
    pixels = np.empty(shape, np.uint8)
    _threads.coder(shape).decode_into(payload, pixels)
    return pixels


def _parse_header(head: bytes) -> Shape:
    if len(head) < HEADER_BYTES or not head.startswith(_NAME) or head[-1:] != b"\n":
        raise ShardCorruptError(f"member: {head[:8]!r} found, expected {_NAME!r} and {HEADER_BYTES} bytes")
    if head[len(_NAME)] != _VERSION:
        raise OptionError(f"member: version {head[len(_NAME)]} found, expected {_VERSION}; a newer ferdata may know it")
    try:
        channels, height, width = json.loads(head[len(_NAME) + 1 :])["shape"]
        shape = (channels, height, width)
        if not all(type(size) is int and size > 0 for size in shape):
            raise ValueError(f"shape {list(shape)}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ShardCorruptError(f"member: {head[8:40]!r}... found, expected JSON with a shape ({error})") from error
    return shape


class _Threads(threading.local):
    """The coders that a thread used last."""

    def __init__(self) -> None:
        self.coder = functools.lru_cache(maxsize=4)(PixelCoder)


_threads = _Threads()
