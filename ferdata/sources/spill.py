"""Rows of a scan that wait on the disk, so that the memory of a run does not grow with its items.

In: record batches. Out: a table over a temporary file that is mapped, whose pages the system may drop at any time.
"""

import mmap
import tempfile
from typing import IO

import pyarrow as pa

__all__ = ["Spill", "SpilledTable"]


class SpilledTable:
    """A table in a mapped file, which goes once nothing refers to it.

    Attributes:
        table: The table; its chunks are the batches that were written.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self.table: pa.Table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(memory))).read_all()

    def rest(self) -> None:
        """Let the system have back the pages that were read: they stay in its cache, and are not this process's."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._memory.madvise(mmap.MADV_DONTNEED)


class Spill:
    """Writes record batches of one schema to a temporary file."""

    def __init__(self, schema: pa.Schema) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this
        self._writer = pa.ipc.new_file(self._file, schema)

    def add(self, batch: pa.RecordBatch) -> None:
        """Write a batch."""
        self._writer.write_batch(batch)

    def finish(self) -> SpilledTable:
        """Return all batches as a table."""
        self._writer.close()
        self._file.flush()
        with self._file:
            return SpilledTable(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
