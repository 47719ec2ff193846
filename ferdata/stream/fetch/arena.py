"""Pieces in this machine's memory: one stretch of it, which is used again and again.

In: pieces. Out: places in memory that worker processes see. Costs the memory of the pieces that are there at a time.
"""

from bisect import bisect_left

import numpy as np

from ferdata.stream.fetch.pieces import Fetch, Piece, Place
from ferdata.stream.memory.ring import SharedBytes

__all__ = ["PieceArena"]

_ROOM = 8
"""Times the bound that addresses are reserved for: what is waited for has room in any case, and gaps do no harm."""
_ALIGNED_BYTES = 4096


class PieceArena:
    """Memory that pieces are fetched into; see :class:`ferdata.stream.fetch.pieces.PieceMemory`.

    Args:
        most_bytes: Bytes that are used ahead of what is waited for.
        between_processes: Whether worker processes read it.
    """

    verifies_once = False

    def __init__(self, most_bytes: int, *, between_processes: bool) -> None:
        self.most_bytes = most_bytes
        self.memory = SharedBytes(_ROOM * most_bytes, between_processes=between_processes)
        self.used_bytes = 0
        self._starts: list[int] = []
        self._ends: list[int] = []

    def reserve(self, piece: Piece, *, is_awaited: bool) -> Place | None:
        """Return the first place that is large enough."""
        size = -(-piece.num_bytes // _ALIGNED_BYTES) * _ALIGNED_BYTES
        if self.used_bytes and not is_awaited and self.used_bytes + size > self.most_bytes:
            return None
        gaps = zip([0, *self._ends], [*self._starts, self.memory.num_bytes], strict=True)
        number, start = next(((n, start) for n, (start, end) in enumerate(gaps) if end - start >= size), (-1, 0))
        if number < 0:
            return None
        self._starts.insert(number, start)
        self._ends.insert(number, start + size)
        self.used_bytes += size
        return Place(piece, 0, start)

    def fill(self, place: Place, fetch: Fetch, *, is_damaged: bool = False) -> None:
        """Fetch a piece."""
        piece = place.piece
        room = self.memory.array()[place.offset : place.offset + piece.num_bytes]
        fetch(piece.start, piece.stop, room.data)

    def release(self, place: Place) -> None:
        """Make room; what lies beyond the bound is given back to the system."""
        number = bisect_left(self._starts, place.offset)
        start, end = self._starts.pop(number), self._ends.pop(number)
        self.used_bytes -= end - start
        if end > self.most_bytes:
            self.memory.discard(start, end)

    def sources(self) -> "ArenaSources":
        """Return what workers read with."""
        return ArenaSources(self.memory)

    def close(self) -> None:
        """Give the memory back to the system."""
        self.memory.discard(0, self.memory.num_bytes)


class ArenaSources:
    """The memory in any process."""

    def __init__(self, memory: SharedBytes) -> None:
        self._memory = memory

    def array(self, source: int) -> np.ndarray:
        """Return all of it."""
        return self._memory.array()

    def hand_over(self, shard: int) -> None:
        """Return None: no shard is a file here."""

    def check(self, source: int) -> None:
        """Do nothing: memory is there."""
