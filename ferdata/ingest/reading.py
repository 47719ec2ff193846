"""The image files of items, one after another. In: a source and items. Out: bytes, or the error that reading gave."""

from collections.abc import Iterator

from ferdata.errors import FerdataError
from ferdata.images.formats import is_decoder_missing, recognise
from ferdata.sources.files.image_bytes import read_image
from ferdata.sources.items import ItemTable

__all__ = ["can_be_read", "read_sources"]

_READ_AHEAD_FILES = 32
_READ_AHEAD_BYTES = 8 << 20


def read_sources(root: str, items: ItemTable) -> Iterator[bytes | FerdataError]:
    """Yield the image file of every item, in order, or the error that reading it gave.

    Rows of parquet files are read in the order they lie there and kept until their turn: in shuffled order, every one
    would cost its whole row group.
    """
    paths = items.table.column("path").to_pylist()
    if any("#" in path for path in paths):
        found = {path: _read(root, path) for path in sorted(set(paths), key=_row_order)}
        yield from (found[path] for path in paths)
        return
    # A few files at a time: between two images, 700 kB of pixels push the code that opens files out of the cache.
    start = 0
    while start < len(paths):
        ahead: list[bytes | FerdataError] = []
        num_bytes = 0
        while start < len(paths) and len(ahead) < _READ_AHEAD_FILES and num_bytes < _READ_AHEAD_BYTES:
            ahead.append(_read(root, paths[start]))
            num_bytes += len(ahead[-1]) if isinstance(ahead[-1], bytes) else 0
            start += 1
        yield from ahead


def _row_order(path: str) -> tuple[str, int]:
    file, _, row = path.rpartition("#")
    return (file, int(row)) if row.isdecimal() else (path, 0)


def _read(root: str, path: str) -> bytes | FerdataError:
    try:
        return read_image(root, path)
    except FerdataError as error:
        return error


def can_be_read(root: str, path: str) -> bool:
    """Tell whether the file of an image can be read, and whether there is a decoder for it."""
    try:
        data = read_image(root, path)
    except FerdataError:
        return False
    found = recognise(data)
    return found is None or not is_decoder_missing(data, found)
