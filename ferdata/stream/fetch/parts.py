"""What a window needs of each shard, and where it is once it has come: values that fetcher and consumer share.

In: tables of shards and the places of pieces. Out: for each sample, where in which memory its body stands.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ferdata.format.table import BodyTable
from ferdata.stream.fetch.pieces import Piece, Place

__all__ = ["Fetched", "Located", "Part", "locate_all"]


@dataclass(slots=True, eq=False)
class Fetched:
    """A piece on its way.

    Attributes:
        piece: The piece.
        window: The place of its window in the order of need.
        left: Rows of the window that were not read from it yet.
        place: Where it goes, once there is room.
        is_there: Whether it can be read.
        tries: Times that it has arrived.
        error: What went wrong for good.
        seen: Digests of what has arrived and was damaged.
    """

    piece: Piece
    window: int
    left: int
    place: Place | None = None
    is_there: bool = False
    tries: int = 0
    error: Exception | None = None
    seen: set[bytes] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Part:
    """What a window needs of one shard.

    Attributes:
        shard: The shard.
        window: The place of the window in the order of need.
        positions: int64 ``[n]`` ascending, of its samples in the shard.
        table: Where they stand, once that is known.
        fetched: The pieces that hold them.
        starts: int64 ``[pieces]``, where these begin in the shard.
        error: Why the table could not be had.
    """

    shard: int
    window: int
    positions: np.ndarray
    table: BodyTable | None = None
    fetched: list[Fetched] = field(default_factory=list)
    starts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    error: Exception | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where bodies of samples are, to be read now.

    Attributes:
        columns: int64 ``[5, n]``: which source of the memory each is in; where in it the body begins; where it ends;
            the low half of its XXH64, -1 if there is none apart from the body; the bytes of its payload.
        uses: The pieces they are in, how many of the samples each holds, and how often each had arrived.
    """

    columns: np.ndarray
    uses: list[tuple[Fetched, int, int]]


FoundPart = tuple[Part, BodyTable, slice, np.ndarray, np.ndarray, list[tuple[int, int]]]
"""A part of which samples are to be read: it, its table, which rows these are, their positions in the shard, int64
``[n]``, the pieces that hold them, int64 ``[n]``, and how many of them each such piece holds."""


def locate_all(count: int, found: Iterable[FoundPart]) -> Located:
    """Return where samples are."""
    columns = np.empty((5, count), np.int64)
    uses: list[tuple[Fetched, int, int]] = []
    for part, table, rows, positions, numbers, held in found:
        shifts, sources = np.empty((2, len(part.fetched)), np.int64)
        for number, samples in held:
            one = part.fetched[number]
            assert one.place is not None
            shifts[number], sources[number] = one.place.offset - one.piece.start, one.place.source
            uses.append((one, samples, one.tries))
        columns[0, rows] = sources[numbers]
        columns[1, rows] = table.starts[positions] + shifts[numbers]
        columns[2, rows] = table.stops[positions] + shifts[numbers]
        columns[3, rows] = -1 if table.checksums is None else table.checksums[positions]
        columns[4, rows] = table.body_bytes[positions]
    return Located(columns, uses)
