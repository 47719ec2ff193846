"""Reads samples of one shard, any of them, straight into rows of a batch.

In: sample positions. Out: uint8 rows. Costs the codec's decoding and a few microseconds per sample.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codecs import BodyDecoder
from ferdata.format.container import (
    BodyJob,
    MappedBodies,
    OpenShard,
    RemoteFile,
    ShardFile,
    open_copy,
    open_shard_file,
    shard_copy,
)
from ferdata.format.index import DatasetIndex, ShardInfo, check_file
from ferdata.format.kernels.native import load
from ferdata.format.table import open_table
from ferdata.store import Store

__all__ = ["Sample", "ShardReader", "read_whole"]

T = TypeVar("T")

PutBody = Callable[[int, memoryview, memoryview], None]
"""Takes a number, a stored body and its payload (:meth:`BodyDecoder.payload`), which are valid until it returns."""

_RUN_SAMPLES = 256
"""What is handed over as it is stored is fetched so many samples at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample as read: key, class index, record and uint8 ``[C, H, W]`` pixels."""

    key: str
    label: int
    record: dict[str, Any]
    pixels: np.ndarray


class ShardReader:
    """One open shard. Not to be shared between threads; cheap to make in each worker: about 30 bytes per sample.

    Args:
        store: The data set's folder.
        info: The shard, as the index lists it.
        index: The data set's index.
        file: The shard's bytes, where somebody else has opened or fetched them; None to read the shard where it is.
        decode: The codec's decoder, where several readers of one thread share it; None for the reader's own.

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
        file: ShardFile | None = None,
        decode: BodyDecoder | None = None,
    ) -> None:
        self.info = info
        self.members, self.spec, self._index = index.members, index.spec, index
        self._codec = index.codec
        self._where = store.path(info.name)
        self._decoder = decode or index.codec.decoder(index.spec)
        self._file = file or open_shard_file(store, info.name, info.num_bytes)
        self._bodies: MappedBodies | None = None
        try:
            if self._file.num_bytes != info.num_bytes:
                raise ShardCorruptError(
                    f"{self._where}: {self._file.num_bytes:,} bytes found, "
                    f"expected {info.num_bytes:,} as index.json says; "
                    "copy or write the shard again"
                )
            self._shard = self._soundly(self._open)
            self._bodies = self._mapped_bodies()
        except BaseException:
            self.close()
            raise

    def _open(self) -> OpenShard:
        return open_table(self._file, self.info, self._index)

    def _mapped_bodies(self) -> MappedBodies | None:
        """Return the bodies as kernels take them, if the file is mapped."""
        kernels, file, shard = load(), self._file.array, self._shard
        if kernels is None or file is None:
            return None
        return MappedBodies(kernels, file, shard.starts, shard.stops, shard.checksums)

    def __len__(self) -> int:
        return self.info.samples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rest(self) -> None:
        """Let go of a descriptor or fetched bytes and keep what was learnt of the shard; :meth:`wake` to read on."""
        self._file.rest()

    def wake(self) -> bool:
        """Get ready to read after :meth:`rest`; tell whether the shard is still the file that was opened."""
        return self._file.wake()

    def close(self) -> None:
        """Close the file; rows that were filled stay valid."""
        self._bodies = None
        self._file.close()

    def read_rows(
        self, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool | np.ndarray = True
    ) -> int:
        """Decode the samples at ``positions`` into ``out[rows]``.

        Args:
            positions: int ``[n]``, positions in the shard, ascending (neighbours are read with one call).
            out: uint8 ``[R, C * H * W]``, C-contiguous rows.
            rows: int ``[n]``, the row each sample goes to.
            verify: Whether to verify the checksums of mapped ``raw`` and ``compact`` samples, of all or, bool ``[n]``,
                of some. Those of other codecs cost little beside decoding, and are always verified.

        Returns:
            Bytes read from the shard.

        Raises:
            OptionError: If a position is not in the shard.
            ShardCorruptError: If a checksum does not fit, the shard ends early, or it was changed since it was opened.
        """
        if not len(positions):
            return 0
        positions, rows = np.ascontiguousarray(positions, np.int64), np.ascontiguousarray(rows, np.int64)
        try:
            return (
                self._read_runs(positions, out, rows)
                if self._bodies is None
                else self._read_mapped(self._bodies, positions, out, rows, verify if self._codec.verify_once else True)
            )
        finally:
            self._file.check_unchanged()

    def _read_mapped(
        self, bodies: MappedBodies, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, verify: bool | np.ndarray
    ) -> int:
        """Decode samples of a mapped file in one call; one that is left over is decoded, or refused, by itself."""

        def one(number: int) -> None:
            position = int(positions[number])
            [body] = self._shard.bodies(position, 1)
            self._decode_one(position, body, out[rows[number]])

        return self._run(BodyJob(bodies, positions, out, rows, _chosen(verify, len(positions))), one)

    def _run(self, job: BodyJob, one: Callable[[int], None]) -> int:
        """Do a job on a mapped file; return the bytes it reads."""
        num_bytes = job.bodies.expect(self._file.descriptor, job.positions)
        if num_bytes is None:
            raise self._wrong_positions(job.positions)
        self._decoder.run(job, one)
        return num_bytes

    def _read_runs(self, positions: np.ndarray, out: np.ndarray, rows: np.ndarray) -> int:
        """Decode samples one by one, neighbours from one stretch of the file."""
        steps = np.diff(positions)
        if (steps < 0).any() or positions[0] < 0 or positions[-1] >= len(self):
            raise self._wrong_positions(positions)
        num_bytes = 0
        for begin, end in _runs(positions):
            num_bytes += self._soundly(partial(self._decode_run, int(positions[begin]), out, rows[begin:end]))
        if self._file.is_remote:
            self._file.rest()  # or every open shard would keep its last stretch
        return num_bytes

    def stored_bytes(self, positions: np.ndarray) -> np.ndarray:
        """Return how many bytes the bodies of samples take as they are stored, int64 ``[n]``."""
        sizes: np.ndarray = self._shard.stops[positions] - self._shard.starts[positions]
        return sizes

    def payload_bytes(self, positions: np.ndarray) -> np.ndarray:
        """Return how many bytes they take in the tar, int64 ``[n]``: the payloads of ``compact``."""
        sizes: np.ndarray = self._shard.body_bytes[positions]
        return sizes

    def read_payloads(
        self, positions: np.ndarray, out: np.ndarray, starts: np.ndarray, *, verify: bool | np.ndarray = True
    ) -> int:
        """Copy the payloads of samples to ``out``, uint8 ``[bytes]``, each from its start on; see :meth:`read_rows`.

        Args:
            positions: int ``[n]``, positions in the shard, ascending.
            out: uint8 ``[bytes]``, with room for each payload.
            starts: int ``[n]``, where in ``out`` each of them begins; it ends :meth:`payload_bytes` further on.
            verify: Whose checksums to verify if the file is mapped.

        Returns:
            Bytes read from the shard.

        Raises:
            ShardCorruptError: As :meth:`read_rows`; also if a payload has not the size that the shard's table gives.
        """
        positions, starts = np.ascontiguousarray(positions, np.int64), np.ascontiguousarray(starts, np.int64)
        sizes = np.ascontiguousarray(self.payload_bytes(positions))

        def put(number: int, _: memoryview, payload: memoryview) -> None:
            if len(payload) != sizes[number]:
                raise ShardCorruptError(
                    f"{self._where}: sample {positions[number]}: {len(payload):,} bytes found, expected "
                    f"{sizes[number]:,} as its table says; write the shard again"
                )
            out[starts[number] : starts[number] + sizes[number]] = np.frombuffer(payload, np.uint8)

        if self._bodies is None:
            self.read_stored(positions, put)
            return int(self.stored_bytes(positions).sum())
        try:
            job = BodyJob(self._bodies, positions, out, starts, _chosen(verify, len(positions)), sizes)
            return self._run(job, lambda number: self._put_run(int(positions[number]), number, number + 1, put))
        finally:
            self._file.check_unchanged()

    def read_stored(self, positions: np.ndarray, put: PutBody) -> None:
        """Hand over the bodies of samples as they are stored, once their checksums are verified.

        Args:
            positions: int ``[n]``, positions in the shard, ascending.
            put: Called for each; where bodies had to be fetched once more, for some of them again.

        Raises:
            ShardCorruptError: As :meth:`read_rows`.
        """
        try:
            for begin, end in _runs(positions, most=_RUN_SAMPLES):
                self._soundly(partial(self._put_run, int(positions[begin]), begin, end, put))
        finally:
            self._file.check_unchanged()

    def _put_run(self, first: int, begin: int, end: int, put: PutBody) -> None:
        """Hand over neighbours from position ``first`` on, which are the numbers ``begin`` to ``end``."""
        self._expect_run(first, end - begin)
        for number, body in enumerate(self._shard.bodies(first, end - begin), begin):
            try:
                payload = self._decoder.payload(body)
            except ShardCorruptError as error:
                raise self._damaged(first + number - begin, error) from error
            put(number, body, payload)

    def read(self, position: int, out: np.ndarray | None = None) -> Sample:
        """Return one whole sample, every byte of its head checked.

        Args:
            position: Position in the shard.
            out: uint8 ``[C, H, W]``, C-contiguous: filled, and the sample's pixels; fresh memory where None.
        """
        pixels = np.empty(self.spec.shape, np.uint8) if out is None else out
        self._check_position(position)
        if self._file.is_remote:
            start = int(self._shard.stops[position - 1]) if position else 0
            self._file.expect(start, int(self._shard.stops[position]) - start)
        key, label, record = self._parsed_head(position)
        self.read_rows(np.array([position]), pixels.reshape(1, -1), np.array([0]))
        return Sample(key=key, label=label, record=record, pixels=pixels)

    def read_record(self, position: int) -> dict[str, Any]:
        """Return the record of one sample; its pixels are not read."""
        self._check_position(position)
        return self._parsed_head(position)[2]

    def _parsed_head(self, position: int) -> tuple[str, int, dict[str, Any]]:
        head = self._soundly(partial(self.read_head, position))
        return self.members.parse_head(head, int(self._shard.body_bytes[position]), self._where)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(position) for position in range(len(self)))

    def read_head(self, position: int) -> bytes:
        """Return the bytes of a sample in front of its body."""
        return self._shard.head(position)

    def read_body(self, position: int) -> bytes:
        """Return the stored bytes of a body as they are in the file."""
        start = int(self._shard.starts[position])
        return self._file.read(start, int(self._shard.stops[position]) - start)

    def _check_position(self, position: int) -> None:
        if not 0 <= position < len(self):
            raise self._wrong_positions(np.array([position]))

    def _wrong_positions(self, positions: np.ndarray) -> OptionError:
        """Return the error for positions that are not in the shard, or do not ascend."""
        if positions[0] < 0 or positions[-1] >= len(self):
            text = f"positions up to {positions[-1]} found, expected 0 to {len(self) - 1}"
            return OptionError(f"{self._where}: {text}; correct the caller")
        return OptionError(f"{self._where}: positions out of order found, expected ascending ones; correct the caller")

    def _soundly(self, read: Callable[[], T]) -> T:
        """Return what ``read`` does; if a checksum does not fit what came from a URL, from bytes fetched anew."""
        try:
            return read()
        except ShardCorruptError:
            if not isinstance(self._file, RemoteFile):
                raise
        return self._file.fetched_anew(read)

    def _expect_run(self, first: int, count: int) -> int:
        """Have neighbouring samples from position ``first`` on read in one go; return their bytes."""
        start = int(self._shard.starts[first])
        num_bytes = int(self._shard.stops[first + count - 1]) - start
        self._file.expect(start, num_bytes)
        return num_bytes

    def _decode_run(self, first: int, out: np.ndarray, rows: np.ndarray) -> int:
        """Decode neighbouring samples from position ``first`` on; return how many bytes were read."""
        num_bytes = self._expect_run(first, len(rows))
        bodies = self._shard.bodies(first, len(rows))
        for position, (body, row) in enumerate(zip(bodies, rows.tolist(), strict=True), first):
            self._decode_one(position, body, out[row])
        return num_bytes

    def _decode_one(self, position: int, body: memoryview, row: np.ndarray) -> None:
        try:
            self._decoder.one(body, row)
        except ShardCorruptError as error:
            raise self._damaged(position, error) from error

    def _damaged(self, position: int, error: ShardCorruptError) -> ShardCorruptError:
        return ShardCorruptError(f"{self._where}: sample {position}: {error}; copy or write the shard again")


