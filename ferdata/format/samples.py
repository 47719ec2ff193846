"""``samples.parquet``: one row per sample, in reading order.

In: rows. Out: a table whose rows are those that the index counts, or any part of it. Costs milliseconds per 100,000
rows that are asked for, and no more memory than such a table can need: a file may claim more than it holds, and repeat
a long text for a byte a row.
"""

import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from ferdata.errors import FerdataError, ShardCorruptError
from ferdata.format.index import DatasetIndex, FileInfo, read_file, write_file
from ferdata.format.schema import INDEX_NAME, SAMPLES_NAME
from ferdata.sample import soft_labels_problem
from ferdata.store import Store

__all__ = ["SAMPLES_SCHEMA", "SamplesFile", "file_parts", "read_samples", "write_samples"]

SAMPLES_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("label", pa.int16()),
        ("valence", pa.float64()),
        ("arousal", pa.float64()),
        ("path", pa.string()),
        ("source_label", pa.dictionary(pa.int16(), pa.string())),
        ("person", pa.dictionary(pa.int32(), pa.string())),
        ("sequence", pa.dictionary(pa.int32(), pa.string())),
        ("soft_labels", pa.list_(pa.float32())),
        ("source_bytes", pa.int64()),
        ("source_xxh64", pa.uint64()),
        ("shard", pa.int32()),
        ("frame", pa.int32()),
        ("position", pa.int32()),
    ]
)
"""One row per sample, in reading order: ``shard`` counts within the split, ``position`` within the shard;
``frame`` is the zstd frame that holds the body (2 * position + 1)."""

_TYPES = {
    field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in SAMPLES_SCHEMA
}
"""As they are stored."""
_TEXTS = [name for name, kind in _TYPES.items() if pa.types.is_string(kind)]
_MOST_ROW_BYTES = 8192
"""Of a row, on average: a path may have 4,096."""
_MOST_ROWS_A_BYTE = 16
"""Keys are unique, so a row takes about a byte at least, however well the table is compressed."""
_FREE_BYTES = 1 << 20
_GROUP_ROWS = 1 << 16
"""A row group is as few whole shards as have so many rows, so that what a shard needs is in one."""
_WHOLE_BYTES = 32 << 20
"""A file of up to this size is read whole, with one request."""
_FOOTER_BYTES, _FOOTER_PART_BYTES = 1 << 16, 1 << 7
"""A footer takes some 90 bytes for each part. Its size is in its last bytes, so what it may take is fetched at once."""
_NEEDED = ("key", "split", "label", "shard", "frame", "position")
"""Columns that every row has a value in."""


def write_samples(store: Store, samples: pa.Table | Iterable[pa.Table]) -> FileInfo:
    """Write ``samples.parquet`` atomically, with bytes that depend on the rows alone.

    Args:
        store: The data set's folder.
        samples: Its rows, as one table or as several, each of whole shards, and with the same dictionaries; of several,
            few are in memory at a time.
    """
    with tempfile.TemporaryFile() as file:
        with pq.ParquetWriter(file, SAMPLES_SCHEMA, compression="zstd", store_schema=False) as writer:
            for group in _row_groups([samples] if isinstance(samples, pa.Table) else samples):
                writer.write_table(group, row_group_size=max(1, group.num_rows))
        return write_file(store, SAMPLES_NAME, file_parts(file))


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in groups; one without any if there are none."""
    left, num_groups = list[pa.Table](), 0
    for table in tables:
        whole, start = pa.concat_tables([*left, table.cast(SAMPLES_SCHEMA)]).combine_chunks(), 0
        ends = np.append(np.flatnonzero(whole.column("position").to_numpy() == 0), whole.num_rows)
        while len(later := ends[np.searchsorted(ends, start + _GROUP_ROWS) :]):
            yield whole.slice(start, int(later[0]) - start)
            start, num_groups = int(later[0]), num_groups + 1
        left = [whole.slice(start)] if start < whole.num_rows else []
    if left or not num_groups:
        yield left[0] if left else SAMPLES_SCHEMA.empty_table()


def file_parts(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the parts of a Parquet file that have checksums of their own: column chunks, and the rest."""
    size, metadata = file.seek(0, os.SEEK_END), pq.read_metadata(file)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    for start, end in pairwise([0, *(end for group in groups for _, end in _chunks(group)), size]):
        file.seek(start)
        yield file.read(end - start)


