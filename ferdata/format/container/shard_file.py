"""The bytes of one shard file: mapped where it is local, ranges where it is behind a URL.

In: an offset and a length. Out: a view. A mapped view costs no copy; pages that are not in memory yet cost the disk.
"""

import contextlib
import ctypes
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

import numpy as np
import xxhash

from ferdata.errors import FerdataError, ShardCorruptError, ShardMissingError, StoreError
from ferdata.format.kernels.native import Kernels, load
from ferdata.mapping import ANONYMOUS, CAN_MAP_OVER, OPEN_FLAGS, map_over, open_regular, read_at
from ferdata.remote import refetched
from ferdata.store import Store

__all__ = [
    "FetchedFile",
    "LocalFile",
    "RemoteFile",
    "ShardFile",
    "fetch_range",
    "open_copy",
    "open_shard_file",
    "shard_copy",
]


T = TypeVar("T")


class _GuardedMap(mmap.mmap):
    """A file's bytes; if it was cut since, zeros and :attr:`is_cut` in place of a signal that ends the process."""

    _guard: Any = None
    _kernels: Kernels

    def begin(self, kernels: Kernels) -> bool:
        """Guard the mapping; tell whether that was possible."""
        self._kernels = kernels
        start = np.frombuffer(self, np.uint8).ctypes.data
        self._guard = kernels.guard(start, len(self))
        self._cut = ctypes.c_int32.from_address(self._guard) if self._guard else ctypes.c_int32()
        return self._guard is not None

    @property
    def is_cut(self) -> bool:
        """Whether pages were found missing."""
        return bool(self._cut.value)

    def __del__(self) -> None:
        if self._guard is not None:
            self._kernels.unguard(self._guard)


