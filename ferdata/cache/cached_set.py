"""The copy of one data set in a cache folder: bytes that are asked for are fetched once, by whichever process is first.

In: ranges of the set's files, and a way to fetch them. Out: the same ranges on the disk. Costs nothing once a file is
whole; before that, a look at its journal. When every file is whole, the folder is a data set like any other.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from ferdata.cache.claims import pauses
from ferdata.cache.kept_files import GRID_BYTES, KeptFiles
from ferdata.cache.partial_file import file_digest, opened
from ferdata.cache.room import drop
from ferdata.errors import ShardCorruptError, StoreError
from ferdata.format.container.shard_file import fetch_range

__all__ = ["CachedSet", "Fetch"]

Fetch = Callable[[str, int, int, bool], bytes | memoryview]
"""Returns the bytes ``[start, stop)`` of a file of the origin, past any cache on the way if the last argument says; all
of them, or raises an error."""


class CachedSet(KeptFiles):
    """One data set in a cache folder, as one process sees it; its methods may be called by many threads.

    Its arguments are those of :class:`ferdata.cache.kept_files.KeptFiles`.
    """

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
        waiting, ended = pauses(), self.origin.patience.ended
        while missing := self.missing(number, start, stop):
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
        waiting, ended = pauses(), self.origin.patience.ended
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
        self, number: int, start: int, stop: int, fetch: Fetch | None = None, *, seen: os.stat_result | None = None
    ) -> bool:
        """Fetch damaged bytes again, past any cache on the way; of a whole file, all of it.

        Args:
            number: The file.
            start: First byte of what is damaged.
            stop: The byte after the last.
            fetch: Fetches bytes; None to ask the origin.
            seen: The status of the file that was read; if it is another file by now, somebody else repaired it. None if
                that is not known.

        Returns:
            Whether the bytes in the cache are others now.
        """
        if self._claims is None:
            return False
        info, bounds = self.info(number), self._bounds(number)
        with self._claims.holding(*bounds):
            try:
                with opened(self.path(number), os.O_RDONLY) as descriptor:
                    if seen is not None and not os.path.samestat(seen, os.fstat(descriptor)):
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
        return fetch_range(self.origin, name, start, stop, is_fresh=is_fresh)

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
                self.keep(number, begin, end, fetch(info.name, begin, end, is_fresh or number in self._arrived))
        finally:
            self._claims.release(place + start, place + stop)
        return True
