"""Where the bodies of a shard stand: zstd's seekable-format table, and the table member of uncompressed shards.

In: frame sizes, or body sizes and checksums of bodies and heads. Out: bytes, and back to arrays of offsets.
The seek table follows zstd's contrib/seekable_format specification, version 0.1.0, without per-frame checksums
(every frame has its own content checksum already).
"""

import struct

import numpy as np
import xxhash

from ferdata.errors import ShardCorruptError

__all__ = ["body_table", "body_table_bytes", "parse_body_table", "parse_seek_table", "seek_table", "seek_table_bytes"]

SKIPPABLE_MAGIC = 0x184D2A5E
SEEKABLE_MAGIC = 0x8F92EAB1
_SEEK_FOOTER = struct.Struct("<IBI")
_SKIPPABLE_HEADER = struct.Struct("<II")

_TABLE_MAGIC = b"FERTABLE"
_TABLE_HEADER = struct.Struct("<8sII")
TABLE_VERSION = 1


def seek_table(frames: np.ndarray) -> bytes:
    """Return the skippable frame for ``frames``, uint32 ``[n, 2]`` of (stored bytes, inflated bytes)."""
    payload = np.ascontiguousarray(frames, "<u4").tobytes() + _SEEK_FOOTER.pack(len(frames), 0, SEEKABLE_MAGIC)
    return _SKIPPABLE_HEADER.pack(SKIPPABLE_MAGIC, len(payload)) + payload


def seek_table_bytes(num_frames: int) -> int:
    """Return the size of the seek table of a file with that many frames."""
    return _SKIPPABLE_HEADER.size + 8 * num_frames + _SEEK_FOOTER.size


def parse_seek_table(data: bytes, *, num_frames: int, file_bytes: int, where: str) -> np.ndarray:
    """Return int64 ``[n, 2]`` of (stored bytes, inflated bytes) from the last bytes of a file.

    Raises:
        ShardCorruptError: If any byte of the table contradicts another, the expected number of frames or the file size.
    """
    if len(data) != seek_table_bytes(num_frames):
        raise ShardCorruptError(
            f"{where}: {len(data):,} bytes of seek table found, expected {seek_table_bytes(num_frames):,}; write the shard again"
        )
    magic, payload = _SKIPPABLE_HEADER.unpack_from(data)
    count, descriptor, seekable = _SEEK_FOOTER.unpack_from(data, len(data) - _SEEK_FOOTER.size)
    expected = (SKIPPABLE_MAGIC, len(data) - _SKIPPABLE_HEADER.size, num_frames, 0, SEEKABLE_MAGIC)
    if (magic, payload, count, descriptor, seekable) != expected:
        raise ShardCorruptError(f"{where}: the seek table at its end is damaged or belongs to another file; write the shard again")
    frames = np.frombuffer(data, "<u4", 2 * num_frames, _SKIPPABLE_HEADER.size).reshape(-1, 2).astype(np.int64)
    if int(frames[:, 0].sum()) + len(data) != file_bytes:
        raise ShardCorruptError(
            f"{where}: the frames of its seek table add up to another size than the file's {file_bytes:,} bytes; write the shard again"
        )
    return frames


def body_table(entries: np.ndarray) -> bytes:
    """Return the table member's content.

    Args:
        entries: uint32 ``[n, 3]`` of (body bytes, body checksum, head checksum); a checksum is the low half of an XXH64.
    """
    content = _TABLE_HEADER.pack(_TABLE_MAGIC, TABLE_VERSION, len(entries)) + np.ascontiguousarray(entries, "<u4").tobytes()
    return content + struct.pack("<Q", xxhash.xxh64_intdigest(content))


def body_table_bytes(num_samples: int) -> int:
    """Return the size of the table member's content."""
    return _TABLE_HEADER.size + 12 * num_samples + 8


def parse_body_table(data: bytes, *, num_samples: int, where: str) -> np.ndarray:
    """Return int64 ``[n, 3]`` of (body bytes, body checksum, head checksum).

    Raises:
        ShardCorruptError: If the table is damaged or is for another number of samples.
    """
    sound = len(data) == body_table_bytes(num_samples) and xxhash.xxh64_intdigest(data[:-8]) == int.from_bytes(data[-8:], "little")
    if not sound or _TABLE_HEADER.unpack_from(data) != (_TABLE_MAGIC, TABLE_VERSION, num_samples):
        raise ShardCorruptError(
            f"{where}: the table of bodies at its end is damaged, expected {num_samples:,} samples; write the shard again"
        )
    return np.frombuffer(data, "<u4", 3 * num_samples, _TABLE_HEADER.size).reshape(-1, 3).astype(np.int64)
