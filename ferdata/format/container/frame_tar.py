"""A tar of zstd frames with a seek table behind them: ``zstd -dc shard | tar t`` reads it, or any one sample.

In: heads and bodies. Out: a file in which every head and every body is a frame of its own, with its own checksum. The
seek table follows zstd's contrib/seekable_format specification 0.1.0, without the checksums that frames have inside.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.container.container import Container, OpenShard, Put
from ferdata.format.container.members import SampleMembers
from ferdata.format.container.shard_file import ShardFile
from ferdata.format.container.tar import END_OF_TAR
from ferdata.format.container.zstd_frame import CHECKSUM_BYTES, Compressor, inflate

__all__ = ["frame_tar", "seek_table"]

SKIPPABLE_MAGIC = 0x184D2A5E
SEEKABLE_MAGIC = 0x8F92EAB1
MakeFrame = Callable[[Any], bytes]
_SEEK_FOOTER = struct.Struct("<IBI")
_SKIPPABLE_HEADER = struct.Struct("<II")
_MOST_END_BYTES = 2048
"""Room for the frame that ends the tar: at most 1,535 zeros, stored in whatever way."""


def frame_tar(level: int, *, body_frame: MakeFrame | None = None) -> Container:
    """Return the container of compressed shards, written at a zstd level; ``body_frame`` may frame bodies instead."""
    writer = partial(_FrameWriter, level, body_frame)
    return Container(ending=".tar.zst", writer=writer, open=_FrameShard, end_bytes=_end_bytes)


class _FrameWriter:
    """Writes the frames ``head, body, padding + head, body, ..., padding + end of tar`` and the seek table."""

    def __init__(self, level: int, body_frame: MakeFrame | None, put: Put) -> None:
        self._put = put
        self._compress = Compressor(level).frame
        self._body_frame = body_frame or self._compress
        self._sizes: list[tuple[int, int]] = []
        self._last_checksum = b""

    def add(self, padding: bytes, head: bytes, body: memoryview) -> None:
        """Append a sample as two frames."""
        self._put_frame(self._compress, padding + head)
        self._last_checksum = self._put_frame(self._body_frame, body)[-CHECKSUM_BYTES:]

    def close(self, padding: bytes) -> bytes:
        """Write the end of the tar and the seek table."""
        last_frame = self._put_frame(self._compress, padding + END_OF_TAR)
        table = seek_table(np.array(self._sizes, np.uint32))
        self._put(table)
        return self._last_checksum + last_frame + table

    def _put_frame(self, make_frame: MakeFrame, data: Any) -> bytes:
        stored = make_frame(data)
        self._sizes.append((len(stored), len(data)))
        self._put(stored)
        return stored


class _FrameShard(OpenShard):
    """An open shard of frames; frame 2i ends with head i, frame 2i + 1 is body i."""

    def __init__(self, file: ShardFile, members: SampleMembers, samples: int, tail_xxh64: str) -> None:
        super().__init__(file, members)
        num_frames = 2 * samples + 1
        table_bytes, most = _seek_table_bytes(num_frames), _end_bytes(samples)
        data = file.read(max(0, file.num_bytes - most), min(file.num_bytes, most))
        frames = _parse_seek_table(
            data[-table_bytes:], num_frames=num_frames, file_bytes=file.num_bytes, where=file.where
        )
        end_bytes, end_inflated = frames[-1].tolist()
        self._check_tail(data[-table_bytes - end_bytes - CHECKSUM_BYTES :], tail_xxh64)
        self._frames = frames
        stops = np.cumsum(frames[:, 0])
        self.starts, self.stops, self.body_bytes = stops[0:-1:2].copy(), stops[1::2].copy(), frames[1::2, 1]
        inflated = members.head_bytes + np.concatenate(([0], members.padding_bytes(self.body_bytes)))
        inflated[-1] += len(END_OF_TAR) - members.head_bytes
        if not (frames[::2, 1] == inflated).all() or end_bytes > _MOST_END_BYTES:
            raise ShardCorruptError(
                f"{file.where}: its seek table has heads of a size that heads do not have; write the shard again"
            )
        if self._inflate(data[-table_bytes - end_bytes : -table_bytes], end_inflated, "the end of its tar").strip(
            b"\0"
        ):
            raise ShardCorruptError(f"{file.where}: its tar does not end in zeros; write the shard again")

    def head(self, position: int) -> bytes:
        """Return the head of a sample, which its frame has behind the padding of the sample before."""
        stored_bytes, inflated_bytes = self._frames[2 * position].tolist()
        stored = self._file.read(int(self.starts[position]) - stored_bytes, stored_bytes)
        return self._inflate(stored, inflated_bytes, f"head of sample {position}")[-self._members.head_bytes :]

    def _inflate(self, stored: bytes, num_bytes: int, what: str) -> bytes:
        try:
            return inflate(stored, num_bytes)
        except ShardCorruptError as error:
            raise ShardCorruptError(f"{self._file.where}: {what}: {error}; copy or write the shard again") from error


def seek_table(frames: np.ndarray) -> bytes:
    """Return the skippable frame for ``frames``, uint32 ``[n, 2]`` of (stored bytes, inflated bytes)."""
    payload = np.ascontiguousarray(frames, "<u4").tobytes() + _SEEK_FOOTER.pack(len(frames), 0, SEEKABLE_MAGIC)
    return _SKIPPABLE_HEADER.pack(SKIPPABLE_MAGIC, len(payload)) + payload


def _end_bytes(samples: int) -> int:
    """Return the bytes of the last body's checksum, the end of the tar and the seek table, at most."""
    return CHECKSUM_BYTES + _MOST_END_BYTES + _seek_table_bytes(2 * samples + 1)


def _seek_table_bytes(num_frames: int) -> int:
    """Return the size of the seek table of a file with that many frames."""
    return _SKIPPABLE_HEADER.size + 8 * num_frames + _SEEK_FOOTER.size


def _parse_seek_table(data: bytes, *, num_frames: int, file_bytes: int, where: str) -> np.ndarray:
    """Return int64 ``[n, 2]`` of (stored bytes, inflated bytes) from the last bytes of a file.

    Raises:
        ShardCorruptError: If any byte of the table contradicts another, the expected number of frames or the file size.
    """
    if len(data) != _seek_table_bytes(num_frames):
        raise ShardCorruptError(
            f"{where}: {len(data):,} bytes of seek table found, expected {_seek_table_bytes(num_frames):,}; "
            "write the shard again"
        )
    magic, payload = _SKIPPABLE_HEADER.unpack_from(data)
    count, descriptor, seekable = _SEEK_FOOTER.unpack_from(data, len(data) - _SEEK_FOOTER.size)
    expected = (SKIPPABLE_MAGIC, len(data) - _SKIPPABLE_HEADER.size, num_frames, 0, SEEKABLE_MAGIC)
    if (magic, payload, count, descriptor, seekable) != expected:
        raise ShardCorruptError(
            f"{where}: the seek table at its end is damaged or belongs to another file; write the shard again"
        )
    frames = np.frombuffer(data, "<u4", 2 * num_frames, _SKIPPABLE_HEADER.size).reshape(-1, 2).astype(np.int64)
    if int(frames[:, 0].sum()) + len(data) != file_bytes:
        raise ShardCorruptError(
            f"{where}: the frames of its seek table add up to another size than the file's {file_bytes:,} bytes; "
            "write the shard again"
        )
    return frames