class SamplesFile:
    """``samples.parquet``, whose rows are read as they are asked for; a small file is read at once.

    Args:
        store: The data set's folder.
        index: Its index.

    Raises:
        ShardMissingError: If it is not there.
        ShardCorruptError: If it is not what the index says, or not the table of this data set.
    """

    def __init__(self, store: Store, index: DatasetIndex) -> None:
        self._store, self._index = store, index
        self._info = next(info for info in index.files if info.name == SAMPLES_NAME)
        self._where = store.path(SAMPLES_NAME)
        self._data = read_file(store, self._info) if self._info.num_bytes <= _WHOLE_BYTES else None
        with self._explained():
            self._metadata = pq.read_metadata(pa.BufferReader(self._footer() if self._data is None else self._data))
            groups = [self._metadata.row_group(number).num_rows for number in range(self._metadata.num_row_groups)]
            self.group_ends = np.cumsum(groups, dtype=np.int64)
            """int64 ``[groups]``, the row after each group, which is what is read at a time."""
            self._expect(_schema_problem(self._metadata, index))
            rows, most = sum(groups), _MOST_ROWS_A_BYTE * self._info.num_bytes
            if rows != self._metadata.num_rows or min(groups, default=0) < 0 or rows > most:
                least = f"{self._metadata.num_rows:,} and at least a byte per {_MOST_ROWS_A_BYTE}"
                self._expect(f"{rows:,} rows in {self._info.num_bytes:,} bytes found, expected {least}")

    def read(self, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None) -> pa.Table:
        """Return rows ``[start, stop)``, all columns or some, once their checksums and what they hold fit the index.

        Raises:
            ShardCorruptError: If they do not.
        """
        stop = self._metadata.num_rows if stop is None else stop
        first = int(np.searchsorted(self.group_ends, start, side="right"))
        groups = range(first, max(first, int(np.searchsorted(self.group_ends, stop)) + (stop > start)))
        before = int(self.group_ends[first - 1]) if first else 0
        with self._explained():
            self._expect(_size_problem(self._metadata, groups, len(self._index.classes)))
            source = pa.BufferReader(self._data) if self._data is not None else self._fetched(groups, columns)
            file = pq.ParquetFile(source, metadata=self._metadata, read_dictionary=_TEXTS, pre_buffer=False)
            listed = None if columns is None else [*columns]
            # a pool of threads may still start as the process ends: abort
            table = file.read_row_groups([*groups], listed, use_threads=False)
            table.validate(full=True)
            self._expect(_text_problem(table))
            table = pa.table([_plain(column) for column in table.columns], table.column_names)
            self._expect(_row_problem(table, self._index, before))
        return table.slice(start - before, stop - start)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FerdataError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            text = " ".join(str(error).split())  # Arrow's may have several lines
            raise ShardCorruptError(f"{self._where}: {text}, expected a Parquet file; run 'shard --fresh'") from error

    def _expect(self, problem: str) -> None:
        if problem:
            raise ShardCorruptError(f"{self._where}: {problem}; run 'shard --fresh'")

    def check_parts(self) -> None:
        """Check the checksum of every part, which whoever reads the file whole does not need.

        Raises:
            ShardCorruptError: If one does not fit.
        """
        with self._explained():
            self._footer()
            for number in range(len(self.group_ends)):
                self._fetched([number], None)

    def _footer(self) -> bytes:
        """Return the end of the file as a file of its own, once its checksum fits; behind a URL with one request."""
        size, num_parts, tail = self._info.num_bytes, len(self._info.parts_xxh64), b""
        if not num_parts:
            self._expect(f"no checksums of its parts found in {INDEX_NAME}, expected one of each")
        tail_start = max(0, size - _FOOTER_BYTES - num_parts * _FOOTER_PART_BYTES)
        with suppress(FileNotFoundError):
            tail = self._stretch(tail_start, size)
        is_asked = self._data is None and (self._store.is_local or len(tail) < size - tail_start)
        if is_asked and (found := self._store.num_bytes(SAMPLES_NAME)) != size:
            self._expect(f"{found:,} bytes found, expected {size:,} as {INDEX_NAME} says")
        start = max(0, size - int.from_bytes(tail[-8:-4], "little") - 8)
        return b"PAR1" + self._sound([(-1, start, size)], tail[start - tail_start :] if start >= tail_start else None)

    def _fetched(self, groups: Sequence[int], columns: Sequence[str] | None) -> pa.PythonFile:
        """Return what stands in for the file while columns of some groups are read: the parts that hold them."""
        width, wanted = self._metadata.num_columns, list[list[tuple[int, int, int]]]()
        if len(self._info.parts_xxh64) != len(self.group_ends) * width + 1:
            found = len(self._info.parts_xxh64)
            self._expect(f"checksums of {found:,} parts found in {INDEX_NAME}, expected one of each")
        for number in groups:
            group = self._metadata.row_group(number)
            for column, (start, end) in enumerate(_chunks(group)):
                if columns is None or group.column(column).path_in_schema.partition(".")[0] in columns:
                    part = number * width + column
                    if not wanted or wanted[-1][-1][-1] != start:
                        wanted.append([])
                    wanted[-1].append((part, start if part else 0, end))
        parts = {stretch[0][1]: self._sound(stretch) for stretch in wanted}
        return pa.PythonFile(_Parts(parts, self._info.num_bytes), mode="r")

    def _sound(self, parts: Sequence[tuple[int, int, int]], data: bytes | None = None) -> bytes:
        """Return neighbouring parts of the file, each ``(number, start, end)``, whose checksums fit.

        ``data`` are they if they were read before.
        """
        begin, end = parts[0][1], parts[-1][2]

        def wrong(data: bytes) -> list[tuple[int, int]]:
            view, known = memoryview(data), self._info.parts_xxh64
            found = [xxhash.xxh64_hexdigest(view[start - begin : stop - begin]) for _, start, stop in parts]
            return [(start, stop) for (part, start, stop), one in zip(parts, found, strict=True) if known[part] != one]

        data = self._stretch(begin, end) if data is None else data
        if wrong(data) and not self._store.is_local:
            data = self._stretch(begin, end, is_fresh=True)
        for start, stop in wrong(data)[:1]:
            self._expect(f"the XXH64 of its bytes {start:,} to {stop:,} is not the one in {INDEX_NAME}")
        return data

    def _stretch(self, start: int, end: int, **options: bool) -> bytes:
        if self._data is not None:
            return self._data[start:end]
        return self._store.read_range(SAMPLES_NAME, start, end, **options)


