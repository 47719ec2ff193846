"""Read one image's bytes, from a file or from a row of a parquet file or of a table of pixels.

In: a source root and an item path. Out: the bytes as they are stored; a row of pixels as a PGM file. A parquet row
costs one read of its row group, unless that is among the last ones read, of which up to 192 MB are kept in memory.
"""

import contextlib
import errno
import io
import os
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ferdata.errors import FerdataError, StoreError, WorkerError
from ferdata.parallel import map_in_processes
from ferdata.sources.files.parquet_columns import IMAGE_COLUMN, image_column
from ferdata.sources.files.pixel_rows import read_pixel_row
from ferdata.sources.files.text_tables import is_table
from ferdata.store import Store

__all__ = ["open_parquet", "parquet_errors", "read_apart", "read_image", "table_of"]

ResultT = TypeVar("ResultT")

_ROW = re.compile(r"(.+\.(?:parquet|csv|tsv|tab))#(\d+)", re.IGNORECASE | re.DOTALL)
_CACHE_BYTES = 192 << 20
_MAX_FILE_BYTES = 512 << 20
"""Twice what the most pixels that are accepted take uncompressed: nothing larger is a photograph."""
_MAX_INFLATION = 20
"""Images are compressed already; a row group that inflates further, to more than a file may hold, holds none."""
_BATCH_ROWS = 8


def read_image(root: str, path: str) -> bytes:
    """Return the stored bytes of one image.

    Args:
        root: Folder or URL the path is relative to.
        path: An item's path; ``file.parquet#17`` is row 17 of that file, counted from 0, and so is ``fer2013.csv#17``.

    Raises:
        StoreError: If the file or row is not there or cannot be read.
    """
    row = _ROW.fullmatch(path)
    try:
        if row is not None and is_table(row[1]):
            return read_pixel_row(_store(root), row[1], int(row[2]))
        if row is not None:
            return _read_row(root, row[1], int(row[2]))
        return _store(root).read(path, max_bytes=_MAX_FILE_BYTES)
    except FerdataError as error:
        if getattr(error.__cause__, "errno", None) == errno.ELOOP:  # it leads nowhere, as a dangling link does
            raise StoreError(
                f"{_store(root).path(path)}: a link to itself found, expected an image file; remove it"
            ) from FileNotFoundError()
        raise
    except (OSError, pa.ArrowException) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise StoreError(
            f"{_store(root).path(path)}: {text}, expected an image file that can be read; check the source"
        ) from error


def table_of(path: str) -> str | None:
    """Return the file that an item's path names a row of, or None where it names a file."""
    row = _ROW.fullmatch(path)
    return row[1] if row is not None else None


