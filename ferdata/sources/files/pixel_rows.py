"""Images that are rows of a text table: 48 x 48 grey values, parted by spaces, in a column of their own.

In: a table such as ``fer2013.csv``. Out: its rows, or one row as the bytes of a PGM file. A row can be read alone once
the table was read through, which costs about 0.5 s for the 300 MB of FER2013, once a process.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ferdata.errors import SourceError, StoreError
from ferdata.sources.files.text_tables import MAX_LINE_BYTES, plain_name, read_head
from ferdata.store import Store

__all__ = ["SIDE", "PixelTable", "find_pixel_table", "iter_pixel_rows", "pixel_values", "read_pixel_row"]

SIDE = 48
_NUM_PIXELS = SIDE * SIDE
_PGM_HEADER = f"P5\n{SIDE} {SIDE}\n255\n".encode()
_BLOCK_BYTES = 1 << 22
_BOM = b"\xef\xbb\xbf"
_PIXEL_NAMES = ("pixels", "pixel")
_FEWEST_VALUES = 16
"""What tells a column of pixels from one that has only its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelTable:
    """How the rows of a table of images are to be read.

    Attributes:
        header: Names of the columns, without the white space around them.
        delimiter: What parts the fields.
        pixels: The column of the pixels.
    """

    header: tuple[str, ...]
    delimiter: bytes
    pixels: int


def find_pixel_table(store: Store, path: str) -> PixelTable | None:
    """Return how to read a table of images, or None where a table has no column ``pixels`` with many numbers in it."""
    head = read_head(store, path)
    columns = [column for column, name in enumerate(head.header) if plain_name(name) in _PIXEL_NAMES]
    if len(columns) != 1 or len(head.rows) < 2 or head.delimiter == " ":
        return None
    first = head.rows[1]
    if len(first) <= columns[0] or len(first[columns[0]].split()) < _FEWEST_VALUES:
        return None
    return PixelTable(header=tuple(head.header), delimiter=head.delimiter.encode(), pixels=columns[0])


def iter_pixel_rows(store: Store, path: str, table: PixelTable) -> Iterator[list[bytes]]:
    """Yield the fields of every row below the header that is not blank, without quotes and white space around them.

    Raises:
        SourceError: If the file is no text in UTF-8.
    """
    for _, line in _lines_below_header(store, path):
        yield _fields(line, table)


def pixel_values(cell: bytes) -> bytes | str:
    """Return the grey values of an image, row by row from the top, or what is wrong with them."""
    if not cell:
        return "no pixels"
    if rest := cell.translate(None, b"0123456789 "):
        return f"{chr(rest[0])!r} among the pixels, expected numbers parted by spaces"
    values = np.fromstring(cell.decode(), np.int64, sep=" ")
    if len(values) != _NUM_PIXELS:
        return f"{len(values):,} pixels, expected {_NUM_PIXELS:,} ({SIDE} x {SIDE})"
    if (most := int(values.max())) > 255:
        return f"a pixel of {most:,}, expected 0 to 255"
    return values.astype(np.uint8).tobytes()


def read_pixel_row(store: Store, path: str, row: int) -> bytes:
    """Return one row, counted from 0 below the header, as the bytes of a grey PGM file.

    Raises:
        SourceError: If the file is no text in UTF-8.
        StoreError: If there is no such row, or it holds no image.
    """
    table, starts, stops = _row_index(store.root, path, os.getpid())
    if table is None or row >= len(starts):
        raise StoreError(
            f"{store.path(path)}#{row}: {len(starts):,} rows of pixels found, expected more; scan the source again"
        )
    fields = _fields(store.read_range(path, int(starts[row]), int(stops[row])), table)
    values = pixel_values(fields[table.pixels]) if len(fields) > table.pixels else "no pixels"
    if isinstance(values, str):
        raise StoreError(f"{store.path(path)}#{row}: {values} found; scan the source again")
    return _PGM_HEADER + values


@lru_cache(maxsize=4)
def _row_index(root: str, path: str, process: int) -> tuple[PixelTable | None, np.ndarray, np.ndarray]:
    """Return how to read a table and where its rows begin and end, int64 ``[rows]`` each."""
    # Connections do not survive a fork, so each process has an index and a store of its own.
    store = Store(root)
    table = find_pixel_table(store, path)
    spans = [(start, start + len(line)) for start, line in _lines_below_header(store, path)] if table else []
    starts, stops = np.array(spans, np.int64).reshape(-1, 2).T
    return table, starts, stops


def _fields(line: bytes, table: PixelTable) -> list[bytes]:
    # No field of such a table holds a delimiter or a line end; one that does has the wrong number of fields.
    return [field.strip(b' \t"') for field in line.rstrip(b"\r\n").split(table.delimiter)]


def _lines_below_header(store: Store, path: str) -> Iterator[tuple[int, bytes]]:
    """Yield every line that is not blank but the first, with its place in the file."""
    lines = _lines(store, path)
    next(lines, None)
    yield from lines


def _lines(store: Store, path: str) -> Iterator[tuple[int, bytes]]:
    size = store.num_bytes(path)
    rest, place = b"", 0
    for start in range(0, size, _BLOCK_BYTES):
        block = store.read_range(path, start, min(start + _BLOCK_BYTES, size))
        if start == 0 and block.startswith(_BOM):
            block, place = block[len(_BOM) :], len(_BOM)
        if b"\0" in block:
            raise SourceError(f"{store.path(path)}: a zero byte found, expected a table in UTF-8; save it as UTF-8")
        lines = (rest + block).splitlines(keepends=True)
        # The last line may go on in the next block, and a carriage return at the end may be half of a line end.
        rest = lines.pop() if start + _BLOCK_BYTES < size else b""
        if len(rest) > MAX_LINE_BYTES:
            raise SourceError(
                f"{store.path(path)}: a line of more than {MAX_LINE_BYTES:,} bytes found, expected an image in each; "
                "take an intact copy of the file"
            )
        for line in lines:
            if line.strip():
                yield place, line
            place += len(line)
