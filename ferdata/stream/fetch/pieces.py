"""Pieces of shards, each fetched with one request: how samples are put into pieces, and where their bytes live.

In: where samples stand in a shard. Out: a few large stretches of it that hold them. Pure; and the protocol of the
memory that pieces are fetched into, which may be shared memory or a folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ferdata.format.container.shard_file import LocalFile

__all__ = ["GAP_BYTES", "PIECE_BYTES", "Fetch", "Piece", "PieceMemory", "PieceSources", "Place", "cut_pieces"]

PIECE_BYTES = 16 << 20
"""A piece is no larger, unless a single sample is."""
GAP_BYTES = 256 << 10
HEAD_BYTES = 16 << 10
"""What is not needed between two samples is fetched with them, if it is not larger than the first of them, nor than the
one, unless it is smaller than the other, as what stands in front of each sample is."""


class Fetch(Protocol):
    """Asks for bytes of a piece's shard where it lies; takes long."""

    def __call__(self, start: int, stop: int, room: memoryview | None = None) -> bytes:
        """Return the bytes ``[start, stop)``; nothing if they are in ``room``, which is that large.

        Raises:
            FerdataError: If not all of them can be had.
        """


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes ``[start, stop)`` of a shard.

    Attributes:
        shard: Number of the shard in the split.
        start: Its first byte in the shard.
        stop: The byte after its last.
    """

    shard: int
    start: int
    stop: int

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece lives.

    Attributes:
        piece: The piece.
        source: Which of the memory's sources it is in, see :class:`PieceSources`.
        offset: Where in that source its first byte is.
    """

    piece: Piece
    source: int
    offset: int


class PieceSources(Protocol):
    """What workers are given of a memory; it can be sent to other processes."""

    def array(self, source: int) -> np.ndarray:
        """Return all bytes of a source, uint8 ``[n]``, mapped; those of places that were filled are there."""

    def hand_over(self, shard: int) -> LocalFile | None:
        """Return the file that a shard is kept in, for whoever reads on from it alone; None if it is not mapped."""

    def check(self, source: int) -> None:
        """Call this once bytes of a source were used.

        Raises:
            ShardCorruptError: If they could not be read, and were zeros.
        """


class PieceMemory(Protocol):
    """Where pieces live from before they are fetched until nobody reads them any more.

    :meth:`reserve` and :meth:`release` are called by one thread at a time and return at once; :meth:`fill` is called by
    many threads at a time, each with a place of its own, and may wait: for the network, or for somebody else who
    fetches the same bytes.

    Attributes:
        verifies_once: As it is now, whether a sample whose checksum was verified need not be verified whenever it is
            read: what arrives over the network anew each time must be.
    """

    verifies_once: bool

    def reserve(self, piece: Piece, *, is_awaited: bool) -> Place | None:
        """Return a place for a piece, or None as long as there is no room; there is for one that is waited for."""

    def fill(self, place: Place, fetch: Fetch, *, is_damaged: bool = False) -> None:
        """Have the bytes of a place there when this returns; fetch what is not there yet.

        Args:
            place: Where to.
            fetch: Asks the origin; it may be called never, for parts, or for more than the piece.
            is_damaged: Whether what is there was found to be damaged: then all of it is fetched anew.

        Raises:
            FerdataError: If it could not be fetched or kept.
        """

    def release(self, place: Place) -> None:
        """Take note that nobody reads a place any more, or ever will; it may not have been filled."""

    def sources(self) -> PieceSources:
        """Return what workers read with."""

    def close(self) -> None:
        """Let go of the memory."""


def cut_pieces(shard: int, starts: np.ndarray, stops: np.ndarray) -> Iterator[tuple[Piece, slice]]:
    """Yield pieces that hold samples of a shard, in order, and which of the samples each of them holds.

    Args:
        shard: Number of the shard.
        starts: int64 ``[n]`` ascending, where the bytes of samples begin; the same sample may come several times.
        stops: int64 ``[n]``, where they end.
    """
    most_gaps = np.clip((stops - starts)[:-1], HEAD_BYTES, GAP_BYTES)
    apart = starts[1:] - stops[:-1] > most_gaps
    ends = np.append(np.flatnonzero(apart) + 1, len(starts)).tolist()
    first = 0
    for end in ends:
        while first < end:
            most = max(int(starts[first]) + PIECE_BYTES, int(stops[first]))
            last = first + int(np.searchsorted(stops[first:end], most, side="right"))
            yield Piece(shard, int(starts[first]), int(stops[last - 1])), slice(first, last)
            first = last