def _chosen(verify: bool | np.ndarray, count: int) -> np.ndarray | None:
    return None if verify is True else np.ascontiguousarray(np.broadcast_to(verify, count), bool)


def _runs(positions: np.ndarray, *, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield where each run of neighbours begins and ends among ascending positions, ``most`` of them at a time."""
    ends = np.append(np.flatnonzero(np.diff(positions) != 1) + 1, len(positions)).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        for begin in range(start, end, most or end):
            yield begin, min(end, begin + (most or end))


def read_whole(store: Store, info: ShardInfo, index: DatasetIndex, *, is_checked: bool = False) -> Iterator[Sample]:
    """Yield every sample of a shard, in order and all in the same memory.

    Behind a URL, the shard is fetched once, in large pieces, to a temporary file.

    Args:
        store: The data set's folder.
        info: The shard.
        index: The data set's index.
        is_checked: Compare its size and XXH64 with the index first; what is fetched is compared always.
    """
    with shard_copy(store) as copy:
        if is_checked or copy is not None:
            check_file(store, info, copy=copy)
        with ShardReader(store, info, index, file=open_copy(copy, store.path(info.name))) as reader:
            pixels = np.empty(index.spec.shape, np.uint8)
            for position in range(len(reader)):
                yield reader.read(position, pixels)
