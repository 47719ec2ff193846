"""The copy of one data set in a cache folder: bytes that are asked for are fetched once, by whichever process is first.

In: ranges of the set's files, and a way to fetch them. Out: the same ranges on the disk. Costs nothing once a file is
whole; before that, a look at its journal. When every file is whole, the folder is a data set like any other.
"""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator

from ferdata.cache.claims import Claims, patience
from ferdata.cache.kept_files import GRID_BYTES, KeptFiles
from ferdata.cache.partial_file import file_digest, make, opened
from ferdata.cache.room import PARTIAL, USE, Room, Stored, drop
from ferdata.errors import ShardCorruptError, ShardMissingError, StoreError
from ferdata.format import INDEX_NAME, DatasetIndex
from ferdata.store import Store

__all__ = ["CachedSet", "Fetch"]

Fetch = Callable[[str, int, int, bool], bytes | memoryview]
"""Returns the bytes ``[start, stop)`` of a file of the origin, past any cache on the way if the last argument says."""

_REFUSED_SECONDS = 10.0
"""After a file did not fit, none is tried for this long: looking for room costs a look at every file."""


class CachedSet(KeptFiles):
    """One data set in a cache folder, as one process sees it; its methods may be called by many threads.

    Args:
        folder: The set's folder.
        origin: Where it comes from.
        index: Its index.
        claims: Claims in its folder; None if nothing may be written there.
        room: The room there is for it; None likewise.
    """

    def __init__(
        self,
        folder: str,
        origin: Store,
        index: DatasetIndex,
        claims: Claims | None,
        room: Room | None,
    ) -> None:
        super().__init__(folder, origin, index, claims)
        self._room = room
        self._found: set[int] = set()
        self._refused_until = 0.0

    def ensure(
        self,
        number: int,
        start: int,
        stop: int,
        fetch: Fetch | None = None,
        *,
        is_fresh: bool = False,
    ) -> bool:
        """Have the bytes ``[start, stop)`` of a file in the cache; return whether there is room for them.

        What is missing is fetched, unless another thread or process is doing so: then that is waited for.

        Args:
            number: The file.
            start: First byte.
            stop: The byte after the last.
            fetch: Fetches missing bytes; None to ask the origin.
            is_fresh: Fetch past any cache on the way.

        Raises:
            StoreError, ShardMissingError: If they cannot be fetched.
        """
        self._touch(number)
        waiting, ended = patience(), self.origin.patience.ended
        while missing := [] if self.is_whole(number) else self.missing(number, start, stop):
            if not self.begin(number):
                return False
            was_ours = [self._fill(number, *gap, fetch or self.ask, is_fresh) for gap in missing]
            if not any(was_ours):
                self._wait(number, waiting, ended)
        if self.is_whole(number) or number in self._unsound or self.missing(number, 0, self.num_bytes(number)):
            return True
        with contextlib.suppress(ShardCorruptError, StoreError):  # each of its samples is verified when it is read
            self.complete(number)
        return self.holds(number, start, stop) or self.ensure(number, start, stop, fetch, is_fresh=True)

    def fetch_whole(self, number: int, fetch: Fetch | None = None, *, step: int = 8 << 20) -> bool:
        """Have all of a file in the cache, verified; return whether there is room for it.

        Raises:
            ShardCorruptError: If the origin's file is not what the index says.
            StoreError, ShardMissingError: If it cannot be fetched, or the cache cannot be written.
        """
        waiting, ended = patience(), self.origin.patience.ended
        while not self.is_whole(number):
            if not self.num_bytes(number) and not self.begin(number):
                return False
            for start in range(0, self.num_bytes(number), step):
                is_fresh, stop = number in self._arrived, min(self.num_bytes(number), start + step)
                if not self.ensure(number, start, stop, fetch, is_fresh=is_fresh):
                    return False
            self.complete(number)
            if not self.is_whole(number):  # another thread or process is completing it
                self._wait(number, waiting, ended)
        return True

    def repair(
        self, number: int, start: int, stop: int, fetch: Fetch | None = None, *, seen: tuple[int, int] | None = None
    ) -> bool:
        """Fetch damaged bytes again, past any cache on the way; of a whole file, all of it.

        Args:
            number: The file.
            start: First byte of what is damaged.
            stop: The byte after the last.
            fetch: Fetches bytes; None to ask the origin.
            seen: Device and inode of the file that was read; if it is another by now, somebody else repaired it. None
                if that is not known.

        Returns:
            Whether the bytes in the cache are others now.
        """
        if self._claims is None or self._room is None:
            return False
        info, bounds = self.info(number), self._bounds(number)
        with self._claims.holding(*bounds):
            try:
                with opened(self.path(number), os.O_RDONLY) as descriptor:
                    if seen not in (None, _identity(descriptor)):
                        return True
                    if file_digest(descriptor, 0, info.num_bytes) == int(info.xxh64, 16):
                        return True  # it was completed since, and what was wrong was found then
                drop(self.path(number))
                self.lost(number)
            except FileNotFoundError:  # it is partial
                self.keep(number, start, stop, (fetch or self.ask)(info.name, start, stop, True))
                self._unsound.discard(number)
                self.counts.repaired += 1
                return True
        self.counts.repaired += 1
        with contextlib.suppress(ShardCorruptError):  # each of its samples is verified when it is read
            return self.fetch_whole(number, fetch)
        return self.holds(number, start, stop)

    def _wait(self, number: int, waiting: Iterator[None], ended: threading.Event) -> None:
        """Wait a little for somebody else.

        Raises:
            StoreError: If reading from the origin was ended meanwhile.
        """
        self.origin.patience.check(self.path(number), ended)
        next(waiting)

    def ask(self, name: str, start: int, stop: int, is_fresh: bool) -> bytes:
        """Ask the origin for bytes of a file; see :data:`Fetch`."""
        try:
            return self.origin.read_range(name, start, stop, is_fresh=is_fresh)
        except FileNotFoundError as error:
            raise ShardMissingError(
                f"{self.origin.path(name)}: no such file, though {INDEX_NAME} lists it; write the data set again"
            ) from error

    def begin(self, number: int) -> bool:
        """Have a file to keep bytes in, or room for it; return whether there is."""
        path, num_bytes = self.path(number), self.num_bytes(number)
        if self._room is None:
            return False
        if os.path.exists(path + PARTIAL):
            if number not in self._found:
                self._found.add(number)
                with contextlib.suppress(ShardCorruptError, StoreError):
                    self.complete(number)  # if it was killed within its last steps
            return True
        if self.is_whole(number):
            return True
        if self.counts.is_full or time.monotonic() < self._refused_until:
            return False

        def begin() -> None:
            if not os.path.exists(path + PARTIAL) and not self.is_whole(number):
                make(path + PARTIAL, num_bytes)
                self._found.add(number)

        try:
            if self._room.reserve(num_bytes, begin, self.folder, self._unused):
                return True
        except OSError as error:
            self._stop_keeping(error)
            return False
        if not self._refused_until:
            warnings.warn(
                f"{self.folder}: the cache is full, {self._room.max_bytes:,} bytes, expected room for "
                f"{int(self.starts[-1]):,} of this set; what is in it is read from it, the rest is fetched every "
                "time: allow more with cache_gb",
                stacklevel=2,
            )
        self._refused_until = time.monotonic() + _REFUSED_SECONDS
        return False

    def _fill(self, number: int, start: int, stop: int, fetch: Fetch, is_fresh: bool) -> bool:
        """Fetch and keep missing bytes, or those of them that nobody else fetches; return whether there were any."""
        assert self._claims is not None
        info, place = self.info(number), self._bounds(number)[0]
        second, last = -(-(start + 1) // GRID_BYTES) * GRID_BYTES, (stop - 1) // GRID_BYTES * GRID_BYTES
        # of all, or without the first or the last square, which a neighbour may have as well
        for first, end in ((start, stop), (second, stop), (start, last), (second, last)):
            if first < end and self._claims.take(place + first, place + end):
                start, stop = first, end
                break
        else:
            return False
        try:
            for begin, end in self.missing(number, start, stop):  # somebody may have been faster
                data = fetch(info.name, begin, end, is_fresh or number in self._arrived)
                if len(data) != end - begin:
                    raise ShardCorruptError(
                        f"{self.origin.path(info.name)}: {len(data):,} bytes of {begin:,} to {end:,} arrived, expected "
                        f"{end - begin:,}; copy or write the shard again"
                    )
                self.keep(number, begin, end, data)
        finally:
            self._claims.release(place + start, place + stop)
        return True

    def _unused(self) -> Iterator[Stored]:
        """Yield files of this set that nobody uses; each is claimed until the next is asked for."""
        assert self._claims is not None
        for number in range(self.num_files):
            for path in (self.path(number), self.path(number) + PARTIAL):
                if os.path.exists(path) and self._claims.take(USE + number, USE + number + 1):
                    self.lost(number)
                    try:
                        yield Stored(path, self.num_bytes(number), (0, 0))
                    finally:
                        self._claims.release(USE + number, USE + number + 1)

    def _stop_keeping(self, error: OSError) -> None:
        if not self.counts.is_full:
            self.counts.is_full = True
            warnings.warn(
                f"{self.folder}: {error.strerror}, expected room to keep what is fetched; going on without keeping "
                "more: free some room, or choose another cache",
                stacklevel=2,
            )


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
