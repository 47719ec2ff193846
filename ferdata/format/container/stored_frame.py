"""A zstd frame that stores its content as it is: every zstd reads and checks it, and its payload needs no inflating.

In: a payload. Out: the frame, and back, by the bytes that FORMAT.md gives. Costs one checksum.
"""

import struct

import numpy as np
import xxhash

from ferdata.errors import ShardCorruptError

__all__ = ["stored_frame", "stored_payload"]

_HEAD = struct.Struct("<IBI")
_MAGIC = 0xFD2FB528
_SINGLE_CHECKED = 0xA4
"""Of the frame header descriptor: a single segment, a content size of 4 bytes, a checksum."""
_BLOCK_BYTES = 1 << 17
"""Of every block but the last: zstd's largest."""
_CHECKSUM_BYTES = 4


def stored_frame(payload: memoryview) -> bytes:
    """Return the frame of a payload of 1 to 2^32 - 1 bytes."""
    head, blocks, checksum = _parts(payload)
    return b"".join((head, *blocks, checksum))


def stored_payload(frame: memoryview, most: int) -> memoryview:
    """Return the content of a frame, which must be exactly what :func:`stored_frame` makes, of at most ``most`` bytes.

    Raises:
        ShardCorruptError: If it is not.
    """
    data = np.frombuffer(frame, np.uint8)
    num_bytes = _HEAD.unpack_from(frame)[2] if len(frame) > _HEAD.size + 3 + _CHECKSUM_BYTES else 0
    if not 0 < num_bytes <= most:
        raise ShardCorruptError(f"a zstd frame of {num_bytes:,} bytes found, expected 1 to {most:,}")
    starts = range(_HEAD.size + 3, len(frame) - _CHECKSUM_BYTES, _BLOCK_BYTES + 3)
    parts = [data[start : min(start + _BLOCK_BYTES, len(frame) - _CHECKSUM_BYTES)] for start in starts]
    payload = (parts[0] if len(parts) == 1 else np.concatenate(parts)).data
    if len(payload) != num_bytes or not _is_sound(frame, payload):
        raise ShardCorruptError(f"a zstd frame is damaged, expected {num_bytes:,} bytes that are stored as they are")
    return payload


def _is_sound(frame: memoryview, payload: memoryview) -> bool:
    head, blocks, checksum = _parts(payload)
    at = len(head)
    if bytes(frame[:at]) != head or bytes(frame[-_CHECKSUM_BYTES:]) != checksum:
        return False
    for block_head, block in zip(blocks[::2], blocks[1::2], strict=True):
        if bytes(frame[at : at + len(block_head)]) != bytes(block_head):
            return False
        at += len(block_head) + len(block)
    return at + _CHECKSUM_BYTES == len(frame)


def _parts(payload: memoryview) -> tuple[bytes, list[bytes | memoryview], bytes]:
    """Return the head of a frame, the head and the content of each of its blocks, and its checksum."""
    payload = memoryview(payload).cast("B")
    num_bytes = len(payload)
    blocks: list[bytes | memoryview] = []
    for start in range(0, num_bytes, _BLOCK_BYTES):
        block = payload[start : start + _BLOCK_BYTES]
        is_last = start + len(block) == num_bytes
        blocks += [(len(block) << 3 | is_last).to_bytes(3, "little"), block]
    checksum = xxhash.xxh64_intdigest(payload) & 0xFFFFFFFF
    return _HEAD.pack(_MAGIC, _SINGLE_CHECKED, num_bytes), blocks, checksum.to_bytes(_CHECKSUM_BYTES, "little")
