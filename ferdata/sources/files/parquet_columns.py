"""What the columns of a parquet file are: which holds the images, what numbers stand for, what unpacks to too much.

In: an open file, or its schema. Out: names and rows. Costs the footer; images are read only where some are null.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferdata.errors import SourceError

__all__ = ["IMAGE_COLUMN", "image_column", "refuse_bombs", "rows_without_image", "stored_names"]

IMAGE_COLUMN = "image"
_FREE_BYTES = 64 << 20
_MAX_PACKED_RATIO = 20
_MAX_CELL_BYTES = 256


def image_column(schema: pa.Schema) -> str | None:
    """Return the column that holds image files: the one called ``image``, or the only one of a type for it, or None."""
    kinds = {field.name: field.type for field in schema if _holds_files(field.type)}
    if IMAGE_COLUMN in kinds or not kinds:
        return IMAGE_COLUMN if IMAGE_COLUMN in kinds else None
    declared = [name for name in kinds if _feature(schema, name).get("_type") == "Image"]
    found = declared or list(kinds)
    return found[0] if len(found) == 1 else None


def stored_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """Return what the numbers of a column stand for, as the ``datasets`` library stores it in the schema, or None."""
    names = _feature(schema, column).get("names")
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        return None
    return tuple(names) if not all(name.strip().isdecimal() for name in names) else None


def refuse_bombs(
    meta: pq.FileMetaData, num_bytes: int, where: str, columns: Sequence[str], *, has_images: bool = True
) -> None:
    """Refuse a file whose labels alone unpack to gigabytes; images that do are rejected one by one when read.

    Args:
        meta: Its footer.
        num_bytes: Its size.
        where: Its path, for the error.
        columns: The columns that are read.
        has_images: Whether each row should hold an image.

    Raises:
        SourceError: If they do.
    """
    if has_images and meta.num_rows > num_bytes:
        raise SourceError(
            f"{where}: {meta.num_rows:,} rows in {num_bytes:,} bytes found, expected an image in each; "
            "take another copy"
        )
    for group in map(meta.row_group, range(meta.num_row_groups)):
        found = map(group.column, range(group.num_columns))
        unpacked = sum(each.total_uncompressed_size for each in found if each.path_in_schema in columns)
        most = _FREE_BYTES + _MAX_CELL_BYTES * len(columns) * group.num_rows
        if unpacked > most:
            raise SourceError(
                f"{where}: {unpacked:,} bytes of labels found in {group.num_rows:,} rows, expected at most {most:,}; "
                "take another copy"
            )


def rows_without_image(file: pq.ParquetFile, column: str) -> frozenset[int]:
    """Return the rows whose image is null; the column is read only where statistics count nulls and sizes are sane."""
    found: set[int] = set()
    start = 0
    for group in range(file.num_row_groups):
        meta = file.metadata.row_group(group)
        for part in map(meta.column, range(meta.num_columns)):
            leaf, most = part.path_in_schema, _FREE_BYTES + _MAX_PACKED_RATIO * part.total_compressed_size
            is_bytes = leaf in (column, f"{column}.bytes") and part.statistics is not None
            if is_bytes and part.statistics.null_count and part.total_uncompressed_size <= most:
                values = file.read_row_group(group, columns=[leaf], use_threads=False).column(0).combine_chunks()
                data = pc.struct_field(values, [0]) if pa.types.is_struct(values.type) else values
                found.update(start + int(row) for row in pc.indices_nonzero(pc.is_null(data)).to_pylist())
        start += meta.num_rows
    return frozenset(found)


def _feature(schema: pa.Schema, column: str) -> dict[str, Any]:
    """Return what the ``datasets`` library says of a column; nothing where the schema is not its own, or forged."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
