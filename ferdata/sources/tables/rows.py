"""The rows of a table, whatever kind of file it is: text with any delimiter, or parquet with paths or images in it.

In: a file, and what the user says of its columns. Out: rows of cells, streamed; a missing cell is None. A million rows
cost about five seconds and no memory.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ferdata.errors import LayoutError
from ferdata.labels import canonical_name
from ferdata.sources.files.image_bytes import open_parquet, parquet_errors, read_apart
from ferdata.sources.files.listing import is_image
from ferdata.sources.files.matching import whole_number
from ferdata.sources.files.parquet_columns import image_column, refuse_bombs, rows_without_image, stored_names
from ferdata.sources.files.text_tables import DELIMITERS, iter_rows, plain_name, read_head
from ferdata.sources.tables.columns import Columns, resolve_columns
from ferdata.store import Store

__all__ = ["Table", "is_parquet", "open_tables"]

_MISSING = frozenset(("", "nan", "null", "na", "n/a", "<na>", "#n/a", "nat"))
_LONGEST_MISSING = max(map(len, _MISSING))
_BATCH_ROWS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        store: The folder that it lies in.
        path: Relative to that.
        columns: What its columns are.
        delimiter: What parts its fields; empty for parquet.
        has_images: It holds the images themselves.
        without_image: Then the rows, from 0, in which there is none.
    """

    store: Store
    path: str
    columns: Columns
    delimiter: str = ""
    has_images: bool = False
    without_image: frozenset[int] = frozenset()

    @property
    def where(self) -> str:
        """Its full path."""
        return self.store.path(self.path)

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield ``(number, cells)`` of every row that is not empty, cells by column: a line from 1, or a parquet row.

        Rows of another width than the header have no cells.

        Raises:
            SourceError: If the file is no table after all.
        """
        return self._parquet_rows() if is_parquet(self.path) else self._text_rows()

    def _text_rows(self) -> Iterator[tuple[int, list[Any]]]:
        header = self.columns.header
        width = len(header) or max(self.columns.roles.values()) + 1
        for place, (line, fields) in enumerate(iter_rows(self.store, self.path, self.delimiter)):
            if place == 0 and header:
                continue
            cells = [_text_cell(field) for field in fields]
            if all(cell is None for cell in cells):
                continue
            is_wide = header and len(cells) > width and any(cell is not None for cell in cells[width:])
            yield line, [] if is_wide else cells + [None] * (width - len(cells))

    def _parquet_rows(self) -> Iterator[tuple[int, list[Any]]]:
        number = 0
        wanted = {*self.columns.roles.values(), *self.columns.extras.values()}
        names = [name for place, name in enumerate(self.columns.header) if place in wanted]
        with parquet_errors(self.store, self.path), open_parquet(self.store, self.path) as file:
            meant = [stored_names(file.schema_arrow, name) for name in names]
            for batch in file.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
                found = {
                    name: _named(column.to_pylist(), known)
                    for name, column, known in zip(batch.schema.names, batch.columns, meant, strict=True)
                }
                lists = [found.get(name) for name in self.columns.header]
                for row in range(batch.num_rows):
                    yield number, [None if cells is None else _cell(cells[row]) for cells in lists]
                    number += 1


def is_parquet(path: str) -> bool:
    """Tell whether a file name is that of a parquet file."""
    return path.lower().endswith(".parquet")


def open_tables(store: Store, paths: Sequence[str], asked: Mapping[str, str]) -> list[Table | LayoutError]:
    """Look at the start of every file, and return the error of one that is no table, or does not show what is what.

    Raises:
        StoreError: If one cannot be read.
    """
    open_one = _Opener(asked)
    apart = iter(read_apart(open_one, store, [path for path in paths if is_parquet(path)]))
    return [next(apart) if is_parquet(path) else open_one(store, path) for path in paths]


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens one file: of parquet in a process of its own, where a damaged footer ends nothing but that."""

    asked: Mapping[str, str]

    def __call__(self, store: Store, path: str) -> Table | LayoutError:
        try:
            return (_open_parquet if is_parquet(path) else _open_text)(store, path, self.asked)
        except LayoutError as error:
            return error


