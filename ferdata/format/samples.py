"""``samples.parquet``: one row per sample, in reading order.

In: rows. Out: a table whose rows are those that the index counts. Costs milliseconds per 100,000 rows, and no more
memory than such a table can need: a file may claim more than it holds, and repeat a long text for a byte a row.
"""

from io import BytesIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferdata.errors import ShardCorruptError
from ferdata.format.index import DatasetIndex, FileInfo, read_file, write_file
from ferdata.format.schema import INDEX_NAME, SAMPLES_NAME
from ferdata.sample import soft_labels_problem
from ferdata.store import Store

__all__ = ["SAMPLES_SCHEMA", "read_samples", "write_samples"]

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
_NEEDED = ("key", "split", "label", "shard", "frame", "position")
"""Columns that every row has a value in."""


def write_samples(store: Store, samples: pa.Table) -> FileInfo:
    """Write ``samples.parquet`` atomically, with bytes that depend on the rows alone."""
    buffer = BytesIO()
    pq.write_table(
        samples.cast(SAMPLES_SCHEMA).combine_chunks(),
        buffer,
        compression="zstd",
        row_group_size=1 << 16,
        store_schema=False,
    )
    return write_file(store, SAMPLES_NAME, buffer.getvalue())


def read_samples(store: Store, index: DatasetIndex, columns: list[str] | None = None) -> pa.Table:
    """Return ``samples.parquet``, all columns or some, once its XXH64, its rows and what they hold fit the index.

    Raises:
        ShardMissingError: If it is not there.
        ShardCorruptError: If it is not what the index says, or not the table of this data set.
    """
    where = store.path(SAMPLES_NAME)
    data = read_file(store, next(info for info in index.files if info.name == SAMPLES_NAME))
    try:
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=_TEXTS)
        problem = _schema_problem(file, index) or _size_problem(file.metadata, len(data), len(index.classes))
        if not problem:
            table = file.read(
                columns, use_threads=False
            )  # a pool of threads may still start as the process ends: abort
            table.validate(full=True)
            problem = _text_problem(table)
        if not problem:
            table = pa.table([_plain(column) for column in table.columns], table.column_names)
            problem = _row_problem(table, index)
    except (pa.ArrowException, OSError, ValueError) as error:
        text = " ".join(str(error).split())  # Arrow's may have several lines
        raise ShardCorruptError(f"{where}: {text}, expected a Parquet file; run 'shard --fresh'") from error
    if problem:
        raise ShardCorruptError(f"{where}: {problem}; run 'shard --fresh'")
    return table


def _schema_problem(file: pq.ParquetFile, index: DatasetIndex) -> str:
    found = {
        field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in file.schema_arrow
    }
    if wrong := [name for name, kind in _TYPES.items() if found.get(name) != kind]:
        listed = ", ".join(f"{name} {found.get(name, 'missing')} (expected {_TYPES[name]})" for name in wrong)
        return f"columns of other types found: {listed}"
    if file.metadata.num_rows != index.num_samples():
        return f"{file.metadata.num_rows:,} rows found, expected {index.num_samples():,} as {INDEX_NAME} says"
    return ""


def _size_problem(metadata: pq.FileMetaData, num_bytes: int, num_classes: int) -> str:
    """Return why a table cannot be one of ours by what it says of its size."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows, claimed = sum(group.num_rows for group in groups), 0
    for group in groups:
        claimed += sum(abs(group.column(number).total_uncompressed_size) for number in range(group.num_columns))
    if rows != metadata.num_rows or rows > _MOST_ROWS_A_BYTE * num_bytes:
        least = f"{metadata.num_rows:,} and at least a byte per {_MOST_ROWS_A_BYTE}"
        return f"{rows:,} rows in {num_bytes:,} bytes found, expected {least}"
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


def _row_problem(table: pa.Table, index: DatasetIndex) -> str:
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
        if not pc.all(
            pc.equal(table.column("split").slice(rows.start, rows.stop - rows.start), split), min_count=0
        ).as_py():
            return f"rows {rows.start:,} to {rows.stop:,} of other splits found, expected all in {split!r}"
    return ""
