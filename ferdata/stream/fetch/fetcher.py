"""Fetches ahead: the pieces that the next windows need, in order of need, many at a time, into bounded memory.

In: windows as they come. Out: where in memory the bodies of samples are, once they are there. One consumer's thread
asks; other threads wait for the network. The tables of shards come the same way, and are kept.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import xxhash

from ferdata.errors import ShardCorruptError
from ferdata.format.container.shard_file import fetch_range
from ferdata.format.table import BodyTable, parse_table, table_start
from ferdata.remote import refetched
from ferdata.stream.fetch.parts import Fetched, Located, Part, locate_all
from ferdata.stream.fetch.pieces import Piece, PieceMemory, Place, cut_pieces
from ferdata.stream.fetch.threads import RequestThreads
from ferdata.stream.order.windows import ShardMap, Window
from ferdata.stream.sets import OpenSplit

__all__ = ["CONNECTIONS", "HOW", "WINDOWS_AHEAD", "Fetcher"]

CONNECTIONS = 40
"""Requests in flight, whatever the number of workers: those of a window's runs at once, and a few of the next window's.
A connection of 80 MB/s spends 63 ms on a piece of 5 MB, and before that one round trip on nothing."""
WINDOWS_AHEAD = 3
"""Windows that are fetched: what is being read, and the next two, since all of a window's memory is free at once."""
HOW: tuple[dict[str, bool], ...] = ({}, {"is_fresh": True}, {"is_new": True})
"""How a piece is fetched, and how again when its bytes are damaged."""
_MOST_TABLE_SAMPLES = 1 << 20
"""Tables are kept for about so many samples: 28 MB."""
_SECONDS_TO_LEAVE = 5.0


