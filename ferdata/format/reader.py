"""Reads samples of one shard, any of them, straight into rows of a batch.

In: sample positions. Out: uint8 rows. Costs the codec's decoding and nothing per sample beside it but a few microseconds.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Self, TypeVar

import numpy as np
import xxhash
from numpy.lib.stride_tricks import as_strided

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codec import Decompressor, check_frame_end, checksum32
from ferdata.format.filters import scatter
from ferdata.format.index import DatasetIndex, ShardInfo, check_file
from ferdata.format.layout import CHECKSUM_BYTES, END_OF_TAR, TABLE_NAME, TAR_BLOCK_BYTES, HeaderTemplate, pad_to_block
from ferdata.format.shardfile import open_shard_file, shard_copy
from ferdata.format.tables import body_table_bytes, parse_body_table, parse_seek_table, seek_table_bytes
from ferdata.store import Store

__all__ = ["Decoders", "Sample", "ShardReader", "read_whole"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample as read: key, class index, record and uint8 ``[C, H, W]`` pixels."""

    key: str
    label: int
    record: dict[str, Any]
    pixels: np.ndarray


class Decoders:
    """What decoding needs beside a shard: contexts and scratch memory, of the size of an image. Not to be shared between threads."""

    def __init__(self, index: DatasetIndex) -> None:
        self.decode = index.codec.kind.decoder(index.spec, index.codec)
        self.inflate = Decompressor().into


