"""Bodies in memory, as the codec stores them or as plain pixels, and what decodes them into rows of a batch.

In: bodies of which every checksum was verified. Out: uint8 rows, in one call a job. No file, and nothing to verify.
"""

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs import CODECS, Codec
from ferdata.format.container import BodyJob, MappedBodies
from ferdata.format.kernels.native import load
from ferdata.sample import TensorSpec

__all__ = ["HeldBodies", "HeldReader", "held_codec"]


def held_codec(codec: Codec) -> Codec:
    """Return the codec that bodies are held in: ``compact`` stays as it is, others are decoded once, to ``raw``.

    ``zstd`` saves little memory, and ``jpeg`` costs more to decode than streaming it does.
    """
    return codec if codec.name == "compact" else CODECS["raw"]


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

    def rows(self) -> np.ndarray:
        """Return the memory of pixels as uint8 ``[n, C * H * W]``."""
        return self.memory.reshape(-1, self.spec.num_bytes)

    def release(self) -> None:
        """Let go of the memory."""
        self.memory = np.empty(0, np.uint8)


class HeldReader:
    """Decodes held bodies, with scratch memory of its own; not to be shared between threads."""

    def __init__(self, bodies: HeldBodies) -> None:
        self._bodies = bodies
        self._decoder = bodies.codec.decoder(bodies.spec)
        kernels = load()
        self._mapped: MappedBodies | None = None
        if kernels is not None:
            self._mapped = MappedBodies(kernels, bodies.memory, bodies.starts, bodies.stops, None)

    def read_rows(self, numbers: np.ndarray, out: np.ndarray, rows: np.ndarray) -> int:
        """Decode bodies into ``out[rows]``, uint8 ``[R, C * H * W]``; return how many bytes they take.

        Raises:
            ShardCorruptError: If one cannot be decoded, though its checksum fits.
        """
        numbers, rows = np.ascontiguousarray(numbers, np.int64), np.ascontiguousarray(rows, np.int64)

        def one(number: int) -> None:
            self._read_one(int(numbers[number]), out[rows[number]])

        if self._mapped is None:
            for number in range(len(numbers)):
                one(number)
        else:
            nothing = np.zeros(len(numbers), bool)  # to verify
            self._decoder.run(BodyJob(self._mapped, numbers, out, rows, nothing), one)
        return int((self._bodies.stops[numbers] - self._bodies.starts[numbers]).sum())

    def _read_one(self, number: int, row: np.ndarray) -> None:
        try:
            self._decoder.one(self._bodies.body(number).data, row)
        except ShardCorruptError as error:
            raise ShardCorruptError(f"resident sample {number}: {error}; write its shard again") from error
