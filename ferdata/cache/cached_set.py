"""The copy of one data set in a cache folder: bytes that are asked for are fetched once, by whichever process is first.

In: ranges of the set's files, and a way to fetch them. Out: the same ranges on the disk. Costs nothing once a file is
whole; before that, a look at its journal. When every file is whole, the folder is a data set like any other.
"""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import xxhash

from ferdata.cache.claims import Claims, patience
from ferdata.cache.partial_file import Record, append, file_digest, make, opened, records, write_at
from ferdata.cache.room import PARTIAL, USE, Room, Stored, drop
from ferdata.cache.set_files import SetFiles
from ferdata.errors import ShardCorruptError, ShardMissingError, StoreError
from ferdata.format import INDEX_NAME, DatasetIndex
from ferdata.store import Store

__all__ = ["CacheCounts", "CachedSet", "Fetch"]

Fetch = Callable[[str, int, int, bool], bytes | memoryview]
"""Returns the bytes ``[start, stop)`` of a file of the origin, past any cache on the way if the last argument says."""

_WHOLE = 1 << 62
"""From here on, a byte of the claims stands for the journal of each file."""
_TOUCH_SECONDS = 30.0
_REFUSED_SECONDS = 10.0
"""After a file did not fit, none is tried for this long: looking for room costs a look at every file."""


@dataclass(slots=True)
class CacheCounts:
    """What one process did with a cached set.

    Attributes:
        fetched_bytes: Bytes that it fetched into the cache.
        repaired: Times that bytes in the cache were found damaged and fetched again.
        is_full: Whether bytes could not be kept for want of room.
    """

    fetched_bytes: int = 0
    repaired: int = 0
    is_full: bool = False


