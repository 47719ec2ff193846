"""How much a cache folder may hold, and what goes when there is no room: what nobody uses, least recently used first.

In: how many bytes are wanted. Out: whether they may be had. A shard counts as a whole as soon as its first bytes are
there, so that one that was begun can be finished.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from ferdata.cache.claims import JOURNAL, USE, Claims, open_claims
from ferdata.cache.partial_file import PARTIAL
from ferdata.format import INDEX_NAME

__all__ = ["CLAIMS_NAME", "Room", "Stored", "drop", "set_folders", "stored_files"]

CLAIMS_NAME = ".claims"
"""The file on which claims stand, in the cache folder and in that of each set."""
_COUNT_NAME = ".bytes"


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a set: its path, bytes, and when its set and it were used last, in nanoseconds."""

    path: str
    num_bytes: int
    used: tuple[int, int]


class Room:
    """The bytes of one cache folder.

    Args:
        folder: The cache folder.
        claims: Claims in it.
        max_bytes: Most it may hold, of all sets together; None for no limit.
    """

    def __init__(self, folder: str, claims: Claims, max_bytes: int | None) -> None:
        self._folder, self._claims, self.max_bytes = folder, claims, max_bytes
        with self._claims.holding(0, 1):
            self._recount()

    def reserve(
        self, num_bytes: int, make: Callable[[], None], own: str, own_unused: Callable[[], Iterator[Stored]]
    ) -> bool:
        """Call ``make``, which makes a file of so many bytes, if there is room for it; return whether there was.

        Args:
            num_bytes: Bytes of the file.
            make: Makes it; nobody else makes or removes files of the cache meanwhile.
            own: The folder of its set.
            own_unused: Yields files of its set that nobody uses; each may be removed before the next is asked for.
        """
        with self._claims.holding(0, 1):
            used = self._read()
            if self.max_bytes is not None and used + num_bytes > self.max_bytes:
                used = self._recount()
                if used + num_bytes > self.max_bytes:
                    self._evict(used + num_bytes - self.max_bytes, own, own_unused)
                    used = self._recount()
            if self.max_bytes is not None and used + num_bytes > self.max_bytes:
                return False
            make()
            self._write(used + num_bytes)
            return True

    def _evict(self, num_bytes: int, own: str, own_unused: Callable[[], Iterator[Stored]]) -> None:
        """Remove files until so many bytes are free, or nothing is left that nobody uses."""
        with ExitStack() as held:
            candidates = []
            for folder in set_folders(self._folder):
                claims = None if folder == own else _claims_of(folder)
                if claims is not None and claims.between_processes and claims.take(USE, JOURNAL):
                    held.callback(claims.release, USE, JOURNAL)
                    candidates += stored_files(folder)
            for stored in sorted(candidates, key=lambda stored: stored.used):
                if num_bytes <= 0:
                    return
                drop(stored.path)
                num_bytes -= stored.num_bytes
        for stored in own_unused():
            if num_bytes <= 0:
                return
            drop(stored.path)
            num_bytes -= stored.num_bytes

    def _recount(self) -> int:
        used = sum(stored.num_bytes for folder in set_folders(self._folder) for stored in stored_files(folder))
        self._write(used)
        return used

    def _read(self) -> int:
        with suppress(OSError, ValueError), open(self._path, "rb") as file:
            return int(file.read())
        return self._recount()

    def _write(self, used: int) -> None:
        with suppress(OSError), open(self._path, "wb") as file:
            file.write(b"%d" % used)

    @property
    def _path(self) -> str:
        return os.path.join(self._folder, _COUNT_NAME)


def set_folders(cache: str) -> list[str]:
    """Return the folders of all sets in a cache folder: those that have claims, whatever else may lie there."""
    with suppress(OSError), os.scandir(cache) as found:
        return sorted(entry.path for entry in found if os.path.exists(os.path.join(entry.path, CLAIMS_NAME)))
    return []


def stored_files(folder: str) -> list[Stored]:
    """Return the shards and tables of a set, whole ones and partial ones."""
    files = []
    with suppress(OSError):
        last_use = os.stat(os.path.join(folder, CLAIMS_NAME)).st_mtime_ns
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    status = entry.stat()
                    files.append(Stored(entry.path, status.st_size, (last_use, status.st_atime_ns)))
    return files


def drop(path: str) -> None:
    """Remove a file of a set, which is no whole data set after that."""
    with suppress(OSError):
        index = os.path.join(os.path.dirname(path), INDEX_NAME)
        if path not in (index, index + PARTIAL) and os.path.exists(index):
            os.replace(index, index + PARTIAL)
        os.unlink(path)


def _claims_of(folder: str) -> Claims | None:
    with suppress(OSError):
        return open_claims(os.path.join(folder, CLAIMS_NAME))
    return None
