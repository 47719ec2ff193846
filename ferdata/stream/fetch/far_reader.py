"""Reads what lies behind a URL for those who decode in the thread that asks, fetched ahead of them.

In: windows, and samples of them. Out: rows of a batch.
"""

from collections.abc import Iterator

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.table import BodyTable
from ferdata.stream.fetch.fetcher import Fetcher
from ferdata.stream.fetch.pieces import PieceMemory
from ferdata.stream.fetch.reader import PieceReader
from ferdata.stream.order.windows import VERIFY_ALL, Window, due
from ferdata.stream.sets import OpenSplit

__all__ = ["FarReader"]


class FarReader:
    """A fetcher and a reader for one thread.

    Args:
        opened: The split.
        memory: Where pieces go.
        tables: Tables of shards that are known, which grow.
    """

    def __init__(self, opened: OpenSplit, memory: PieceMemory, tables: dict[int, BodyTable]) -> None:
        self._fetcher = Fetcher(opened, memory, tables=tables)
        self._reader = PieceReader(opened, memory.sources())
        self.parts, self.finish, self.close = self._fetcher.parts, self._fetcher.finish, self._fetcher.close

    def begin(self, windows: Iterator[Window], epoch: int) -> Iterator[Window]:
        """Begin an epoch; yield its windows, fetched ahead."""
        self._fetcher.begin(epoch)
        return self._fetcher.follow(windows)

    def read_rows(self, window: Window, samples: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: int) -> None:
        """Decode some of a window's samples, int64 ``[n]`` ascending and of one set, into ``out[rows]``.

        Raises:
            FerdataError: If they cannot be had, or are damaged each time they are fetched.
        """
        while True:
            located = self._fetcher.wait_for(window, samples)
            which = due(samples, verify if self._fetcher.memory.verifies_once else VERIFY_ALL)
            try:
                self._reader.read_rows(samples, out, np.ascontiguousarray(rows), located.columns, verify=which)
            except ShardCorruptError as error:
                self._fetcher.refetch(located, error)
            else:
                self._fetcher.release(located)
                return