def _open_parquet(store: Store, path: str, asked: Mapping[str, str]) -> Table:
    where = store.path(path)
    with parquet_errors(store, path), open_parquet(store, path) as file:
        schema = file.schema_arrow
        images = image_column(schema) if "path" not in asked else None
        header = [field.name if _is_plain(field.type) else "" for field in schema]
        columns = resolve_columns(header, asked, where, has_images=images is not None)
        label = schema.field(columns.roles["label"])
        if pa.types.is_nested(label.type):
            raise LayoutError(
                f"{where}: label column {label.name!r} of type {label.type} found, expected class numbers or names"
            )
        names = [header[number] for number in (*columns.roles.values(), *columns.extras.values())]
        if twice := [name for name in {*names, images} if name is not None and schema.names.count(name) > 1]:
            raise LayoutError(f"{where}: two columns {twice[0]!r} found, expected one; write the file again without")
        refuse_bombs(file.metadata, store.num_bytes(path), where, names, has_images=images is not None)
        without = rows_without_image(file, images) if images else frozenset[int]()
    return Table(store=store, path=path, columns=columns, has_images=images is not None, without_image=without)


def _open_text(store: Store, path: str, asked: Mapping[str, str]) -> Table:
    head = read_head(store, path)
    if not head.rows:
        found = "an empty file" if head.is_text else "a file that is no text"
        raise LayoutError(
            f"{store.path(path)}: {found} found, expected a table (csv, tsv or parquet); name another with table="
        )
    delimiter, rows = head.delimiter, head.rows
    wanted = {plain_name(name) for name in asked.values() if name and not name.isdecimal()}
    if wanted and not wanted <= set(map(plain_name, rows[0])):
        # Names that only the user knows tell which delimiter is meant.
        parted = {mark: next(iter_rows(store, path, mark))[1] for mark in DELIMITERS}
        delimiter = next((mark for mark, row in parted.items() if wanted <= set(map(plain_name, row))), delimiter)
        rows = [row for row, _ in zip((fields for _, fields in iter_rows(store, path, delimiter)), rows, strict=False)]
    has_header = not _is_data(rows, asked)
    header = [cell.strip() for cell in rows[0]]
    if not has_header and not asked:
        asked = _two_columns(rows)
    columns = resolve_columns(header, asked, store.path(path), has_header=has_header)
    return Table(store=store, path=path, columns=columns, delimiter=delimiter)


def _is_data(rows: Sequence[Sequence[str]], asked: Mapping[str, str]) -> bool:
    """Tell whether the first row is no header: it names an image, or its label is one that other rows have."""
    if any(is_image(cell) for cell in rows[0]):
        return True
    at = asked.get("label", "")
    number = int(at) - 1 if at.isdecimal() and 0 < int(at) <= len(rows[0]) and at not in rows[0] else None
    if number is None:
        return False
    first = rows[0][number].strip()
    others = {row[number].strip() for row in rows[1:] if len(row) > number}
    return first in others or canonical_name(first) is not None or whole_number(first) is not None


def _two_columns(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return which of two columns without names is the image; nothing where there are more, or it is not clear."""
    images = [number for number, cell in enumerate(rows[0]) if is_image(cell)]
    if len(rows[0]) != 2 or len(images) != 1:
        return {}
    return {"path": str(images[0] + 1), "label": str(2 - images[0])}


def _text_cell(text: str) -> str | None:
    """Return a cell's text, or None where it holds none."""
    text = text.strip()
    return None if len(text) <= _LONGEST_MISSING and text.lower() in _MISSING else text


def _cell(value: Any) -> Any:
    """Return a cell's value, or None where it holds none."""
    if isinstance(value, str):
        return _text_cell(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def _named(cells: list[Any], names: Sequence[str] | None) -> list[Any]:
    """Return numbers as the names that the file stores for them."""
    if names is None:
        return cells
    return [names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else cell for cell in cells]


def _is_plain(kind: pa.DataType) -> bool:
    """Tell whether a column holds values that can be written down with an image."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