def open_parquet(store: Store, path: str, *, as_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a parquet file wherever it lives; only the parts that are asked for are read.

    Args:
        store: Holds the file.
        path: The file.
        as_dictionary: Columns of text whose repeated values are held once, as the file holds them.
    """
    if store.is_local and os.path.exists(store.path(path)) and not os.path.isfile(store.path(path)):
        # Opening a pipe would wait for ever for somebody to write.
        raise StoreError(f"{store.path(path)}: a pipe or device found, expected a parquet file; remove it")
    with parquet_errors(store, path):
        source = store.path(path) if store.is_local else pa.PythonFile(_RangeFile(store, path), mode="r")
        return pq.ParquetFile(source, read_dictionary=list(as_dictionary))


def read_apart(read: Callable[[Store, str], ResultT], store: Store, paths: Sequence[str]) -> Iterator[ResultT]:
    """Yield ``read(store, path)`` of each parquet file, from another process: pyarrow aborts on some damaged footers.

    Raises:
        StoreError: If a file ends that process.
    """
    results = map_in_processes(partial(read, store), paths, num_workers=1, where=store.path())
    for path in paths:
        try:
            yield next(results)
        except WorkerError as error:
            raise StoreError(
                f"{store.path(path)}: a file found that ends the process which reads it, expected a parquet file; "
                "take another copy or remove it"
            ) from error


@contextlib.contextmanager
def parquet_errors(store: Store, path: str) -> Iterator[None]:
    """Turn the errors that a damaged parquet file gives into one that names it."""
    try:
        yield
    except FerdataError:
        raise
    except (OSError, pa.ArrowException, ValueError) as error:
        text = " ".join(str(error).split())
        raise StoreError(f"{store.path(path)}: {text}, expected a parquet file; check it or remove it") from error


def _read_row(root: str, path: str, row: int) -> bytes:
    value, column = _ROW_GROUPS.row(root, path, row)
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return data
    raise StoreError(
        f"{path}#{row}: no image bytes found in column {column!r}, expected the image itself; embed the images"
    )


class _RowGroups:
    """The image columns of the row groups read last; ingest asks for rows in shuffled order, so one would not do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str, int], tuple[pq.ParquetFile, list[int], str]] = {}
        self._groups: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._num_bytes = 0

    def row(self, root: str, path: str, row: int) -> tuple[Any, str]:
        """Return the value of one row of the image column, and the column's name."""
        with self._lock:
            file, starts, column = self._file(root, path)
            if row >= starts[-1]:
                raise StoreError(f"{path}#{row}: {starts[-1]:,} rows found, expected more; scan the source again")
            group = bisect_right(starts, row) - 1
            key = (root, path, group)
            if key not in self._groups:
                self._groups[key] = _read_group(file, group, column, f"{path}#{row}")
                self._num_bytes += self._groups[key].nbytes
                while self._num_bytes > _CACHE_BYTES and len(self._groups) > 1:
                    self._num_bytes -= self._groups.popitem(last=False)[1].nbytes
            self._groups.move_to_end(key)
            return self._groups[key][row - starts[group]].as_py(), column

    def _file(self, root: str, path: str) -> tuple[pq.ParquetFile, list[int], str]:
        key = root, path, os.getpid()
        if key not in self._files:
            file = open_parquet(_store(root), path)
            rows = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
            self._files[key] = file, [0, *accumulate(rows)], image_column(file.schema_arrow) or IMAGE_COLUMN
        return self._files[key]


def _read_group(file: pq.ParquetFile, group: int, name: str, where: str) -> pa.ChunkedArray:
    # A few kilobytes can inflate to gigabytes: by compression, which the metadata tell, or by rows that repeat one
    # value, which only reading tells.
    found = file.metadata.row_group(group)
    columns = [found.column(number) for number in range(found.num_columns)]
    columns = [column for column in columns if column.path_in_schema.split(".")[0] == name]
    packed = sum(column.total_compressed_size for column in columns)
    unpacked = sum(column.total_uncompressed_size for column in columns)
    most = max(_MAX_FILE_BYTES, _MAX_INFLATION * packed)
    num_bytes, batches = 0, []
    pieces = file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[name], use_threads=False)
    for batch in pieces if unpacked <= most else ():
        batches.append(batch.column(0))
        num_bytes += batch.nbytes
        if num_bytes > most:
            break
    if max(unpacked, num_bytes) > most:
        raise StoreError(
            f"{where}: {max(unpacked, num_bytes):,} bytes in {packed:,} found, expected images; remove those rows"
        )
    return pa.chunked_array(batches)


_ROW_GROUPS = _RowGroups()


def _store(root: str) -> Store:
    return _store_of(root, os.getpid())


@lru_cache(maxsize=16)
def _store_of(root: str, process: int) -> Store:
    # Connections do not survive a fork, and one may have been opened here before the workers were forked.
    return Store(root)


class _RangeFile(io.RawIOBase):
    """A read-only file object over a store's byte ranges."""

    def __init__(self, store: Store, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path
        self._size, self._position = store.num_bytes(path), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._size)
        data = self._store.read_range(self._path, self._position, stop) if stop > self._position else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
