"""Reads samples of one shard, any of them, straight into rows of a batch.

In: sample positions. Out: uint8 rows. Costs the codec's decoding and nothing per sample beside it but a few microseconds.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ferdata.errors import OptionError, ShardCorruptError, ShardMissingError, StoreError
from ferdata.format.codec import Decompressor, checksum32
from ferdata.format.index import DatasetIndex, ShardInfo
from ferdata.format.layout import END_OF_TAR, TABLE_NAME, TAR_BLOCK_BYTES, HeaderTemplate, pad_to_block
from ferdata.format.tables import body_table_bytes, parse_body_table, parse_seek_table, seek_table_bytes
from ferdata.store import Store

__all__ = ["Sample", "ShardReader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample as read: key, class index, record and uint8 ``[C, H, W]`` pixels."""

    key: str
    label: int
    record: dict[str, Any]
    pixels: np.ndarray


class ShardReader:
    """One open shard. Not to be shared between threads; cheap to make in each worker.

    Args:
        store: The data set's folder.
        info: The shard, as the index lists it.
        index: The data set's index.

    Raises:
        ShardMissingError: If the file is not there.
        ShardCorruptError: If its size or its table is not what was written.
    """

    def __init__(self, store: Store, info: ShardInfo, index: DatasetIndex) -> None:
        self.info = info
        self.layout = index.layout
        self._codec = index.codec
        self._where = store.path(info.name)
        self._file = _LocalFile(store, info.name) if store.is_local else _RemoteFile(store, info.name)
        self._decode = index.codec.kind.decoder(index.spec, index.codec)
        self._inflate = Decompressor().into
        self._scratch = memoryview(bytearray(0))
        self._checksums: list[int] | None = None
        self._head_checksums: list[int] = []
        try:
            if self._file.num_bytes != info.num_bytes:
                raise ShardCorruptError(
                    f"{self._where}: {self._file.num_bytes:,} bytes found, expected {info.num_bytes:,} as index.json says; "
                    "copy or write the shard again"
                )
            self._read_table()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self.info.samples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; rows that were filled stay valid."""
        self._file.close()

    def read_rows(self, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool = True) -> int:
        """Decode the samples at ``positions`` into ``out[rows]``.

        Args:
            positions: int ``[n]``, positions in the shard, ascending (neighbours are read with one call).
            out: uint8 ``[R, C * H * W]``, C-contiguous rows.
            rows: int ``[n]``, the row each sample goes to.
            verify: Check the checksums of codecs that have none of their own (``raw``, ``jpeg``); zstd's are always on.

        Returns:
            Bytes read from the shard.

        Raises:
            OptionError: If a position is not in the shard.
            ShardCorruptError: If a checksum does not fit, the shard ends early, or it was changed since it was opened.
        """
        if not len(positions):
            return 0
        if positions[0] < 0 or positions[-1] >= len(self):
            raise OptionError(f"{self._where}: positions up to {positions[-1]} found, expected 0 to {len(self) - 1}; correct the caller")
        self._file.check_unchanged(self._where)
        num_bytes = 0
        cuts = np.flatnonzero(np.diff(positions) != 1) + 1
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(positions)], strict=True):
            num_bytes += self._read_run(int(positions[start]), out, rows[start:stop].tolist(), verify)
        return num_bytes

    def read(self, position: int, out: np.ndarray | None = None) -> Sample:
        """Return one whole sample, every byte of its head checked.

        Args:
            position: Position in the shard.
            out: uint8 ``[C, H, W]``, C-contiguous: filled, and the sample's pixels; fresh memory where None.
        """
        pixels = np.empty(self.layout.spec.shape, np.uint8) if out is None else out
        self.read_rows(np.array([position]), pixels.reshape(1, -1), np.array([0]))
        key, label, record = self.layout.parse_head(self.read_head(position), int(self._body_bytes[position]), self._where)
        return Sample(key=key, label=label, record=record, pixels=pixels)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(position) for position in range(len(self)))

    def read_head(self, position: int) -> bytes:
        """Return the bytes of a sample in front of its body."""
        if not self._codec.kind.compressed:
            head = bytes(self._file.read(int(self._starts[position]) - self.layout.head_bytes, self.layout.head_bytes, self._where))
            if checksum32(head) != self._head_checksums[position]:
                raise ShardCorruptError(
                    f"{self._where}: the checksum of the head of sample {position} does not fit its bytes; copy or write the shard again"
                )
            return head
        num_bytes, inflated_bytes = self._frames[2 * position].tolist()
        stored = self._file.read(int(self._starts[position]) - num_bytes, num_bytes, self._where)
        return self._inflate_checked(stored, inflated_bytes, f"head of sample {position}")[-self.layout.head_bytes :]

    def read_body(self, position: int) -> memoryview:
        """Return the stored bytes of a body as they are in the file."""
        return self._file.read(int(self._starts[position]), int(self._stops[position] - self._starts[position]), self._where)

    def _read_run(self, first: int, out: np.ndarray, rows: list[int], verify: bool) -> int:
        last = first + len(rows) - 1
        base = int(self._starts[first])
        num_bytes = int(self._stops[last]) - base
        if self._codec.name == "raw" and isinstance(self._file, _LocalFile):
            self._scatter_raw(base, num_bytes, out, rows)
        else:
            stored = self._read_scratch(base, num_bytes)
            starts, stops = (self._starts[first : last + 1] - base).tolist(), (self._stops[first : last + 1] - base).tolist()
            for offset, (start, stop, row) in enumerate(zip(starts, stops, rows, strict=True)):
                body = stored[start:stop]
                if self._checksums is not None and self._codec.name != "raw" and verify:
                    self._check(first + offset, body)
                try:
                    self._decode(body, out[row])
                except ShardCorruptError as error:
                    raise ShardCorruptError(f"{self._where}: sample {first + offset}: {error}; copy or write the shard again") from error
        if self._codec.name == "raw" and verify:
            for offset, row in enumerate(rows):
                self._check(first + offset, out[row])
        return num_bytes

    def _scatter_raw(self, base: int, num_bytes: int, out: np.ndarray, rows: list[int]) -> None:
        """Let the kernel copy neighbouring bodies to their rows in one call; what lies between goes to scratch."""
        gap = memoryview(self._gap)
        buffers: list[Any] = []
        for row in rows:
            buffers += (out[row], gap)
        self._file.read_into(buffers[:-1], base, num_bytes, self._where)

    def _check(self, position: int, body: Any) -> None:
        assert self._checksums is not None
        if checksum32(body) != self._checksums[position]:
            raise ShardCorruptError(
                f"{self._where}: the checksum of sample {position} does not fit its bytes; copy or write the shard again"
            )

    def _inflate_checked(self, stored: Any, num_bytes: int, what: str) -> bytes:
        inflated = bytearray(num_bytes)
        try:
            self._inflate(stored, inflated)
        except ShardCorruptError as error:
            raise ShardCorruptError(f"{self._where}: {what}: {error}; copy or write the shard again") from error
        return bytes(inflated)

    def _read_scratch(self, start: int, num_bytes: int) -> memoryview:
        if len(self._scratch) < num_bytes:
            self._scratch = memoryview(bytearray(num_bytes))
        view = self._scratch[:num_bytes]
        self._file.read_into([view], start, num_bytes, self._where)
        return view

    def _read_table(self) -> None:
        kind, layout = self._codec.kind, self.layout
        if kind.compressed:
            self._read_seek_table()
        else:
            self._read_body_table()
        if kind.fixed_size:
            expected = kind.body_bytes(layout.spec, self._codec.filter)
            if not (self._body_bytes == expected).all():
                raise ShardCorruptError(
                    f"{self._where}: bodies of {set(self._body_bytes.tolist())} bytes found, expected {expected:,}; write the shard again"
                )
            self._gap = bytearray(layout.sample_bytes(expected) - expected)

    def _read_seek_table(self) -> None:
        layout, size, num_frames = self.layout, self._file.num_bytes, 2 * self.info.samples + 1
        table_bytes = seek_table_bytes(num_frames)
        data = bytes(self._file.read(max(0, size - table_bytes - _END_BYTES), min(size, table_bytes + _END_BYTES), self._where))
        self._frames = parse_seek_table(data[-table_bytes:], num_frames=num_frames, file_bytes=size, where=self._where)
        stops = np.cumsum(self._frames[:, 0])
        self._starts, self._stops = stops[0:-1:2], stops[1::2]
        self._body_bytes = self._frames[1::2, 1]
        inflated = layout.head_bytes + np.concatenate(([0], self._paddings()))
        inflated[-1] += len(END_OF_TAR) - layout.head_bytes
        end_bytes, end_inflated = self._frames[-1].tolist()
        if not (self._frames[::2, 1] == inflated).all() or end_bytes > _END_BYTES:
            raise ShardCorruptError(f"{self._where}: its seek table has heads of a size that heads do not have; write the shard again")
        end = data[-table_bytes - end_bytes : -table_bytes]
        if self._inflate_checked(end, end_inflated, "the end of its tar").strip(b"\0"):
            raise ShardCorruptError(f"{self._where}: its tar does not end in zeros; write the shard again")

    def _read_body_table(self) -> None:
        layout, samples, size = self.layout, self.info.samples, self._file.num_bytes
        content = body_table_bytes(samples)
        stored = TAR_BLOCK_BYTES + content + pad_to_block(content) + len(END_OF_TAR)
        data = bytes(self._file.read(max(0, size - stored), min(size, stored), self._where))
        table = parse_body_table(data[TAR_BLOCK_BYTES : TAR_BLOCK_BYTES + content], num_samples=samples, where=self._where)
        ends = bytes(pad_to_block(content)) + END_OF_TAR
        if data[:TAR_BLOCK_BYTES] != HeaderTemplate("").fill(TABLE_NAME, content) or data[TAR_BLOCK_BYTES + content :] != ends:
            raise ShardCorruptError(f"{self._where}: the last member of the tar is not its table; copy or write the shard again")
        self._body_bytes = table[:, 0]
        strides = layout.head_bytes + self._body_bytes + self._paddings()
        if int(strides.sum()) + stored != size:
            raise ShardCorruptError(
                f"{self._where}: its bodies add up to another size than the file's {size:,} bytes; write the shard again"
            )
        self._starts = np.cumsum(strides) - strides + layout.head_bytes
        self._stops = self._starts + self._body_bytes
        self._checksums, self._head_checksums = table[:, 1].tolist(), table[:, 2].tolist()

    def _paddings(self) -> np.ndarray:
        """Return int64 ``[samples]``, the zero bytes behind every body."""
        return -(len(self.layout.tensor_header) + self._body_bytes) % TAR_BLOCK_BYTES


class _LocalFile:
    """A file read with pread, which needs no seeking and never faults when the file shrinks."""

    def __init__(self, store: Store, name: str) -> None:
        try:
            self._fd = os.open(store.path(name), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise ShardMissingError(
                f"{store.path(name)}: no such file, though index.json lists it; copy the whole folder or run 'shard' again"
            ) from error
        except OSError as error:
            raise StoreError(f"{store.path(name)}: {error.strerror}, expected a file that can be read; check its permissions") from error
        status = os.fstat(self._fd)
        self.num_bytes = status.st_size
        self._mtime_ns = status.st_mtime_ns

    def check_unchanged(self, where: str) -> None:
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != (self.num_bytes, self._mtime_ns):
            raise ShardCorruptError(
                f"{where}: the file was changed while it was being read; write shards to a new folder and then swap folders"
            )

    def read(self, start: int, num_bytes: int, where: str) -> memoryview:
        try:
            data = os.pread(self._fd, num_bytes, start)
        except OSError as error:
            raise _unreadable(where, error) from error
        if len(data) != num_bytes:
            raise ShardCorruptError(f"{where}: the file ends {num_bytes - len(data):,} bytes early; copy or write the shard again")
        return memoryview(data)

    def read_into(self, buffers: list[Any], start: int, num_bytes: int, where: str) -> None:
        done = 0
        while done < num_bytes:
            try:
                count = os.preadv(self._fd, buffers[:_MAX_BUFFERS], start + done)
            except OSError as error:
                raise _unreadable(where, error) from error
            if count == 0:
                raise ShardCorruptError(f"{where}: the file ends {num_bytes - done:,} bytes early; copy or write the shard again")
            done += count
            buffers = _rest(buffers, count)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _RemoteFile:
    """A file behind an fsspec URL, read by ranges."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self.num_bytes = store.num_bytes(name)

    def check_unchanged(self, where: str) -> None:
        """Object stores replace whole objects; the checksums of what arrives must do."""

    def read(self, start: int, num_bytes: int, where: str) -> memoryview:
        try:
            data = self._store.read_range(self._name, start, start + num_bytes)
        except FileNotFoundError as error:
            raise ShardMissingError(f"{where}: the file has gone while it was being read; write it again") from error
        if len(data) != num_bytes:
            raise ShardCorruptError(f"{where}: {len(data):,} bytes arrived, expected {num_bytes:,}; copy or write the shard again")
        return memoryview(data)

    def read_into(self, buffers: list[Any], start: int, num_bytes: int, where: str) -> None:
        data, done = self.read(start, num_bytes, where), 0
        for buffer in buffers:
            buffer[:] = data[done : done + len(buffer)]
            done += len(buffer)

    def close(self) -> None:
        """Nothing is held open."""


_END_BYTES = 2048
"""Room for the frame that ends the tar: at most 1,535 zeros, stored in whatever way."""

_MAX_BUFFERS = 1024
"""IOV_MAX of Linux: buffers one preadv may fill."""


def _unreadable(where: str, error: OSError) -> StoreError:
    return StoreError(f"{where}: {error.strerror or error}, expected bytes; check the disk or the connection and try again")


def _rest(buffers: list[Any], count: int) -> list[Any]:
    """Return what is left to fill after ``count`` bytes arrived."""
    for number, buffer in enumerate(buffers):
        if count < len(buffer):
            return ([memoryview(buffer)[count:]] if count else [buffer]) + buffers[number + 1 :]
        count -= len(buffer)
    return []
