"""A file of which only parts are there yet: its bytes in their places, and behind them a journal of what is there.

In: ranges as they arrive. Out: which ranges are there. A process may be killed at any moment: a range counts once its
record is whole, which is written after its bytes. Records have checksums of their own, so a torn one is none.
"""

import contextlib
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import xxhash

from ferdata.cache.ranges import Ranges
from ferdata.mapping import OPEN_FLAGS

__all__ = [
    "PARTIAL",
    "RECORD_BYTES",
    "Journal",
    "Record",
    "append",
    "file_digest",
    "make",
    "opened",
    "records",
    "write_at",
]

PARTIAL = ".partial"
"""Ends the name of such a file."""

_RECORD = struct.Struct("<4Q")
"""Start, stop, XXH64 of the bytes between, and XXH64 of these three, seeded with the XXH64 of the whole file."""
RECORD_BYTES = _RECORD.size
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A range that was written, and the XXH64 of its bytes as they arrived."""

    start: int
    stop: int
    digest: int


@dataclass(slots=True)
class Journal:
    """What one process knows of a partial file, for many threads.

    Attributes:
        file: Its device and inode.
        num_read: Records that were read.
        ranges: What is there.
    """

    file: tuple[int, int] = (-1, -1)
    num_read: int = 0
    ranges: Ranges = field(default_factory=Ranges)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return what is not there of ``[start, stop)``."""
        with self._mutex:
            return self.ranges.missing(start, stop)

    def read_on(self, descriptor: int, num_bytes: int, seed: int) -> None:
        """Read the records that were added since; all of them if the file is another, or its journal was cut.

        Args:
            descriptor: The file.
            num_bytes: Bytes of the file in front of its journal.
            seed: XXH64 of the whole file.
        """
        with self._mutex:
            status = os.fstat(descriptor)
            count = max(0, status.st_size - num_bytes) // RECORD_BYTES
            if (status.st_dev, status.st_ino) != self.file or count < self.num_read:
                self.file, self.num_read, self.ranges = (status.st_dev, status.st_ino), 0, Ranges()
            for record in _parsed(descriptor, num_bytes, seed, self.num_read, count):
                self.ranges.add(record.start, record.stop)
            self.num_read = count


def make(path: str, num_bytes: int) -> None:
    """Make a file without any of its bytes, and have the disk keep room for them: no write to it fails later.

    Only one process may make it at a time; if it is killed, there is either no such file or all of it.

    Raises:
        OSError: If there is no room.
    """
    new = f"{path}-new"
    try:
        with opened(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as descriptor:
            if hasattr(os, "posix_fallocate"):
                if num_bytes:
                    os.posix_fallocate(descriptor, 0, num_bytes)
            else:
                for start in range(0, num_bytes, _CHUNK_BYTES):
                    write_at(descriptor, start, bytes(min(_CHUNK_BYTES, num_bytes - start)))
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


@contextlib.contextmanager
def opened(path: str, flags: int = os.O_RDWR) -> Iterator[int]:
    """Open a file for the block; its descriptor is one thread's, whose place in the file is used."""
    descriptor = os.open(path, flags | OPEN_FLAGS, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_at(descriptor: int, start: int, data: bytes | memoryview) -> None:
    """Write all of some bytes at a place.

    Raises:
        OSError: If there is no room.
    """
    os.lseek(descriptor, start, os.SEEK_SET)
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]


def append(descriptor: int, num_bytes: int, seed: int, record: Record) -> None:
    """Add a record to the journal; one process at a time may."""
    body = _RECORD.pack(record.start, record.stop, record.digest, 0)[:-8]
    slot = -(-max(0, os.fstat(descriptor).st_size - num_bytes) // RECORD_BYTES)  # a torn one at the end is skipped
    check = xxhash.xxh64_intdigest(body, seed).to_bytes(8, "little")
    write_at(descriptor, num_bytes + slot * RECORD_BYTES, body + check)


def records(descriptor: int, num_bytes: int, seed: int) -> list[Record]:
    """Return every record of the journal."""
    count = max(0, os.fstat(descriptor).st_size - num_bytes) // RECORD_BYTES
    return [*_parsed(descriptor, num_bytes, seed, 0, count)]


def file_digest(descriptor: int, start: int, stop: int) -> int:
    """Return the XXH64 of the bytes ``[start, stop)`` of a file."""
    digest = xxhash.xxh64()
    os.lseek(descriptor, start, os.SEEK_SET)
    for begin in range(start, stop, _CHUNK_BYTES):
        digest.update(os.read(descriptor, min(_CHUNK_BYTES, stop - begin)))
    return digest.intdigest()


def _parsed(descriptor: int, num_bytes: int, seed: int, first: int, count: int) -> Iterator[Record]:
    os.lseek(descriptor, num_bytes + first * RECORD_BYTES, os.SEEK_SET)
    data = os.read(descriptor, (count - first) * RECORD_BYTES)
    for place in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        start, stop, digest, check = _RECORD.unpack_from(data, place)
        is_sound = check == xxhash.xxh64_intdigest(data[place : place + RECORD_BYTES - 8], seed)
        if is_sound and 0 <= start < stop <= num_bytes:
            yield Record(start, stop, digest)
