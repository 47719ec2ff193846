"""Bodies in memory, as the codec stores them or as plain pixels, and what decodes them into rows of a batch.

In: bodies in memory. Out: uint8 rows, or payloads, in one call a job. No file.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs import CODECS, Codec
from ferdata.format.container import BodyJob, MappedBodies, checksum
from ferdata.format.kernels.native import load
from ferdata.sample import TensorSpec

__all__ = ["Bodies", "BodyReader", "HeldBodies", "held_codec"]


def held_codec(codec: Codec) -> Codec:
    """Return the codec that bodies are held in: ``compact`` stays as it is, others are decoded once, to ``raw``.

    ``zstd`` saves little memory, and ``jpeg`` costs more to decode than streaming it does.
    """
    return codec if codec.name == "compact" else CODECS["raw"]


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """Some bodies in memory, in the order in which they are wanted.

    Attributes:
        memory: uint8 ``[bytes]``, which holds them.
        starts: int64 ``[n]``, where each begins.
        stops: int64 ``[n]``, where it ends.
        checksums: uint32 ``[n]``, low halves of their XXH64; None if there is none apart from what is inside.
    """

    memory: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    checksums: np.ndarray | None = None

    def __getitem__(self, part: slice) -> "Bodies":
        sums = None if self.checksums is None else self.checksums[part]
        return Bodies(self.memory, self.starts[part], self.stops[part], sums)

    def body(self, number: int) -> memoryview:
        """Return one of them.

        Raises:
            ShardCorruptError: If it has not its checksum; without the name of the sample.
        """
        body = self.memory[self.starts[number] : self.stops[number]].data
        if self.checksums is not None and checksum(body) != self.checksums[number]:
            raise ShardCorruptError("the checksum does not fit its bytes")
        return body


class HeldBodies:
    """Memory for bodies, one after the other.

    Args:
        codec: How they are held.
        spec: What each of them holds.
        sizes: int64 ``[n]``, bytes of each.
    """

    def __init__(self, codec: Codec, spec: TensorSpec, sizes: np.ndarray) -> None:
        self.codec, self.spec = codec, spec
        self.stops = np.cumsum(sizes)
        self.starts = self.stops - sizes
        self.memory = np.empty(int(sizes.sum()), np.uint8)

    def body(self, number: int) -> np.ndarray:
        """Return the memory of one body, uint8 ``[bytes]``."""
        return self.memory[self.starts[number] : self.stops[number]]

    def of(self, numbers: np.ndarray) -> Bodies:
        """Return some of the bodies."""
        return Bodies(self.memory, self.starts[numbers], self.stops[numbers])

    def rows(self) -> np.ndarray:
        """Return the memory of pixels as uint8 ``[n, C * H * W]``."""
        return self.memory.reshape(-1, self.spec.num_bytes)

    def release(self) -> None:
        """Let go of the memory."""
        self.memory = np.empty(0, np.uint8)


class BodyReader:
    """Decodes bodies in memory, with scratch memory of its own; not to be shared between threads.

    Args:
        codec: How they are stored.
        spec: What each of them holds.
    """

    def __init__(self, codec: Codec, spec: TensorSpec) -> None:
        self._codec, self._decoder = codec, codec.decoder(spec)

    def read_rows(
        self,
        bodies: Bodies,
        out: np.ndarray,
        rows: np.ndarray,
        *,
        damaged: Callable[[int, ShardCorruptError], ShardCorruptError],
        verify: bool | np.ndarray = True,
        sizes: np.ndarray | None = None,
    ) -> int:
        """Decode bodies into ``out[rows]``; return how many bytes they take as they are stored.

        Args:
            bodies: The bodies.
            out: uint8 ``[R, C * H * W]``, C-contiguous rows; or uint8 ``[bytes]`` for payloads.
            rows: int64 ``[n]``, the row each goes to; or the byte where its payload begins.
            damaged: Returns the error for one of them, given its number and what is wrong.
            verify: Whether to verify checksums that cost much beside decoding, of all or, bool ``[n]``, of some.
            sizes: int64 ``[n]``, the bytes of each payload, to be copied as it is; None to decode.

        Raises:
            ShardCorruptError: If a checksum does not fit, or one cannot be decoded.
        """
        count = len(bodies.starts)

        def one(number: int) -> None:
            try:
                body = bodies.body(number)
                if sizes is None:
                    self._decoder.one(body, out[rows[number]])
                else:
                    _put(self._decoder.payload(body), out, int(rows[number]), int(sizes[number]))
            except ShardCorruptError as error:
                raise damaged(number, error) from error

        kernels = load()
        if kernels is None:
            for number in range(count):
                one(number)
        else:
            mapped = MappedBodies(kernels, bodies.memory, bodies.starts, bodies.stops, bodies.checksums)
            chosen = None if verify is True or not self._codec.verify_once else np.broadcast_to(verify, count)
            chosen = None if chosen is None else np.ascontiguousarray(chosen, bool)
            self._decoder.run(BodyJob(mapped, np.arange(count), out, rows, chosen, sizes), one)
        return int((bodies.stops - bodies.starts).sum())


def _put(payload: memoryview, out: np.ndarray, start: int, size: int) -> None:
    if len(payload) != size:
        raise ShardCorruptError(f"{len(payload):,} bytes found, expected {size:,} as its table says")
    out[start : start + size] = np.frombuffer(payload, np.uint8)