class Fetcher:
    """What is fetched for one consumer.

    Args:
        opened: The split; sets that are local are left alone.
        memory: Where pieces go.
        connections: Requests in flight.
        tables: Those of shards that are known, which grow; None for the fetcher's own.
        leaves_whole: Leave shards alone that are whole in a cache, too: whoever asks reads them as local ones, and has
            what cannot be read there fetched, see :meth:`fetch_after_all`.

    Attributes:
        wake: Called by other threads when something has come, or has failed.
    """

    def __init__(
        self,
        opened: OpenSplit,
        memory: PieceMemory,
        *,
        connections: int = CONNECTIONS,
        tables: dict[int, BodyTable] | None = None,
        leaves_whole: bool = False,
    ) -> None:
        self.memory = memory
        self.wake: Callable[[], None] = lambda: None
        self._opened, self._connections = opened, connections
        self._stores = [one.store for one in opened.sets]
        self._map = ShardMap(opened.shard_sizes)
        self._tables: dict[int, BodyTable] = {} if tables is None else tables
        self._asked: dict[int, list[Part]] = {}
        self._windows: dict[tuple[int, int], dict[int, Part]] = {}
        self._ahead: deque[Window] = deque()
        self._leaves_whole, self._distrusted = leaves_whole, set[int]()
        self._epoch = self._count = self._awaited = 0
        self._threads = RequestThreads(0, opened.patience)
        self._close: Callable[[], object] = lambda: None

    def begin(self, epoch: int) -> None:
        """Begin anew, with an epoch."""
        self.finish()
        self._epoch = epoch
        self._threads = RequestThreads(self._connections, self._opened.patience)
        self._close = weakref.finalize(self, self._threads.end, _SECONDS_TO_LEAVE)

    def finish(self) -> None:
        """Drop all that was asked for; no thread is left."""
        self._threads.end()
        self._close()
        for parts in self._windows.values():
            for part in parts.values():
                for one in part.fetched:
                    if one.place is not None and one.left:
                        self.memory.release(one.place)
        self._windows.clear()
        self._asked.clear()
        self._ahead.clear()

    def close(self) -> None:
        """Drop everything and let go of the memory."""
        self.finish()
        self.memory.close()

    def follow(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Yield windows as they come, and have those that follow fetched meanwhile."""
        while True:
            while len(self._ahead) < WINDOWS_AHEAD and (window := next(windows, None)) is not None:
                self._ahead.append(window)
                self._want_in_time(window)
            if not self._ahead:
                return
            yield self._ahead[0]
            self._ahead.popleft()
            with self._threads.changed:
                self._forget_read()

    def now(self, epoch: int) -> None:
        """Take note of the epoch that is being consumed: of the next one only the first window may be of use."""
        self._epoch = epoch
        for window in self._ahead:
            self._want_in_time(window)

    def parts(self, window: Window, samples: np.ndarray) -> tuple[np.ndarray, list[tuple[bool, int, int]]]:
        """Return how to read some samples, int64 ``[n]`` ascending, of the window that :meth:`follow` yielded last.

        Returns:
            An order of them, int64 ``[n]``, and its parts: whether they are fetched, where they begin and where they
            end. A part is of one set, and ascends.
        """
        with self._threads.changed:
            fetched = self._want(window)
        kinds = 2 * np.searchsorted(self._opened.set_starts, samples, side="right")
        for shard, rows, _ in self._map.by_shard(samples) if fetched else ():
            kinds[rows] += shard in fetched
        order = np.argsort(kinds, kind="stable")
        kinds = kinds[order]
        edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(samples)]
        return order, [(bool(kinds[begin] % 2), begin, end) for begin, end in pairwise(edges) if begin < end]

    def fetch_after_all(self, window: Window, samples: np.ndarray) -> Window | None:
        """Have samples fetched that could not be read in a cache, from where their shards are read no more.

        Args:
            window: Their window.
            samples: int64 ``[n]`` ascending, of one set.

        Returns:
            A window of these samples alone, to :meth:`locate` them; None if they are of a local set.
        """
        shards = [shard for shard, _, _ in self._map.by_shard(samples)]
        if self._stores[self._opened.shard(shards[0])[0]].is_local:
            return None
        with self._threads.changed:
            self._distrusted.update(shards)
            alone = replace(window, first_batch=-1 - self._count, samples=samples)  # a number that no other has
            self._want(alone)
        return alone

    def locate(self, window: Window, samples: np.ndarray) -> Located | None:
        """Return where some of a window's samples are, int64 ``[n]`` ascending; None if not all of them are there yet.

        Each is to be located once, and given back to :meth:`release` or :meth:`refetch`.

        Raises:
            FerdataError: If they cannot be had.
        """
        with self._threads.changed:
            parts, found = self._want(window), []
            for shard, rows, positions in self._map.by_shard(samples):
                part = parts[shard]
                if part.error is not None:
                    raise part.error
                if part.table is None:
                    self._await(part.window)
                    return None
                numbers = np.searchsorted(part.starts, part.table.starts[positions], side="right") - 1
                held = [count for count in enumerate(np.bincount(numbers).tolist()) if count[1]]
                for one in (part.fetched[number] for number, _ in held):
                    if one.error is not None:
                        raise one.error
                    if not one.is_there:
                        self._await(part.window)
                        return None
                found.append((part, part.table, rows, positions, numbers, held))
            return locate_all(len(samples), found)

    def release(self, located: Located) -> None:
        """Take note that samples were read: pieces that nobody will read again make room."""
        with self._threads.changed:
            for one, count, _ in located.uses:
                one.left -= count
                if not one.left and one.place is not None:
                    self.memory.release(one.place)
            self._forget_read()
            self._threads.changed.notify_all()

    def refetch(self, located: Located, error: ShardCorruptError) -> None:
        """Have pieces fetched again in which a sample was found to be damaged; it is to be located again.

        Raises:
            ShardCorruptError: If they were fetched often enough.
        """
        with self._threads.changed:
            for one, _, tries in located.uses:
                if one.tries == tries and one.is_there:  # else somebody else has found out
                    if tries >= len(HOW):
                        raise ShardCorruptError(f"{error}{refetched(is_same=self._sees(one) == 1)}") from error
                    self._sees(one)
                    one.is_there = False
                    self._threads.push((one.window, 0), _FetchPiece(self, one))

    def wait_for(self, window: Window, samples: np.ndarray) -> Located:
        """Return what :meth:`locate` does, once all samples are there: for a consumer without workers that wake it."""
        with self._threads.changed:  # all the time, or what comes after a look would be waited for
            while (located := self.locate(window, samples)) is None:
                self._threads.changed.wait(1.0)
            return located

    def _sees(self, one: Fetched) -> int:
        """Return how many different bytes have arrived for a piece."""
        assert one.place is not None
        memory, first = self.memory.sources().array(one.place.source), one.place.offset
        one.seen.add(xxhash.xxh64_digest(memory[first : first + one.piece.num_bytes].data))
        return len(one.seen)

    # What windows need

    def _want_in_time(self, window: Window) -> None:
        if window.epoch == self._epoch or (window.epoch == self._epoch + 1 and window.first_batch == 0):
            with self._threads.changed:
                self._want(window)

    def _want(self, window: Window) -> dict[int, Part]:
        """Return what a window needs of each shard, and ask for it if nobody has."""
        parts = self._windows.get(_key(window))
        if parts is None:
            parts = self._windows[_key(window)] = {}
            samples = np.sort(window.samples[window.samples >= 0])
            for shard, _, positions in self._map.by_shard(samples):
                if self._is_fetched(shard):
                    parts[shard] = part = Part(shard, self._count, positions)
                    self._ask(part)
            self._count += 1
        return parts

    def _is_fetched(self, shard: int) -> bool:
        """Tell whether samples of a shard are fetched, or looked up in the cache, piece by piece."""
        if self._stores[self._opened.shard(shard)[0]].is_local:
            return False
        kept = self._opened.cached_shard(shard)
        is_left = self._leaves_whole and kept is not None and kept[0].is_whole(kept[1])
        return not is_left or shard in self._distrusted

    def _forget_read(self) -> None:
        """Forget windows of which nothing is left to be read."""
        coming = [_key(window) for window in self._ahead]
        for key, parts in list(self._windows.items()):
            if key not in coming and not any(one.left for part in parts.values() for one in part.fetched or [_NOT_YET]):
                del self._windows[key]

    def _ask(self, part: Part) -> None:
        table = self._tables.get(part.shard)
        if table is not None:
            self._cut(part, table)
        elif part.shard in self._asked:
            self._asked[part.shard].append(part)
        else:
            self._asked[part.shard] = [part]
            self._threads.push((part.window, 0), _FetchTable(self, part.shard))

    def _cut(self, part: Part, table: BodyTable) -> None:
        """Ask for the pieces of a part."""
        part.table = table
        for piece, rows in cut_pieces(part.shard, table.starts[part.positions], table.stops[part.positions]):
            one = Fetched(piece, part.window, rows.stop - rows.start)
            part.fetched.append(one)
            self._threads.push((part.window, 1), _FetchPiece(self, one))
        part.starts = np.array([one.piece.start for one in part.fetched], np.int64)

    def _await(self, window: int) -> None:
        """Take note that a window is waited for: there must be room for it."""
        if window > self._awaited:
            self._awaited = window
            self._threads.changed.notify_all()

    # In the threads

    def begin_piece(self, one: Fetched) -> bool:
        """Find room for a piece, under the lock."""
        if one.place is None:
            one.place = self.memory.reserve(one.piece, is_awaited=one.window <= self._awaited)
        return one.place is not None

    def fetch_piece(self, one: Fetched) -> None:
        """Fetch a piece."""
        assert one.place is not None
        try:
            self._fill(one.place, tries=one.tries)
        except Exception as error:
            one.error = error
        with self._threads.changed:
            one.tries += 1
            one.is_there = one.error is None
            self._threads.changed.notify_all()
        self.wake()

    def fetch_table(self, shard: int) -> None:
        """Fetch and parse the table of a shard."""
        table: BodyTable | None = None
        failure: Exception | None = None
        try:
            table = self._read_table(shard)
        except Exception as error:
            failure = error
        with self._threads.changed:
            parts = self._asked.pop(shard, [])
            if table is not None:
                self._keep(shard, table)
            for part in parts:
                part.error = failure
                if table is not None:
                    self._cut(part, table)
            self._threads.changed.notify_all()
        if failure is not None:
            self.wake()

    def _read_table(self, shard: int) -> BodyTable:
        number, info = self._opened.shard(shard)
        index = self._opened.sets[number].index
        piece = Piece(shard, table_start(info, index), info.num_bytes)
        with self._threads.changed:
            place = self.memory.reserve(piece, is_awaited=True)
        assert place is not None, "there is room for what is waited for"
        where = self._stores[number].path(info.name)
        try:
            seen = set()
            for tries in range(len(HOW)):
                self._fill(place, tries=tries)
                end = self.memory.sources().array(place.source)[place.offset : place.offset + piece.num_bytes]
                try:
                    return parse_table(end, info, index, where=where)
                except ShardCorruptError as error:
                    seen.add(xxhash.xxh64_digest(end.data))
                    if tries == len(HOW) - 1:
                        raise ShardCorruptError(f"{error}{refetched(is_same=len(seen) == 1)}") from error
            raise AssertionError
        finally:
            with self._threads.changed:
                self.memory.release(place)

    def _keep(self, shard: int, table: BodyTable) -> None:
        """Keep a table, and let the oldest ones go if there are too many."""
        self._tables[shard] = table
        most = max(1, _MOST_TABLE_SAMPLES // max(1, int(self._opened.shard_sizes.max())))
        while len(self._tables) > most:
            del self._tables[next(iter(self._tables))]

    def _fill(self, place: Place, *, tries: int) -> None:
        number, info = self._opened.shard(place.piece.shard)
        store = self._stores[number]

        def fetch(start: int, stop: int, room: memoryview | None = None) -> bytes:
            return fetch_range(store, info.name, start, stop, room, **HOW[tries])

        self.memory.fill(place, fetch, is_damaged=tries > 0)


def _key(window: Window) -> tuple[int, int]:
    return window.epoch, window.first_batch


_NOT_YET = Fetched(Piece(0, 0, 0), 0, 1)
"""Stands for the pieces of a part whose table has not come."""


class _FetchPiece:
    """The task of fetching a piece."""

    def __init__(self, fetcher: Fetcher, one: Fetched) -> None:
        self._fetcher, self._one = fetcher, one

    def begin(self) -> bool:
        return self._fetcher.begin_piece(self._one)

    def run(self) -> None:
        self._fetcher.fetch_piece(self._one)


class _FetchTable:
    """The task of fetching a shard's table."""

    def __init__(self, fetcher: Fetcher, shard: int) -> None:
        self._fetcher, self._shard = fetcher, shard

    def begin(self) -> bool:
        return True

    def run(self) -> None:
        self._fetcher.fetch_table(self._shard)