class _Parts(io.RawIOBase):
    """Parts of a file in the place of the whole."""

    def __init__(self, parts: Mapping[int, bytes], num_bytes: int) -> None:
        self._parts, self._starts = parts, sorted(parts)
        self._num_bytes, self._place = num_bytes, 0

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place; return it."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._num_bytes}[whence]
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """Return bytes of parts that follow each other from the place on."""
        number = int(np.searchsorted(self._starts, self._place, side="right")) - 1
        found = bytearray()
        for start in self._starts[number:]:
            offset = self._place + len(found) - start
            if not 0 <= offset < len(self._parts[start]) or len(found) == size:
                break
            found += self._parts[start][offset:][: None if size < 0 else size - len(found)]
        self._place += len(found)
        return bytes(found)


def _chunks(group: pq.RowGroupMetaData) -> list[tuple[int, int]]:
    """Return where each column of a row group begins and ends in the file."""
    places = []
    for column in (group.column(number) for number in range(group.num_columns)):
        begins = [column.data_page_offset, column.dictionary_page_offset]
        start = min(begin for begin in begins if begin)
        places.append((start, start + column.total_compressed_size))
    return places


def read_samples(store: Store, index: DatasetIndex, columns: list[str] | None = None) -> pa.Table:
    """Return ``samples.parquet``, all columns or some; see :class:`SamplesFile`."""
    return SamplesFile(store, index).read(columns)


