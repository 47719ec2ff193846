"""Label files as text: one reader for all, whatever their encoding, their delimiter and the names of their columns.

In: a file in a store. Out: its lines, its rows, and which columns name the image and the label. Files are streamed in
blocks, and no line is held that could not be one of a label file. Costs about 1 µs a line.
"""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ferdata.errors import LayoutError, SourceError
from ferdata.sources.files.listing import is_image, split_of
from ferdata.store import Store

__all__ = [
    "DELIMITERS",
    "Head",
    "are_equal",
    "decode_text",
    "find_columns",
    "is_table",
    "iter_lines",
    "iter_rows",
    "of_role",
    "plain_name",
    "read_head",
    "read_table",
    "role_columns",
    "split_word",
]

MAX_LINE_BYTES = 1 << 20
"""Far above any row of a label table; a file with a longer line is something else, or damaged."""

_HEAD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 22
_SNIFFED_LINES = 20
_SUFFIXES = (".csv", ".tsv", ".tab")
DELIMITERS = (",", "\t", ";", "|")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_IN_NAME = re.compile(r"[\s_.'\"-]+")
_PATH_NAMES = (
    frozenset(("pth", "path", "image", "subdirectoryfilepath")),
    frozenset(
        (
            "images", "img", "imgs", "imagepath", "imagepth", "imgpath", "imgpth", "imagefile", "imgfile", "imagename",
            "imgname", "imagefilename", "file", "files", "filename", "filepath", "fname", "fpath", "paths", "picture",
            "photo", "relativepath",
        )
    ),
    frozenset(("name", "names", "id", "imageid", "imgid")),
)  # fmt: skip
_LABEL_NAMES = (
    frozenset(("label", "labels")),
    frozenset(
        (
            "emotion", "emotions", "expression", "expressions", "class", "classes", "classname", "category", "target",
            "labelname", "emotionlabel", "expressionlabel", "emotionname", "expressionname", "emo", "exp", "expr",
        )
    ),
)  # fmt: skip
_SPLIT_WORDS = {
    "dev": "val", "devel": "val", "development": "val", "devset": "val", "publictest": "val", "privatetest": "test",
}  # fmt: skip
"""Words for splits that no folder is called; the last two are FER2013's."""
_KNOWN_NAMES = frozenset().union(
    *_PATH_NAMES, *_LABEL_NAMES, ("facex", "facey", "facewidth", "faceheight", "valence", "arousal")
)


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a file.

    Attributes:
        rows: The whole rows among the first 64 kB, without blank ones; none where the file is no text.
        delimiter: What parts their fields; a space stands for any white space.
        is_text: The file is empty, or text.
    """

    rows: list[list[str]]
    delimiter: str
    is_text: bool

    @property
    def header(self) -> list[str]:
        """The first row, which is the header if there is one."""
        return self.rows[0] if self.rows else []


def decode_text(data: bytes) -> str:
    """Return a small label file's text: by byte-order mark, UTF-16 if every other byte is 0, UTF-8 or Latin-1."""
    encoding, num_skipped = _encoding(data)
    if encoding != "utf-8":
        return data[num_skipped:].decode(encoding, "replace")
    return "".join(map(_line_text, data[num_skipped:].splitlines(keepends=True)))


def iter_lines(store: Store, path: str) -> Iterator[str]:
    """Yield the lines of a text file with their ends.

    Raises:
        SourceError: If the file holds bytes or lines that no label file has.
    """
    number = 0
    rest = b""
    for block in _utf8_blocks(store, path):
        if (at := block.find(b"\0")) >= 0:
            raise _no_text(store, path, number + block.count(b"\n", 0, at) + 1, "a zero byte")
        block = rest + block
        # A carriage return at the very end may be half of a line end.
        cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, max(len(block) - 1, 0))) + 1
        rest = block[cut:]
        for line in block[:cut].splitlines(keepends=True):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise _no_text(store, path, number, f"more than {MAX_LINE_BYTES:,} bytes")
            yield _line_text(line)
        if len(rest) > MAX_LINE_BYTES:
            raise _no_text(store, path, number + 1, f"more than {MAX_LINE_BYTES:,} bytes")
    yield from map(_line_text, rest.splitlines(keepends=True))


def iter_rows(store: Store, path: str, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line, fields)`` for every row that is not blank, header included, streamed; lines count from 1.

    Args:
        store: Where the source lives.
        path: The file.
        delimiter: What parts the fields, where it is known.

    Raises:
        SourceError: If the file is no table.
    """
    delimiter = delimiter or read_head(store, path).delimiter
    if delimiter == " ":
        split = enumerate(map(str.split, iter_lines(store, path)), start=1)
        yield from ((number, fields) for number, fields in split if fields)
        return
    reader = csv.reader(iter_lines(store, path), delimiter=delimiter)
    try:
        for fields in reader:
            if fields and (len(fields) > 1 or fields[0].strip()):
                yield reader.line_num, fields
    except csv.Error as error:
        raise SourceError(
            f"{store.path(path)}: line {reader.line_num:,}: {error}, expected a table as text; check the file"
        ) from error


def read_table(store: Store, path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and ``(line, fields)`` of every row below it, without the white space around fields.

    Raises:
        SourceError: If the file is no table.
    """
    rows = [(line, [field.strip() for field in fields]) for line, fields in iter_rows(store, path)]
    rows = [(line, fields) for line, fields in rows if any(fields)]
    return (rows[0][1], rows[1:]) if rows else ([], [])