class CachedSet(SetFiles):
    """One data set in a cache folder, as one process sees it; its methods may be called by many threads.

    Args:
        folder: The set's folder.
        origin: Where it comes from.
        index: Its index.
        claims: Claims in its folder; None if nothing may be written there.
        room: The room there is for it; None likewise.
        alone: What keeps other processes out, where there are no claims between processes; ended by :meth:`close`.

    Attributes:
        counts: What was done.
    """

    def __init__(
        self,
        folder: str,
        origin: Store,
        index: DatasetIndex,
        claims: Claims | None,
        room: Room | None,
        alone: contextlib.ExitStack | None = None,
    ) -> None:
        super().__init__(folder, index)
        self.origin = origin
        self._claims, self._room, self._alone = claims, room, alone
        self.counts = CacheCounts()
        self._found: set[int] = set()
        self._doubts: dict[int, int] = {}
        self._uses: list[tuple[int, int]] = []
        self._touched = 0.0
        self._touched_files: set[int] = set()
        self._refused_until = 0.0
        self._mutex = threading.Lock()

    def use(self, numbers: Sequence[int]) -> None:
        """Keep files (ascending) from being removed for want of room, until :meth:`close` or the process's end."""
        if self._claims is None:
            return
        ends = [place for place, number in enumerate(numbers, 1) if numbers[place : place + 1] != [number + 1]]
        for start, end in pairwise([0, *ends]):
            bounds, waiting = (USE + numbers[start], USE + numbers[end - 1] + 1), patience()
            while not self._claims.share(*bounds):
                next(waiting)
            self._uses.append(bounds)
        self._claims.touch()

    def close(self) -> None:
        """End this use of its files."""
        while self._uses and self._claims is not None:
            self._claims.unshare(*self._uses.pop())
        if self._alone is not None:
            self._alone.close()

    def ensure(
        self,
        number: int,
        start: int,
        stop: int,
        fetch: Fetch | None = None,
        *,
        check: Callable[[], None] = lambda: None,
        is_fresh: bool = False,
    ) -> bool:
        """Have the bytes ``[start, stop)`` of a file in the cache; return whether there is room for them.

        What is missing is fetched, unless another thread or process is doing so: then that is waited for.

        Args:
            number: The file.
            start: First byte.
            stop: The byte after the last.
            fetch: Fetches missing bytes; None to ask the origin.
            check: Called while waiting; may raise.
            is_fresh: Fetch past any cache on the way.

        Raises:
            StoreError, ShardMissingError: If they cannot be fetched.
        """
        self._touch(number)
        waiting = patience()
        while missing := [] if self.is_whole(number) else self.missing(number, start, stop):
            if not self._can_keep(number):
                return False
            was_ours = [self._fill(number, *gap, fetch or self._ask, is_fresh) for gap in missing]
            if not any(was_ours):
                check()
                next(waiting)
        if self.is_whole(number) or self._doubts.get(number, 0) > 1 or self.missing(number, 0, self.num_bytes(number)):
            return True
        with contextlib.suppress(ShardCorruptError, StoreError):  # each of its samples is verified when it is read
            self.complete(number)
        return self.holds(number, start, stop) or self.ensure(number, start, stop, fetch, check=check, is_fresh=True)

    def fetch_whole(
        self,
        number: int,
        fetch: Fetch | None = None,
        *,
        check: Callable[[], None] = lambda: None,
        step: int = 8 << 20,
    ) -> bool:
        """Have all of a file in the cache, verified; return whether there is room for it.

        Raises:
            ShardCorruptError: If the origin's file is not what the index says.
            StoreError, ShardMissingError: If it cannot be fetched, or the cache cannot be written.
        """
        waiting = patience()
        while not self.is_whole(number):
            if not self.num_bytes(number) and not self._can_keep(number):
                return False
            for start in range(0, self.num_bytes(number), step):
                is_fresh, stop = self._doubts.get(number, 0) > 0, min(self.num_bytes(number), start + step)
                if not self.ensure(number, start, stop, fetch, check=check, is_fresh=is_fresh):
                    return False
            self.complete(number)
            check()
            if not self.is_whole(number):
                next(waiting)  # another thread or process is completing it
        return True

    def complete(self, number: int) -> None:
        """Give a file of which all ranges are there its name, if it is what the index says.

        Otherwise ranges that are not what arrived are forgotten or, if all are, the whole file.

        Raises:
            ShardCorruptError: If it was fetched twice and still is not what the index says.
            StoreError: If the system does not let it have its name.
        """
        info, claims, path = self.info(number), self._claims, self.path(number)
        bounds = self._bounds(number)
        if claims is None or not claims.take(*bounds):
            return  # whoever has a claim on any of it comes here next
        try:
            with contextlib.suppress(FileNotFoundError), opened(path + PARTIAL) as descriptor:
                # one that was killed while it did this has left a file without a journal
                is_cut = os.fstat(descriptor).st_size == info.num_bytes
                if not is_cut and self.look(number, descriptor).ranges.num_bytes < info.num_bytes:
                    return
                if file_digest(descriptor, 0, info.num_bytes) != int(info.xxh64, 16):
                    if not is_cut:
                        self._forget(number, descriptor)
                    return
                os.ftruncate(descriptor, info.num_bytes)
                os.fsync(descriptor)
                os.replace(path + PARTIAL, path)
        except OSError as error:
            self._doubts[number] = 2
            raise StoreError(
                f"{path}{PARTIAL}: {error.strerror}, expected to name it {info.name}; check the disk, and run it again"
            ) from error
        finally:
            claims.release(*bounds)
        if self.is_whole(number):
            self._journals.pop(number, None)
            self.finish()

    def finish(self) -> bool:
        """Make the folder a data set once all its files are whole; return whether they are."""
        while self._first_missing < self.num_files and self.is_whole(self._first_missing):
            self._first_missing += 1
        if self._first_missing < self.num_files:
            return False
        index = os.path.join(self.folder, INDEX_NAME)
        with contextlib.suppress(FileNotFoundError):  # another process was first
            os.replace(index + PARTIAL, index)
        return True

    def repair(self, number: int, start: int, stop: int, seen: tuple[int, int], fetch: Fetch | None = None) -> bool:
        """Fetch damaged bytes again, past any cache on the way; of a whole file, all of it.

        Args:
            number: The file.
            start: First byte of what is damaged.
            stop: The byte after the last.
            seen: Device and inode of the file that was read; if it is another by now, somebody else repaired it.
            fetch: Fetches bytes; None to ask the origin.

        Returns:
            Whether the bytes in the cache are others now.
        """
        if self._claims is None or self._room is None:
            return False
        info, bounds = self.info(number), self._bounds(number)
        with self._claims.holding(*bounds):
            try:
                with opened(self.path(number), os.O_RDONLY) as descriptor:
                    if _identity(descriptor) != seen:
                        return True
                drop(self.path(number))
                self.lost(number)
            except FileNotFoundError:  # it is partial
                data = (fetch or self._ask)(info.name, start, stop, True)
                with contextlib.suppress(FileNotFoundError), opened(self.path(number) + PARTIAL) as descriptor:
                    write_at(descriptor, start, data)
                self.counts.repaired += 1
                return True
        self.counts.repaired += 1
        self._doubts[number] = 1
        return self.fetch_whole(number, fetch)

    def _bounds(self, number: int) -> tuple[int, int]:
        return int(self.starts[number]), int(self.starts[number + 1])

    def _ask(self, name: str, start: int, stop: int, is_fresh: bool) -> bytes:
        try:
            return self.origin.read_range(name, start, stop, is_fresh=is_fresh)
        except FileNotFoundError as error:
            raise ShardMissingError(
                f"{self.origin.path(name)}: no such file, though {INDEX_NAME} lists it; write the data set again"
            ) from error

    def _can_keep(self, number: int) -> bool:
        """See that there is a file to write to; return whether there is."""
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
        """Fetch and keep missing bytes; return whether nobody else is doing so."""
        assert self._claims is not None
        info, place = self.info(number), self._bounds(number)[0]
        if not self._claims.take(place + start, place + stop):
            return False
        try:
            for begin, end in self.missing(number, start, stop):  # somebody may have been faster
                data = fetch(info.name, begin, end, is_fresh)
                if len(data) != end - begin:
                    raise ShardCorruptError(
                        f"{self.origin.path(info.name)}: {len(data):,} bytes of {begin:,} to {end:,} arrived, expected "
                        f"{end - begin:,}; copy or write the shard again"
                    )
                self._keep(number, begin, end, data)
        finally:
            self._claims.release(place + start, place + stop)
        return True

    def _keep(self, number: int, start: int, stop: int, data: bytes | memoryview) -> None:
        assert self._claims is not None
        info = self.info(number)
        try:
            with opened(self.path(number) + PARTIAL) as descriptor:
                write_at(descriptor, start, data)
                record = Record(start, stop, xxhash.xxh64_intdigest(data))
                with self._claims.holding(_WHOLE + number, _WHOLE + number + 1):
                    append(descriptor, info.num_bytes, int(info.xxh64, 16), record)
        except FileNotFoundError:
            return  # somebody removed the cache; it is begun again
        except OSError as error:
            raise StoreError(
                f"{self.path(number)}{PARTIAL}: {error.strerror}, expected to keep {stop - start:,} bytes there; check "
                "the disk, or choose another cache"
            ) from error
        with self._mutex:
            self.counts.fetched_bytes += stop - start

    def _forget(self, number: int, descriptor: int) -> None:
        """Forget the ranges of a file that are not what arrived; all of them, if that does not say which are wrong."""
        info = self.info(number)
        seed = int(info.xxh64, 16)
        found = records(descriptor, info.num_bytes, seed)
        sound = [each for each in found if file_digest(descriptor, each.start, each.stop) == each.digest]
        if len(sound) == len(found) and self._doubts.get(number):
            self._doubts[number] += 1
            raise ShardCorruptError(
                f"{self.origin.path(info.name)}: fetched twice, and its XXH64 was not {info.xxh64} as {INDEX_NAME} "
                "says, expected what was written; write the data set again"
            )
        os.ftruncate(descriptor, info.num_bytes)
        self._journals.pop(number, None)
        if len(sound) < len(found):
            self.counts.repaired += 1
            for each in sound:
                append(descriptor, info.num_bytes, seed, each)
            return
        self._doubts[number] = self._doubts.get(number, 0) + 1

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

    def _touch(self, number: int) -> None:
        """Note that a file is used, once, and that the set is, now and then."""
        now = time.monotonic()
        if self._claims is None:
            return
        if now - self._touched > _TOUCH_SECONDS:
            self._touched = now
            self._claims.touch()
        if number not in self._touched_files:
            self._touched_files.add(number)
            with contextlib.suppress(OSError):
                os.utime(self.path(number), ns=(time.time_ns(), os.stat(self.path(number)).st_mtime_ns))


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
