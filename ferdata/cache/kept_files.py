"""The files of a cached set as they are kept: room is made for each, ranges are written down, whole ones are named.

In: bytes in their places. Out: files that are what the index says, and a data set once all of them are there.
"""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import xxhash

from ferdata.cache.claims import JOURNAL, USE, Claims, pauses
from ferdata.cache.partial_file import PARTIAL, Record, append, file_digest, make, opened, records, write_at
from ferdata.cache.room import Room, Stored
from ferdata.cache.set_files import SetFiles
from ferdata.errors import ShardCorruptError, StoreError
from ferdata.format import INDEX_NAME, DatasetIndex
from ferdata.mapping import read_at
from ferdata.store import Store

__all__ = ["GRID_BYTES", "CacheCounts", "KeptFiles"]

GRID_BYTES = 1 << 16
"""Readers of samples ask for whole squares of this size, so that no gap is left between what they ask for."""
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


class KeptFiles(SetFiles):
    """Files of a set that this process may write, if it has claims; its methods may be called by many threads.

    Args:
        folder: The set's folder.
        origin: Where it comes from.
        index: Its index.
        claims: Claims in its folder; None if nothing may be written there.
        room: The room there is for it; None likewise.

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
    ) -> None:
        super().__init__(folder, index)
        self.origin = origin
        self._claims, self._room = claims, room
        self.counts = CacheCounts()
        self._found: set[int] = set()
        self._refused_until = 0.0
        self._arrived: dict[int, set[Record]] = {}
        self._unsound: set[int] = set()
        self._uses: list[tuple[int, int]] = []
        self._touched = 0.0
        self._touched_files: set[int] = set()
        self._mutex, self._process = threading.Lock(), os.getpid()

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
            for passed in ((FileNotFoundError,), (FileNotFoundError,), ()):  # somebody may be removing the folder
                if os.path.exists(path + PARTIAL) or self.is_whole(number):
                    return
                with contextlib.suppress(*passed):
                    os.makedirs(self.folder, exist_ok=True)
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

    def use(self, numbers: Sequence[int]) -> None:
        """Keep files (ascending) from being removed for want of room, until :meth:`close` or the process's end."""
        if self._claims is None:
            return
        ends = [place for place, number in enumerate(numbers, 1) if numbers[place : place + 1] != [number + 1]]
        for start, end in pairwise([0, *ends]):
            bounds, waiting = (USE + numbers[start], USE + numbers[end - 1] + 1), pauses()
            while not self._claims.share(*bounds):
                next(waiting)
            self._uses.append(bounds)
        self._claims.touch()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End this use of its files."""
        if os.getpid() != self._process:
            return  # they are used by the process that this one was forked from
        while self._uses and self._claims is not None:
            self._claims.unshare(*self._uses.pop())

    def around(self, number: int, start: int, stop: int) -> tuple[int, int]:
        """Return the whole squares that hold the bytes ``[start, stop)`` of a file; all of it if there are no parts."""
        if self.origin.sends_whole_files:
            return 0, self.num_bytes(number)
        return start // GRID_BYTES * GRID_BYTES, min(self.num_bytes(number), -(-stop // GRID_BYTES) * GRID_BYTES)

    def kept_bytes(self, number: int) -> int:
        """Return how many bytes of a file are there, as far as this process has seen."""
        if self.is_whole(number):
            return self.num_bytes(number)
        journal = self._journals.get(number)
        return 0 if journal is None else journal.ranges.num_bytes

    def expect(self, number: int, start: int, stop: int) -> None:
        """Ask the system to read bytes of a whole file, if they are on the disk alone."""
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError), opened(self.path(number), os.O_RDONLY) as descriptor:
                os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)

    def read(self, number: int, start: int, stop: int) -> bytes:
        """Return bytes that are there.

        Raises:
            ShardCorruptError: If they are not.
            StoreError: If the disk cannot give them.
        """
        path = self.path(number)
        for each in (path, path + PARTIAL, path):  # it may be completed meanwhile
            try:
                with opened(each, os.O_RDONLY) as descriptor:
                    data = read_at(descriptor, stop - start, start)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(
                    f"{each}: {error.strerror}, expected bytes that can be read; check the disk, or remove the cache"
                ) from error
            if len(data) == stop - start:
                return data
        self.lost(number)
        raise ShardCorruptError(f"{path}: its bytes are gone, expected those that were kept; leave a cache as it is")

    def keep(self, number: int, start: int, stop: int, data: bytes | memoryview) -> None:
        """Write a range and its record; the caller has a claim on it.

        Raises:
            StoreError: If the disk does not take it.
        """
        assert self._claims is not None
        info = self.info(number)
        try:
            with opened(self.path(number) + PARTIAL) as descriptor:
                write_at(descriptor, start, data)
                record = Record(start, stop, xxhash.xxh64_intdigest(data))
                with self._claims.holding(JOURNAL + number, JOURNAL + number + 1):
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
            self._unsound.add(number)
            raise StoreError(
                f"{path}{PARTIAL}: {error.strerror}, expected to name it {info.name}; check the disk, and run it again"
            ) from error
        finally:
            claims.release(*bounds)
        if self.is_whole(number):
            self._journals.pop(number, None)
            self.finish()

    def _forget(self, number: int, descriptor: int) -> None:
        """Forget the ranges of a file that are not what arrived or, if all are, those that came once only like this."""
        info = self.info(number)
        seed = int(info.xxh64, 16)
        found = records(descriptor, info.num_bytes, seed)
        right = [each for each in found if file_digest(descriptor, each.start, each.stop) == each.digest]
        if len(right) < len(found):
            self.counts.repaired += 1
        else:
            before = self._arrived.setdefault(number, set())
            right = [each for each in found if each in before]
            before.update(found)
            if len(right) == len(found):
                self._unsound.add(number)
                raise ShardCorruptError(
                    f"{self.origin.path(info.name)}: fetched twice, and its XXH64 was not {info.xxh64} as {INDEX_NAME} "
                    "says, expected what was written; write the data set again"
                )
        os.ftruncate(descriptor, info.num_bytes)
        self._journals.pop(number, None)
        for each in right:
            append(descriptor, info.num_bytes, seed, each)

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

    def _bounds(self, number: int) -> tuple[int, int]:
        return int(self.starts[number]), int(self.starts[number + 1])

    def _touch(self, number: int) -> None:
        """Note that a file is used, once, and that the set is, now and then."""
        if self._claims is None:
            return
        now = time.monotonic()
        if now - self._touched > _TOUCH_SECONDS:
            self._touched = now
            self._claims.touch()
        if number not in self._touched_files:
            self._touched_files.add(number)
            with contextlib.suppress(OSError):
                os.utime(self.path(number), ns=(time.time_ns(), os.stat(self.path(number)).st_mtime_ns))
