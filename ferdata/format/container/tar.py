"""Blocks and headers of a tar, as far as shards use them.

In: names and sizes. Out: 512-byte USTAR headers. A header costs about a microsecond: only name and size differ.
"""

import tarfile
from typing import TypeVar

import numpy as np

__all__ = ["END_OF_TAR", "TAR_BLOCK_BYTES", "HeaderTemplate", "Sizes", "pad_to_block"]

TAR_BLOCK_BYTES = 512
END_OF_TAR = bytes(2 * TAR_BLOCK_BYTES)

_CHECKSUM_FIELD = slice(148, 156)

Sizes = TypeVar("Sizes", int, np.ndarray)
"""One size, or an array of them."""


def pad_to_block(num_bytes: Sizes) -> Sizes:
    """Return the zero bytes that fill ``num_bytes``, a number or an array of them, up to tar's 512-byte block."""
    return -num_bytes % TAR_BLOCK_BYTES


class HeaderTemplate:
    """A USTAR header of one kind of member; only the name and the size differ between samples."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix.encode("ascii")
        info = tarfile.TarInfo("")
        info.mode, info.mtime = 0o644, 0
        blank = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
        blank[_CHECKSUM_FIELD] = b" " * 8
        self._blank = bytes(blank)
        self._sum_of_blank = sum(blank[:124]) + sum(blank[135:])

    def fill(self, key: str, num_bytes: int) -> bytes:
        """Return the 512-byte header of member ``key + suffix``; the checksum is POSIX's sum of all bytes."""
        name = key.encode("ascii") + self._suffix
        size = b"%011o" % num_bytes
        # What the name covers is zero in the blank: only what was filled in is summed for each sample.
        checksum = b"%06o\0 " % (self._sum_of_blank + sum(name) + sum(size))
        return b"".join((name, self._blank[len(name) : 124], size, self._blank[135:148], checksum, self._blank[156:]))