class LocalFile:
    """A file that is mapped, or read piece by piece where a mapping could not be guarded against the file being cut.

    Args:
        path: Where it lies.
        where: What errors call it.
        mapped: A file whose mapping is taken over if it turns out to be the same: its pages are known to this process.
    """

    is_remote = False

    def __init__(self, path: str, where: str, mapped: "LocalFile | None" = None) -> None:
        try:
            self.descriptor = open_regular(path)
        except FerdataError:
            raise
        except FileNotFoundError as error:
            raise ShardMissingError(
                f"{where}: no such file, though index.json lists it; copy the whole folder or run 'shard --fresh'"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{where}: {error.strerror}, expected a file that can be read; check its permissions"
            ) from error
        self._path, self.where = path, where
        status = os.fstat(self.descriptor)
        self.num_bytes = status.st_size
        self._mtime_ns = status.st_mtime_ns
        self._file = status.st_dev, status.st_ino
        self._map: _GuardedMap | None = None if mapped is None else mapped._map_of(self)
        try:
            self._map = self._map or _guarded_map(self.descriptor, self.num_bytes)
        except (OSError, ValueError) as error:
            os.close(self.descriptor)
            raise StoreError(
                f"{where}: {error}, expected a file that can be mapped; check the disk and the path"
            ) from error
        self._view = memoryview(self._map)[: self.num_bytes] if self._map is not None else None
        self.array: np.ndarray | None = np.frombuffer(self._view, np.uint8) if self._view is not None else None

    def _map_of(self, other: "LocalFile") -> _GuardedMap | None:
        """Return the mapping if it is one of all of another file, of which nothing has been found missing."""
        is_same = self._file == other._file and self.num_bytes >= other.num_bytes
        return None if self._map is None or not is_same or self._map.is_cut else self._map

    def check_unchanged(self) -> None:
        """Raise if the file is not the one that was opened; call this once its bytes were used: they may be zeros.

        Raises:
            ShardCorruptError: If it was changed or cut since, or the disk could not give its bytes.
        """
        try:
            status = os.fstat(self.descriptor)
        except OSError as error:
            raise StoreError(
                f"{self.where}: {error.strerror}, expected a file that can be read; check the disk"
            ) from error
        if (status.st_size, status.st_mtime_ns) != (self.num_bytes, self._mtime_ns):
            raise ShardCorruptError(
                f"{self.where}: the file was changed while it was being read; "
                "write shards to a new folder and then swap folders"
            )
        self.check_readable()

    def check_readable(self) -> None:
        """Raise if bytes were used that could not be read, and were zeros.

        Raises:
            ShardCorruptError: If so.
        """
        if self._map is not None and self._map.is_cut:
            raise ShardCorruptError(
                f"{self.where}: bytes of it could not be read, expected all {self.num_bytes:,}; "
                "check the disk, or copy the file again"
            )

    def expect(self, start: int, num_bytes: int) -> None:
        """Ask the system to read a stretch in one go."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.descriptor, start, num_bytes, os.POSIX_FADV_WILLNEED)

    def view(self, start: int, num_bytes: int) -> memoryview:
        """Return the bytes ``[start, start + num_bytes)``; use counts only after :meth:`check_unchanged`."""
        if start < 0 or start + num_bytes > self.num_bytes:
            raise ShardCorruptError(
                f"{self.where}: {self.num_bytes:,} bytes found, expected {start + num_bytes:,}; "
                "copy or write the shard again"
            )
        if self._view is not None:
            return self._view[start : start + num_bytes]
        try:
            data = read_at(self.descriptor, num_bytes, start)
        except OSError as error:
            raise StoreError(
                f"{self.where}: {error.strerror}, expected bytes that can be read; check the disk"
            ) from error
        if len(data) != num_bytes:
            raise ShardCorruptError(
                f"{self.where}: the file ends {num_bytes - len(data):,} bytes early; copy or write the shard again"
            )
        return memoryview(data)

    def read(self, start: int, num_bytes: int) -> bytes:
        """Return a copy of the bytes ``[start, start + num_bytes)``, which is what the file held."""
        try:
            return bytes(self.view(start, num_bytes))
        finally:
            self.check_unchanged()

    def rest(self) -> None:
        """Close the file and keep it mapped: descriptors are few, and mapping it again costs page faults."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def wake(self) -> bool:
        """Open the file again after :meth:`rest`; tell whether it is still the one under its name."""
        try:
            self.descriptor = os.open(self._path, os.O_RDONLY | OPEN_FLAGS)
            status = os.fstat(self.descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def close(self) -> None:
        """Close the file; it stays mapped as long as a view of it is alive."""
        self.rest()
        self._view, self._map, self.array = memoryview(b""), None, None


def _guarded_map(fd: int, num_bytes: int) -> _GuardedMap | None:
    kernels = load()
    if kernels is None or not num_bytes:
        return None
    if CAN_MAP_OVER:
        mapped = _GuardedMap(-1, num_bytes, flags=ANONYMOUS, prot=mmap.PROT_READ)
        map_over(mapped, 0, fd, num_bytes, protection=mmap.PROT_READ)
    else:
        mapped = _GuardedMap(fd, num_bytes, access=mmap.ACCESS_READ)
    return mapped if mapped.begin(kernels) else None


class RemoteFile:
    """A file behind an fsspec URL, read by ranges."""

    is_remote = True
    array: np.ndarray | None = None
    descriptor = -1

    def __init__(self, store: Store, name: str, num_bytes: int) -> None:
        self._store, self._name = store, name
        self.where = store.path(name)
        self.num_bytes = num_bytes
        self._start, self._ahead = 0, memoryview(b"")
        self._how: dict[str, bool] = {}
        self._seen: dict[tuple[int, int], set[bytes]] = {}

    def check_unchanged(self) -> None:
        """Object stores replace whole objects; the checksums of what arrives must do."""

    def expect(self, start: int, num_bytes: int) -> None:
        """Fetch a stretch with one request, unless it is here; views of it cost none."""
        if not self._start <= start <= start + num_bytes <= self._start + len(self._ahead):
            self._start, self._ahead = start, self._fetch(start, num_bytes)

    def view(self, start: int, num_bytes: int) -> memoryview:
        """Return the bytes ``[start, start + num_bytes)``."""
        offset = start - self._start
        if offset >= 0 and offset + num_bytes <= len(self._ahead):
            return self._ahead[offset : offset + num_bytes]
        return self._fetch(start, num_bytes)

    def fetched_anew(self, read: Callable[[], T]) -> T:
        """Return what ``read`` does with bytes that are asked for past any cache, and if need be over a new connection.

        Raises:
            ShardCorruptError: As ``read`` does with both; its text says whether the same bytes arrived.
        """
        self._seen = {(self._start, len(self._ahead)): {xxhash.xxh64_digest(self._ahead)}} if self._ahead else {}
        try:
            try:
                return self._read_again(read, is_fresh=True)
            except ShardCorruptError:
                return self._read_again(read, is_new=True)
        except ShardCorruptError as error:
            is_same = all(len(digests) == 1 for digests in self._seen.values())
            raise ShardCorruptError(f"{error}{refetched(is_same=is_same)}") from error
        finally:
            self._how, self._seen = {}, {}

    def _read_again(self, read: Callable[[], T], **how: bool) -> T:
        self.rest()
        self._how = how
        return read()

    def read(self, start: int, num_bytes: int) -> bytes:
        """Return a copy of the bytes ``[start, start + num_bytes)``."""
        return bytes(self.view(start, num_bytes))

    def rest(self) -> None:
        """Let go of what was fetched."""
        self._ahead = memoryview(b"")

    def wake(self) -> bool:
        """Do nothing: there is no connection to open."""
        return True

    close = rest

    def _fetch(self, start: int, num_bytes: int) -> memoryview:
        data = self._ask(start, start + num_bytes, self._how)
        if self._how:
            self._seen.setdefault((start, num_bytes), set()).add(xxhash.xxh64_digest(data))
        return memoryview(data)

    def _ask(self, start: int, stop: int, how: dict[str, bool]) -> bytes:
        return fetch_range(self._store, self._name, start, stop, None, **how)


def fetch_range(store: Store, name: str, start: int, stop: int, room: memoryview | None = None, **how: bool) -> bytes:
    """Return the bytes ``[start, stop)`` of a shard behind a URL, or nothing if they are in ``room``.

    ``how`` they are asked for is as for :meth:`Store.read_range`.

    Raises:
        ShardMissingError: If there is no such file.
        ShardCorruptError: If it is too short.
    """
    data = b""
    try:
        if room is None:
            data = store.read_range(name, max(0, start), stop, **how)
        num_bytes = len(data) if room is None else store.read_into(name, start, room, **how)
    except FileNotFoundError as error:
        raise ShardMissingError(
            f"{store.path(name)}: no such file, though index.json lists it; check the folder or write it again"
        ) from error
    if start < 0 or num_bytes != stop - start:
        raise ShardCorruptError(
            f"{store.path(name)}: {num_bytes:,} bytes arrived, expected {stop - start:,}; copy or write the shard again"
        )
    return data


class FetchedFile:
    """A file of which the bytes from ``first`` on are in memory, where somebody else has fetched them.

    Args:
        where: What errors call it.
        fetched: uint8 ``[n]``, its bytes ``[first, first + n)``.
        first: Where they begin in the file.
        num_bytes: Size of the file.
    """

    is_remote = False
    descriptor = -1

    def __init__(self, where: str, fetched: np.ndarray, *, first: int = 0, num_bytes: int | None = None) -> None:
        self.where, self._fetched, self._first = where, fetched, first
        self.num_bytes = len(fetched) if num_bytes is None else num_bytes
        self.array: np.ndarray | None = None if first or num_bytes is not None else fetched

    def check_unchanged(self) -> None:
        """Do nothing: memory is not changed by others."""

    def expect(self, start: int, num_bytes: int) -> None:
        """Do nothing: it is here."""

    def view(self, start: int, num_bytes: int) -> memoryview:
        """Return the bytes ``[start, start + num_bytes)``."""
        first = start - self._first
        if first < 0 or first + num_bytes > len(self._fetched):
            raise ShardCorruptError(
                f"{self.where}: bytes {start:,} to {start + num_bytes:,} are not among the {len(self._fetched):,} from "
                f"{self._first:,} on; copy or write the shard again"
            )
        return self._fetched[first : first + num_bytes].data

    def read(self, start: int, num_bytes: int) -> bytes:
        """Return a copy of the bytes ``[start, start + num_bytes)``."""
        return bytes(self.view(start, num_bytes))

    def rest(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def wake(self) -> bool:
        """Do nothing, as :meth:`rest`."""
        return True

    close = rest


ShardFile = LocalFile | RemoteFile | FetchedFile


def open_shard_file(store: Store, name: str, num_bytes: int) -> ShardFile:
    """Open a shard where it is; behind a URL it is taken to have that many bytes."""
    return LocalFile(store.path(name), store.path(name)) if store.is_local else RemoteFile(store, name, num_bytes)


def open_copy(copy: IO[bytes] | None, where: str) -> LocalFile | None:
    """Open a copy of a shard, if there is one, which errors call by the shard's name."""
    return None if copy is None else LocalFile(copy.name, where)


@contextlib.contextmanager
def shard_copy(store: Store) -> Iterator[IO[bytes] | None]:
    """Yield a temporary file to fetch a shard into that is to be read as a whole, if it is behind a URL; else None."""
    if store.is_local:
        yield None
    else:
        with tempfile.NamedTemporaryFile() as file:
            yield file
