"""Shards behind a URL that are read once and in reading order: each is put together in memory from parallel pieces.

In: a shard, and which of its samples are wanted. Out: a reader of its bytes in memory. Costs the memory of what is
wanted of a shard, while it is read.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xxhash

from ferdata.errors import ShardCorruptError
from ferdata.format import FetchedFile, ShardReader
from ferdata.format.container.shard_file import fetch_range
from ferdata.format.table import parse_table, table_start
from ferdata.remote import refetched
from ferdata.stream.fetch.fetcher import CONNECTIONS, HOW
from ferdata.stream.fetch.pieces import cut_pieces
from ferdata.stream.sets import OpenSplit, ShardOpener

__all__ = ["SHARDS_AT_ONCE", "FetchedShards"]

SHARDS_AT_ONCE = 4
"""Shards that are put together at a time."""
_MOST_ENDS = 4096
"""Tables that are kept between finding out how much a split takes, and reading it."""


class FetchedShards:
    """The shards of a split that lie behind a URL; for any number of threads.

    Args:
        opened: The split.
    """

    def __init__(self, opened: OpenSplit) -> None:
        self._opened, self._opener = opened, ShardOpener(opened)
        self._ends: dict[int, np.ndarray] = {}

    def read(self, number: int, positions: np.ndarray | None, use: Callable[[ShardReader], None]) -> None:
        """Have a shard's reader used once samples are there; again with bytes fetched anew if some are damaged.

        Args:
            number: The shard.
            positions: int64 ``[n]`` ascending, which of its samples; None for its table alone.
            use: Reads them.

        Raises:
            ShardCorruptError: If they are damaged each time.
        """
        seen = set()
        for time, how in enumerate(HOW):
            memory = self._fetch(number, positions, how)
            each, info = self._opened.shard(number)
            file = FetchedFile(self._opened.sets[each].store.path(info.name), memory)
            try:
                with self._opener.open(number, file=file) as reader:
                    use(reader)
            except ShardCorruptError as error:
                self._ends.pop(number, None)
                seen.add(xxhash.xxh64_digest(memory.data))
                if time == len(HOW) - 1:
                    raise ShardCorruptError(f"{error}{refetched(is_same=len(seen) == 1)}") from error
            else:
                return

    def _fetch(self, number: int, positions: np.ndarray | None, how: dict[str, bool]) -> np.ndarray:
        """Return a shard's bytes, uint8 ``[bytes]``: its table, and what holds the samples; zeros elsewhere."""
        each, info = self._opened.shard(number)
        one = self._opened.sets[each]
        store, start = one.store, table_start(info, one.index)
        memory = np.zeros(info.num_bytes, np.uint8)
        if number not in self._ends:
            end = np.empty(info.num_bytes - start, np.uint8)
            fetch_range(store, info.name, start, info.num_bytes, end.data, **how)
            if len(self._ends) < _MOST_ENDS:
                self._ends[number] = end
        else:
            end = self._ends[number]
        memory[start:] = end
        if positions is not None:
            try:
                table = parse_table(memory[start:], info, one.index, where=store.path(info.name))
            except ShardCorruptError:
                return memory  # its reader finds the same
            pieces = [piece for piece, _ in cut_pieces(number, table.starts[positions], table.stops[positions])]
            with ThreadPoolExecutor(CONNECTIONS // SHARDS_AT_ONCE) as pool:
                for _ in pool.map(
                    lambda piece: fetch_range(
                        store, info.name, piece.start, piece.stop, memory[piece.start : piece.stop].data, **how
                    ),
                    pieces,
                ):
                    pass
        return memory