class ShardReader:
    """One open shard. Not to be shared between threads; cheap to make in each worker, and small: about 30 bytes per sample.

    Args:
        store: The data set's folder.
        info: The shard, as the index lists it.
        index: The data set's index.
        copy: A file that the shard was copied to; None to read the shard where it is.
        decoders: Those that several readers of one thread share; None for the reader's own.

    Raises:
        ShardMissingError: If the file is not there.
        ShardCorruptError: If its size or its table is not what was written.
    """

    def __init__(
        self,
        store: Store,
        info: ShardInfo,
        index: DatasetIndex,
        *,
        copy: IO[bytes] | None = None,
        decoders: Decoders | None = None,
    ) -> None:
        decoders = decoders or Decoders(index)
        self.info = info
        self.layout = index.layout
        self._codec = index.codec
        self._where = store.path(info.name)
        self._file = open_shard_file(store, info.name, copy)
        self._decode, self._inflate = decoders.decode, decoders.inflate
        self._checksums: array[int] | None = None
        self._grid: np.ndarray | None = None
        self._head_checksums = array("I")
        try:
            if self._file.num_bytes != info.num_bytes:
                raise ShardCorruptError(
                    f"{self._where}: {self._file.num_bytes:,} bytes found, expected {info.num_bytes:,} as index.json says; "
                    "copy or write the shard again"
                )
            self._twice(self._read_table)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self.info.samples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rest(self) -> None:
        """Let go of what is scarce, a descriptor or fetched bytes, and keep what was learnt of the shard; call :meth:`wake` to read on."""
        self._file.rest()

    def wake(self) -> bool:
        """Get ready to read after :meth:`rest`; tell whether the shard is still the file that was opened."""
        return self._file.wake()

    def close(self) -> None:
        """Close the file; rows that were filled stay valid."""
        self._grid = None
        self._file.close()

    def read_rows(self, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool | np.ndarray = True) -> int:
        """Decode the samples at ``positions`` into ``out[rows]``.

        Args:
            positions: int ``[n]``, positions in the shard, ascending (neighbours are read with one call).
            out: uint8 ``[R, C * H * W]``, C-contiguous rows.
            rows: int ``[n]``, the row each sample goes to.
            verify: Whether to check the checksums of mapped ``raw`` samples, of all or, bool ``[n]``, of some: that costs about as much
                as reading them does. Those of other codecs cost little beside decoding, and are always on.

        Returns:
            Bytes read from the shard.

        Raises:
            OptionError: If a position is not in the shard.
            ShardCorruptError: If a checksum does not fit, the shard ends early, or it was changed since it was opened.
        """
        if not len(positions):
            return 0
        self._check_positions(int(positions[0]), int(positions[-1]))
        steps = np.diff(positions)
        if (steps < 0).any():
            raise OptionError(f"{self._where}: positions out of order found, expected ascending ones; correct the caller")
        try:
            return self._read_rows(positions, out, rows, np.flatnonzero(steps != 1) + 1, verify)
        finally:
            self._file.check_unchanged()

    def _read_rows(self, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, cuts: np.ndarray, verify: bool | np.ndarray) -> int:
        num_bytes = 0
        grid = self._raw_grid()
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(positions)], strict=True):
            first, last = positions[start], positions[stop - 1]
            base = int(self._starts[first])
            run_bytes = int(self._stops[last]) - base
            num_bytes += run_bytes
            if grid is None:
                self._twice(partial(self._decode_run, int(first), out, rows[start:stop]))
            else:
                self._file.expect(base, run_bytes)
        if grid is not None:
            scatter(grid, out, rows, picks=positions)
            chosen = slice(None if verify else 0) if isinstance(verify, bool) else verify
            for position, row in zip(positions[chosen].tolist(), rows[chosen].tolist(), strict=True):
                self._check(position, out[row])
        if self._file.is_remote:
            self._file.rest()  # or every open shard would keep its last stretch
        return num_bytes

    def read(self, position: int, out: np.ndarray | None = None) -> Sample:
        """Return one whole sample, every byte of its head checked.

        Args:
            position: Position in the shard.
            out: uint8 ``[C, H, W]``, C-contiguous: filled, and the sample's pixels; fresh memory where None.
        """
        pixels = np.empty(self.layout.spec.shape, np.uint8) if out is None else out
        self._check_positions(position, position)
        if self._file.is_remote:
            start = int(self._stops[position - 1]) if position else 0
            self._file.expect(start, int(self._stops[position]) - start)
        head = self._twice(partial(self.read_head, position))
        self.read_rows(np.array([position]), pixels.reshape(1, -1), np.array([0]))
        key, label, record = self.layout.parse_head(head, int(self._body_bytes[position]), self._where)
        return Sample(key=key, label=label, record=record, pixels=pixels)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(position) for position in range(len(self)))

    def read_head(self, position: int) -> bytes:
        """Return the bytes of a sample in front of its body."""
        if not self._codec.kind.compressed:
            head = self._file.read(int(self._starts[position]) - self.layout.head_bytes, self.layout.head_bytes)
            if checksum32(head) != self._head_checksums[position]:
                raise ShardCorruptError(
                    f"{self._where}: the checksum of the head of sample {position} does not fit its bytes; copy or write the shard again"
                )
            return head
        num_bytes, inflated_bytes = self._frames[2 * position].tolist()
        stored = self._file.read(int(self._starts[position]) - num_bytes, num_bytes)
        return self._inflate_checked(stored, inflated_bytes, f"head of sample {position}")[-self.layout.head_bytes :]

    def read_body(self, position: int) -> bytes:
        """Return the stored bytes of a body as they are in the file."""
        return self._file.read(int(self._starts[position]), int(self._stops[position] - self._starts[position]))

    def _check_positions(self, first: int, last: int) -> None:
        if first < 0 or last >= len(self):
            raise OptionError(f"{self._where}: positions up to {last} found, expected 0 to {len(self) - 1}; correct the caller")

    def _twice(self, read: Callable[[], T]) -> T:
        """Return what ``read`` does; where checksums do not fit what came from a URL, from bytes that are asked for once more."""
        try:
            return read()
        except ShardCorruptError:
            if not self._file.is_remote:
                raise
        with self._file.fetched_anew():
            return read()

    def _raw_grid(self) -> np.ndarray | None:
        """Return all bodies as one uint8 ``[samples, C * H * W]`` view of the file, where they are plain pixels in a mapped file."""
        if self._codec.name != "raw" or self._file.array is None:
            return None
        if self._grid is None:
            shape = (len(self), self.layout.spec.num_bytes)
            self._grid = as_strided(self._file.array[int(self._starts[0]) :], shape, (self._stride, 1), writeable=False)
        return self._grid

    def _decode_run(self, first: int, out: np.ndarray, rows: np.ndarray) -> None:
        """Decode neighbouring samples, the first of them at position ``first``."""
        last = first + len(rows) - 1
        starts, stops = self._starts[first : last + 1].tolist(), self._stops[first : last + 1].tolist()
        self._file.expect(starts[0], stops[-1] - starts[0])
        for position, start, stop, row in zip(range(first, last + 1), starts, stops, rows.tolist(), strict=True):
            body = self._file.view(start, stop - start)
            if self._checksums is not None:
                self._check(position, body)
            try:
                self._decode(body, out[row])
                if self._checksums is None:
                    check_frame_end(body)
            except ShardCorruptError as error:
                raise ShardCorruptError(f"{self._where}: sample {position}: {error}; copy or write the shard again") from error

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
            check_frame_end(stored)
        except ShardCorruptError as error:
            raise ShardCorruptError(f"{self._where}: {what}: {error}; copy or write the shard again") from error
        return bytes(inflated)

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
            self._stride = layout.sample_bytes(expected)

    def _read_seek_table(self) -> None:
        layout, size, num_frames = self.layout, self._file.num_bytes, 2 * self.info.samples + 1
        table_bytes = seek_table_bytes(num_frames)
        most = table_bytes + _END_BYTES + CHECKSUM_BYTES
        data = self._file.read(max(0, size - most), min(size, most))
        self._frames = parse_seek_table(data[-table_bytes:], num_frames=num_frames, file_bytes=size, where=self._where)
        end_bytes, end_inflated = self._frames[-1].tolist()
        self._check_tail(data[-table_bytes - end_bytes - CHECKSUM_BYTES :])
        stops = np.cumsum(self._frames[:, 0])
        self._starts, self._stops = stops[0:-1:2], stops[1::2]
        self._body_bytes = self._frames[1::2, 1]
        inflated = layout.head_bytes + np.concatenate(([0], self._paddings()))
        inflated[-1] += len(END_OF_TAR) - layout.head_bytes
        if not (self._frames[::2, 1] == inflated).all() or end_bytes > _END_BYTES:
            raise ShardCorruptError(f"{self._where}: its seek table has heads of a size that heads do not have; write the shard again")
        end = data[-table_bytes - end_bytes : -table_bytes]
        if self._inflate_checked(end, end_inflated, "the end of its tar").strip(b"\0"):
            raise ShardCorruptError(f"{self._where}: its tar does not end in zeros; write the shard again")

    def _read_body_table(self) -> None:
        layout, samples, size = self.layout, self.info.samples, self._file.num_bytes
        content = body_table_bytes(samples)
        stored = TAR_BLOCK_BYTES + content + pad_to_block(content) + len(END_OF_TAR)
        data = self._file.read(max(0, size - stored), min(size, stored))
        table = parse_body_table(data[TAR_BLOCK_BYTES : TAR_BLOCK_BYTES + content], num_samples=samples, where=self._where)
        self._check_tail(data)
        ends = bytes(pad_to_block(content)) + END_OF_TAR
        if data[:TAR_BLOCK_BYTES] != HeaderTemplate("").fill(TABLE_NAME, content) or data[TAR_BLOCK_BYTES + content :] != ends:
            raise ShardCorruptError(f"{self._where}: the last member of the tar is not its table; copy or write the shard again")
        self._body_bytes = table[:, 0].copy()
        strides = layout.head_bytes + self._body_bytes + self._paddings()
        if int(strides.sum()) + stored != size:
            raise ShardCorruptError(
                f"{self._where}: its bodies add up to another size than the file's {size:,} bytes; write the shard again"
            )
        self._starts = np.cumsum(strides) - strides + layout.head_bytes
        self._stops = self._starts + self._body_bytes
        self._checksums, self._head_checksums = (array("I", table[:, column].astype(np.uint32).tobytes()) for column in (1, 2))

    def _check_tail(self, tail: bytes) -> None:
        """Tell the shard from others of the same size: every raw shard of so many samples has it."""
        if xxhash.xxh64_hexdigest(tail) != self.info.tail_xxh64:
            raise ShardCorruptError(
                f"{self._where}: its table is not the one that index.json knows, so this is another shard or a damaged one; "
                "copy or write it again"
            )

    def _paddings(self) -> np.ndarray:
        """Return int64 ``[samples]``, the zero bytes behind every body."""
        return -(len(self.layout.tensor_header) + self._body_bytes) % TAR_BLOCK_BYTES


@contextmanager
def read_whole(store: Store, info: ShardInfo, index: DatasetIndex, *, is_checked: bool = False) -> Iterator[ShardReader]:
    """Open a shard of which every sample is to be read: behind a URL it is fetched once, in large pieces, to a temporary file.

    Args:
        store: The data set's folder.
        info: The shard.
        index: The data set's index.
        is_checked: Compare its size and XXH64 with the index first; what is fetched is compared always.
    """
    with shard_copy(store) as copy:
        if is_checked or copy is not None:
            check_file(store, info, copy=copy)
        with ShardReader(store, info, index, copy=copy) as reader:
            yield reader


_END_BYTES = 2048
"""Room for the frame that ends the tar: at most 1,535 zeros, stored in whatever way."""