def _schema_problem(metadata: pq.FileMetaData, index: DatasetIndex) -> str:
    found = {
        field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in metadata.schema.to_arrow_schema()
    }
    if wrong := [name for name, kind in _TYPES.items() if found.get(name) != kind]:
        listed = ", ".join(f"{name} {found.get(name, 'missing')} (expected {_TYPES[name]})" for name in wrong)
        return f"columns of other types found: {listed}"
    if metadata.num_rows != index.num_samples():
        return f"{metadata.num_rows:,} rows found, expected {index.num_samples():,} as {INDEX_NAME} says"
    return ""


def _size_problem(metadata: pq.FileMetaData, numbers: Sequence[int], num_classes: int) -> str:
    """Return why row groups cannot be ours by what they say of their size."""
    groups = [metadata.row_group(number) for number in numbers]
    rows, claimed = sum(group.num_rows for group in groups), 0
    for group in groups:
        claimed += sum(abs(group.column(number).total_uncompressed_size) for number in range(group.num_columns))
    places = [number for number in range(metadata.num_columns) if metadata.schema.column(number).max_repetition_level]
    # Lists of zeros take a few bits a row however long they are.
    if (values := sum(group.column(number).num_values for group in groups for number in places)) > num_classes * rows:
        return f"soft_labels: {values:,} values in {rows:,} rows found, expected at most {num_classes:,} a row"
    return _excess(claimed, rows)


def _text_problem(table: pa.Table) -> str:
    """Return why a table whose different texts are here, once each, cannot be ours: how long they are in full."""
    num_bytes = 0
    for chunk in (chunk for column in table.columns if pa.types.is_dictionary(column.type) for chunk in column.chunks):
        num_bytes += pc.sum(pc.take(pc.binary_length(chunk.dictionary).cast(pa.int64()), chunk.indices)).as_py() or 0
    return _excess(num_bytes, table.num_rows)


def _excess(num_bytes: int, rows: int) -> str:
    most = _FREE_BYTES + rows * _MOST_ROW_BYTES
    return f"{num_bytes:,} bytes in {rows:,} rows found, expected at most {most:,}" if num_bytes > most else ""


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _row_problem(table: pa.Table, index: DatasetIndex, before: int) -> str:
    """Return why rows cannot be those that come after so many others."""
    names = table.column_names
    if empty := [name for name in _NEEDED if name in names and table.column(name).null_count]:
        return f"rows without {' or '.join(empty)} found, expected a value in every row"
    if "label" in names and table.num_rows:
        bounds = pc.min_max(table.column("label")).as_py()
        if not 0 <= bounds["min"] <= bounds["max"] < len(index.classes):
            return f"labels {bounds['min']} to {bounds['max']} found, expected 0 to {len(index.classes) - 1}"
    if "soft_labels" in names:
        lists = table.column("soft_labels").drop_null()
        lengths, values = pc.list_value_length(lists).to_numpy(), pc.list_flatten(lists).to_numpy()
        if problem := soft_labels_problem(lengths, values, len(index.classes)):
            return problem
    for split in index.splits if "split" in names else ():
        rows = index.rows(split)
        start, stop = (min(max(0, row - before), table.num_rows) for row in (rows.start, rows.stop))
        if not pc.all(pc.equal(table.column("split").slice(start, stop - start), split), min_count=0).as_py():
            return f"rows {rows.start:,} to {rows.stop:,} of other splits found, expected all in {split!r}"
    return ""
