"""What a container does: lay the samples of a shard out in a file, and find and check each of them again.

There are two: :func:`~ferdata.format.container.frame_tar` and :data:`~ferdata.format.container.PLAIN_TAR`. An open
shard takes about 30 bytes of memory per sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xxhash

from ferdata.errors import ShardCorruptError
from ferdata.format.container.members import SampleMembers
from ferdata.format.container.shard_file import ShardFile

__all__ = ["Container", "ContainerWriter", "OpenShard", "Put"]

Put = Callable[[Any], None]
"""Takes the bytes of a file in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One way to put samples into a file.

    Attributes:
        ending: Of the names of its files.
        writer: Makes what writes one shard.
        open: Reads the table of a shard of so many samples, whose tail has that XXH64 (hex). Raises ShardCorruptError
            if table and file contradict each other, or are not those of this shard.
        end_bytes: Returns how many bytes at the end of a shard of so many samples ``open`` reads, at most.
    """

    ending: str
    writer: Callable[[Put], "ContainerWriter"]
    open: Callable[[ShardFile, SampleMembers, int, str], "OpenShard"]
    end_bytes: Callable[[int], int]


class ContainerWriter(Protocol):
    """Writes one shard."""

    def add(self, padding: bytes, head: bytes, body: memoryview) -> None:
        """Append a sample; ``padding`` fills up the one before it."""

    def close(self, padding: bytes) -> bytes:
        """Write what ends the file, and return its tail: the bytes whose XXH64 the index keeps."""


class OpenShard(ABC):
    """Where the samples of an open shard stand.

    Attributes:
        body_bytes: int64 ``[samples]``, bytes of every body in the tar.
        starts: int64 ``[samples]``, where every body begins in the file.
        stops: int64 ``[samples]``, where it ends.
        checksums: uint32 ``[samples]``, low halves of the bodies' XXH64; None if they are frames, with one inside.
    """

    body_bytes: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    checksums: np.ndarray | None = None

    def __init__(self, file: ShardFile, members: SampleMembers) -> None:
        self._file = file
        self._members = members

    @abstractmethod
    def head(self, position: int) -> bytes:
        """Return the bytes of a sample in front of its body, checked."""

    def bodies(self, first: int, count: int) -> list[memoryview]:
        """Return the stored bodies of neighbouring samples, checked as far as can be told without decoding them."""
        run = slice(first, first + count)
        view = self._file.view
        return [
            view(start, stop - start)
            for start, stop in zip(self.starts[run].tolist(), self.stops[run].tolist(), strict=True)
        ]

    def mismatch(self, what: str) -> ShardCorruptError:
        """Return the error for what does not have its checksum."""
        return ShardCorruptError(
            f"{self._file.where}: the checksum of {what} does not fit its bytes; copy or write the shard again"
        )

    def _check_tail(self, tail: bytes, tail_xxh64: str) -> None:
        """Tell the shard from others of the same size: every raw shard of so many samples has it."""
        if xxhash.xxh64_hexdigest(tail) != tail_xxh64:
            raise ShardCorruptError(
                f"{self._file.where}: its table is not the one that index.json knows, "
                "so this is another shard or a damaged one; copy or write it again"
            )
