"""One zstd frame at a time, with its content size and checksum. The only file that imports a zstd binding.

In: bytes. Out: a frame, and back, into memory that is there already. Costs are in docs/codecs.md.
"""

import struct
import threading
from typing import Any

import zstandard

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.container.bodies import BodyJob
from ferdata.format.container.libzstd import LibzstdContext, find_libzstd
from ferdata.format.kernels.native import load

__all__ = ["CHECKSUM_BYTES", "Compressor", "Decompressor", "check_level", "inflate"]

CHECKSUM_BYTES = 4
"""Of a frame, its last ones."""

_WORD = struct.Struct("<I")

_UNUSED_BIT = 1 << 4
"""Of the frame header descriptor: zstd's own decoder does not look at it, and nobody sets it."""

_SMALLEST_WINDOW = 1 << 10


def check_level(level: Any) -> None:
    """Raise OptionError where a number is no zstd level; lower is faster and larger."""
    if type(level) is not int or not -20 <= level <= 19:
        raise OptionError(f"level: {level} found, expected -20 to 19")


class Compressor:
    """Makes independent frames."""

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)

    def frame(self, data: Any) -> bytes:
        """Return one frame that holds ``data``."""
        return self._compressor.compress(data)


class Decompressor:
    """Inflates frames; not to be shared between threads.

    Reading through ``readinto`` with room for the whole frame makes libzstd decode in one pass into that memory;
    a fresh output buffer per frame cost up to half of the speed in page faults. One pass is also what checks the
    checksum: libzstd's other way, block by block, may stop when the memory is full and the checksum not yet read, and
    it can be entered by one flipped bit in a block's header. It is shut out by the smallest window libzstd knows;
    frames that fit that window are decoded apart and copied.
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_SMALLEST_WINDOW)
        self._kernels, library = load(), find_libzstd()
        self._context = None if library is None else LibzstdContext(library)

    def into(self, stored: Any, out: Any) -> None:
        """Fill ``out`` from ``stored``, which must be one frame of exactly ``len(out)`` bytes and nothing else.

        Raises:
            ShardCorruptError: If the frame is damaged, holds another number of bytes, or is followed by others.
        """
        try:
            parameters = zstandard.get_frame_parameters(stored)
            if parameters.content_size != len(out) or not parameters.has_checksum or stored[4] & _UNUSED_BIT:
                raise ShardCorruptError(
                    f"a zstd frame of {parameters.content_size:,} bytes found, expected {len(out):,} with a checksum"
                )
            if len(out) <= _SMALLEST_WINDOW:
                memoryview(out)[:] = self._decompressor.decompress(stored)
            elif self._decompressor.stream_reader(stored).readinto(out) != len(out):
                raise ShardCorruptError(f"a zstd frame ends early, expected {len(out):,} bytes")
        except zstandard.ZstdError as error:
            raise _damaged(error) from error
        _check_end(stored)

    def into_rows(self, job: BodyJob) -> int:
        """Inflate frames of a mapped file, each into its row of a batch.

        One call without Python and its lock, where kernels and libzstd are there.

        Returns:
            How many are done. The next is damaged, or :meth:`into` has to say whether it is.
        """
        if self._kernels is None or self._context is None:
            return 0
        done: int = self._kernels.inflate(self._context.function, self._context.address, *job.arguments())
        return done


def _check_end(stored: Any) -> None:
    """Check that a frame, decoded without an error, is all of ``stored``: libzstd does not say what it left unread.

    A block's header has 3 bytes and is read here with the byte before it. From bit 8: whether it is the last block, 2
    bits of type, of which 1 is a repeated byte, and 21 bits of size. Costs a third of a microsecond and a fifth for
    every further block of 128 KiB.
    """
    end = zstandard.frame_header_size(stored)
    word = 0
    while not word & 0x100:
        (word,) = _WORD.unpack_from(stored, end - 1)
        end += 4 if word & 0x600 == 0x200 else 3 + (word >> 11)
    end += CHECKSUM_BYTES
    if end != len(stored):
        raise ShardCorruptError(f"a zstd frame of {len(stored):,} bytes ends after {end:,}, expected nothing behind it")


def inflate(stored: Any, num_bytes: int) -> bytes:
    """Return the ``num_bytes`` of a frame as new bytes; see :meth:`Decompressor.into`."""
    out = bytearray(num_bytes)
    _threads.decompressor.into(stored, out)
    return bytes(out)


class _Threads(threading.local):
    """One decompressor a thread, whatever it opens: a context takes as much memory as an image."""

    def __init__(self) -> None:
        self.decompressor = Decompressor()


_threads = _Threads()


def _damaged(error: zstandard.ZstdError) -> ShardCorruptError:
    return ShardCorruptError(f"a zstd frame is damaged ({error})")