def read_head(store: Store, path: str) -> Head:
    """Return the first rows of a file, parted by the delimiter that they show."""
    data = store.read_range(path, 0, _HEAD_BYTES)
    encoding, num_skipped = _encoding(data)
    body = data[num_skipped:]
    if encoding != "utf-8":
        body = body.decode(encoding, "replace").encode("utf-8", "replace")
    lines = [_line_text(line) for line in body.splitlines()]
    if len(data) == _HEAD_BYTES and lines:
        lines.pop()
    lines = [line for line in lines if line.strip()]
    if b"\0" in body:
        return Head([], ",", is_text=False)
    delimiter = _delimiter(lines[:_SNIFFED_LINES])
    return Head(_split(lines, delimiter), delimiter, is_text=bool(lines) or not data)


def is_table(name: str) -> bool:
    """Tell whether a file name ends like a table written as text, in any case."""
    return name.lower().endswith(_SUFFIXES)


def are_equal(store: Store, paths: Sequence[str]) -> bool:
    """Tell whether files hold the same bytes; they are compared block by block."""
    sizes = {store.num_bytes(path) for path in paths}
    starts = range(0, max(sizes, default=0), _BLOCK_BYTES)
    return len(sizes) < 2 and all(
        len({store.read_range(path, start, min(start + _BLOCK_BYTES, starts.stop)) for path in paths}) == 1
        for start in starts
    )


def role_columns(header: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the columns that can name the image and those that can hold the label: one each, or there is a doubt.

    The usual names come first: where ``label`` is there, ``emotion`` beside it is something else.
    """
    return of_role(header, _PATH_NAMES), of_role(header, _LABEL_NAMES)


def find_columns(header: Sequence[str], where: str) -> tuple[int, int]:
    """Return the column of the image and that of the label.

    Raises:
        LayoutError: If one of them is missing, or there in several columns.
    """
    paths, labels = role_columns(header)
    if len(paths) != 1 or len(labels) != 1:
        raise LayoutError(
            f"{where}: header {', '.join(header) or 'of no column'} found, expected one column with the image (image, "
            "path, pth, filename) and one with the label (label, emotion, expression, class); correct the header"
        )
    return paths[0], labels[0]


def plain_name(cell: str) -> str:
    """Return the name of a column without what spellings differ in: case, spaces, quotes, ``_``, ``-`` and dots."""
    return _NOT_IN_NAME.sub("", cell).casefold()


def split_word(cell: str) -> str | None:
    """Return the split that a word in a table stands for, as folders are called or as columns have it, or None."""
    return split_of(cell) or _SPLIT_WORDS.get(plain_name(cell))


def of_role(header: Sequence[str], names: Sequence[frozenset[str]]) -> list[int]:
    """Return the columns that bear a name of the first group that any bears one of."""
    plain = [plain_name(cell) for cell in header]
    found = ([column for column, name in enumerate(plain) if name in group] for group in names)
    return next((columns for columns in found if columns), [])


def _delimiter(lines: Sequence[str]) -> str:
    """Return what parts lines into the most cells that name columns or images; white space if nothing else does."""
    best, num_best = ",", 0
    for delimiter in (*DELIMITERS, " "):
        rows = _split(lines, delimiter)
        num_telling = sum(_is_telling(cell) for row in rows if len(row) > 1 for cell in row)
        if num_telling > num_best and (delimiter != " " or not num_best):
            best, num_best = delimiter, num_telling
    return best


def _is_telling(cell: str) -> bool:
    return plain_name(cell) in _KNOWN_NAMES or (is_image(cell) and not any(mark in cell for mark in ",;|\t"))


def _split(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        return [line.split() for line in lines]
    try:
        return [[field.strip() for field in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return []


def _encoding(data: bytes) -> tuple[str, int]:
    """Return the encoding that the first bytes of a file show, and how many of them are its mark."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding, len(mark)
    half = min(len(data), _HEAD_BYTES) // 2
    even, odd = data[: 2 * half : 2].count(0), data[1 : 2 * half : 2].count(0)
    # Delimiters, digits and line ends alone leave so many zeros, on one side only.
    if max(even, odd) * 5 > half and min(even, odd) * 10 < max(even, odd):
        return ("utf-16-le" if odd > even else "utf-16-be"), 0
    return "utf-8", 0


def _utf8_blocks(store: Store, path: str) -> Iterator[bytes]:
    size = store.num_bytes(path)
    decoder: codecs.IncrementalDecoder | None = None
    for start in range(0, size, _BLOCK_BYTES):
        block = store.read_range(path, start, min(start + _BLOCK_BYTES, size))
        if start == 0:
            encoding, num_skipped = _encoding(block)
            block = block[num_skipped:]
            if encoding != "utf-8":
                decoder = codecs.getincrementaldecoder(encoding)("replace")
        is_last = start + _BLOCK_BYTES >= size
        yield decoder.decode(block, is_last).encode("utf-8", "replace") if decoder else block


def _line_text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _no_text(store: Store, path: str, line: int, what: str) -> SourceError:
    return SourceError(
        f"{store.path(path)}: line {line:,}: {what} found, expected a table as text; take an intact copy of the file"
    )
