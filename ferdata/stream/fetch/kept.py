"""Pieces that are kept in a cache folder: fetched once, by whichever process is first, and read from mapped files.

In: pieces. Out: places in the files of the cache; what has no room there goes where pieces go without a cache.
"""

import contextlib
import os
from collections import OrderedDict
from typing import Any

import numpy as np

from ferdata.cache import PARTIAL, CachedSet
from ferdata.errors import FerdataError, ShardCorruptError, ShardMissingError, StoreError
from ferdata.format.container.shard_file import LocalFile
from ferdata.stream.fetch.pieces import Fetch, Piece, PieceMemory, PieceSources, Place
from ferdata.stream.sets import OpenSplit

__all__ = ["PieceCache"]

_MOST_MAPPED = 1 << 12
_WORTH_COMPLETING = 0.75
"""Of a shard that is there: an epoch leaves out the end of its order, and the next one leaves out another."""
_COMPLETING_BYTES = 16 << 20


class PieceCache:
    """Memory of pieces in a cache; see :class:`ferdata.stream.fetch.pieces.PieceMemory`.

    Args:
        opened: The split.
        other: Where pieces go that have no room in the cache.
    """

    def __init__(self, opened: OpenSplit, other: PieceMemory) -> None:
        self._opened, self._other = opened, other
        self._outside = len(opened.shard_sizes)  # the number of the source that is not in the cache
        self._sources = KeptSources(opened, other.sources(), self._outside)
        self.verifies_once = True

    def reserve(self, piece: Piece, *, is_awaited: bool) -> Place | None:
        """Return the place in the shard's own file, or elsewhere if it is not to be kept."""
        kept = self._opened.cached_shard(piece.shard)
        if kept is not None and kept[0].begin(kept[1]):
            return Place(piece, piece.shard, piece.start)
        place = self._other.reserve(piece, is_awaited=is_awaited)
        if place is None:
            return None
        self.verifies_once = False  # it is fetched anew every time
        return Place(piece, self._outside, place.offset)

    def fill(self, place: Place, fetch: Fetch, *, is_damaged: bool = False) -> None:
        """Have a piece in the cache, with what stands around it; once most of a shard is there, all of it."""
        kept = self._opened.cached_shard(place.piece.shard)
        if place.source == self._outside or kept is None:
            self._other.fill(place, fetch, is_damaged=is_damaged)
            return
        cached, number = kept

        def ask(name: str, start: int, stop: int, is_fresh: bool) -> bytes:
            return cached.ask(name, start, stop, True) if is_fresh and not is_damaged else fetch(start, stop)

        around = cached.around(number, place.piece.start, place.piece.stop)
        if is_damaged:
            cached.repair(number, *around, ask)
        if not cached.ensure(number, *around, ask):
            raise StoreError(
                f"{cached.path(number)}: it is gone from the cache, expected it to stay; leave a cache that is in use"
            )
        if cached.is_whole(number):
            cached.expect(number, *around)
        elif cached.kept_bytes(number) >= _WORTH_COMPLETING * cached.num_bytes(number):
            _complete(cached, number)

    def release(self, place: Place) -> None:
        """Do nothing for what is kept."""
        if place.source == self._outside:
            self._other.release(place)

    def sources(self) -> PieceSources:
        """Return what workers read with."""
        return self._sources

    def close(self) -> None:
        """Let go of the other memory."""
        self._other.close()


def _complete(cached: CachedSet, number: int) -> None:
    """Fetch the rest of a shard, which no sample may need now: it is no fault if that fails."""
    num_bytes = cached.num_bytes(number)
    with contextlib.suppress(FerdataError):
        for start in range(0, num_bytes, _COMPLETING_BYTES):
            cached.ensure(number, start, min(num_bytes, start + _COMPLETING_BYTES))


class KeptSources:
    """The files of a cache in any process, mapped, by the number of the shard; see the protocol."""

    def __init__(self, opened: OpenSplit, other: PieceSources, outside: int) -> None:
        self._opened, self._other, self._outside = opened, other, outside
        self._mapped: OrderedDict[int, _Mapped] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": OrderedDict()}

    def array(self, source: int) -> np.ndarray:
        """Return all bytes of a shard, or of the other memory."""
        if source == self._outside:
            return self._other.array(0)
        found = self._mapped.get(source)
        if found is None or not found.is_current():
            kept = self._opened.kept_shard(source)
            assert kept is not None
            found = self._mapped[source] = _Mapped(*kept)
            while len(self._mapped) > _MOST_MAPPED:
                self._mapped.popitem(last=False)
        return found.array

    def hand_over(self, shard: int) -> LocalFile | None:
        """Return the file that a shard is kept in, and forget it."""
        found = self._mapped.pop(shard, None)
        return None if found is None else found.file

    def check(self, source: int) -> None:
        """See that a shard's bytes could be read.

        Raises:
            ShardCorruptError: If not.
        """
        found = self._mapped.get(source)
        if found is not None and found.file is not None:
            try:
                found.file.check_readable()
            except ShardCorruptError:
                del self._mapped[source]
                raise


class _Mapped:
    """One file of the cache, partial or whole; without bytes while there is none, as somebody fetches it again."""

    file: LocalFile | None

    def __init__(self, path: str, where: str) -> None:
        self._path = path
        for each in (path, path + PARTIAL, path):  # it may be completed meanwhile
            with contextlib.suppress(FileNotFoundError):
                os.stat(each)
                break
        try:
            self.file = LocalFile(each, where)
        except ShardMissingError:
            self.file, self.array = None, np.empty(0, np.uint8)
            return
        self._identity = os.fstat(self.file.descriptor).st_dev, os.fstat(self.file.descriptor).st_ino
        self.file.rest()
        found = self.file.array
        if found is None:  # without kernels, or of an empty file, which cannot be mapped
            found = np.memmap(each, np.uint8, "r") if self.file.num_bytes else np.empty(0, np.uint8)
        self.array = found

    def is_current(self) -> bool:
        """Tell whether the file is still the one under its name: damaged ones are replaced.

        Without a guard, reading a page that was cut off would end the process, so such a file is mapped again as it is.
        An empty file is held by no mapping: another may have got its number since.
        """
        if self.file is None or not len(self.array):
            return False
        for each in (self._path, self._path + PARTIAL, self._path):
            with contextlib.suppress(OSError):
                status = os.stat(each)
                is_there = self.file.array is not None or status.st_size >= len(self.array)
                return is_there and (status.st_dev, status.st_ino) == self._identity
        return False
