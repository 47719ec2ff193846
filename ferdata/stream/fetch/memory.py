"""Where the pieces of a split go: a cache, or shared memory that is bounded by the windows that are fetched ahead."""

from ferdata.stream.fetch.arena import PieceArena
from ferdata.stream.fetch.fetcher import WINDOWS_AHEAD
from ferdata.stream.fetch.kept import PieceCache
from ferdata.stream.fetch.pieces import PieceMemory
from ferdata.stream.sets import OpenSplit

__all__ = ["piece_memory"]


def piece_memory(opened: OpenSplit, window_samples: int, *, between_processes: bool = False) -> PieceMemory:
    """Return memory for the pieces of so many windows as are fetched."""
    most_bytes = WINDOWS_AHEAD * max(1, window_samples) * opened.stored_bytes
    arena = PieceArena(most_bytes, between_processes=between_processes)
    return PieceCache(opened, arena) if any(one.place for one in opened.sets) else arena
