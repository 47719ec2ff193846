"""Where the pieces of a split go: a cache, or shared memory that is bounded by the windows that are fetched ahead."""

from ferdata.stream.fetch.arena import PieceArena
from ferdata.stream.fetch.fetcher import WINDOWS_AHEAD
from ferdata.stream.fetch.kept import PieceCache
from ferdata.stream.fetch.pieces import PieceMemory
from ferdata.stream.sets import OpenSplit

__all__ = ["piece_memory"]


def piece_memory(opened: OpenSplit, window_samples: int, *, between_processes: bool = False) -> PieceMemory:
    """Return memory for the pieces of two windows; for all that are asked for, where two take as much once decoded."""
    stored, decoded = (max(1, window_samples) * one for one in (opened.stored_bytes, opened.index.spec.num_bytes))
    most_bytes = max(2 * stored, min(WINDOWS_AHEAD * stored, 2 * decoded))
    arena = PieceArena(most_bytes, between_processes=between_processes)
    return PieceCache(opened, arena) if any(one.place for one in opened.sets) else arena
