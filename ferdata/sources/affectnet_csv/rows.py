"""Rows of AffectNet's CSV files: the order of their columns, and what box and landmarks mean.

In: fields as text. Out: columns, boxes, landmarks, or None where they cannot be used. Landmarks cost 5 µs a row when
many rows are parsed together, 25 µs one by one.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import LayoutError
from ferdata.sources.affectnet.values import NUM_LANDMARK_VALUES
from ferdata.sources.files.listing import shorten
from ferdata.sources.files.text_tables import iter_rows, plain_name, role_columns
from ferdata.store import Store

__all__ = ["iter_official_rows", "landmark_text", "parse_box", "parse_landmarks", "sample_paths"]

_NUM_COLUMNS = 9
_WIDE_COLUMNS = 5 + NUM_LANDMARK_VALUES + 3
_NAMES = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "expression", "valence", "arousal")
_PLAIN_NAMES = tuple(map(plain_name, _NAMES))
_ENOUGH_NAMES = 5
_IMAGE_PATH = re.compile(r"(?:\d+[/\\])?[^/\\]+\.(?:jpe?g|png|bmp|tiff?)", re.IGNORECASE)


def sample_paths(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the image paths in the first rows of a CSV file of AffectNet's release, or None where it is none.

    The header tells, else the first data row: ``[<n>/]<hash>.<ext>``, and as many fields as the release has.
    """
    column = 0
    first: Sequence[str] = next((row for row in rows[:2] if row and _IMAGE_PATH.fullmatch(row[0])), ())
    if rows and len(set(_PLAIN_NAMES).intersection(map(plain_name, rows[0]))) >= _ENOUGH_NAMES:
        column = next(iter(role_columns(rows[0])[0]), 0)
    elif len(first) not in (_NUM_COLUMNS, _WIDE_COLUMNS):
        return None
    return [row[column] for row in rows if len(row) > column and _IMAGE_PATH.fullmatch(row[column])]


def iter_official_rows(store: Store, path: str) -> Iterator[tuple[int, Sequence[str], str]]:
    """Yield ``(line, fields, problem)`` for every data row, streamed; fields in the release's order, lines from 1.

    Where a header has another order, or more columns, fields are taken by its names. A row of another width has a
    problem, and its path stands first.

    Raises:
        LayoutError: If the header misses a column or has one twice.
        SourceError: If the file is no table.
    """
    rows = iter_rows(store, path)
    first = next(rows, None)
    if first is None:
        return
    order, width = _header_order(first[1], store.path(path)), len(first[1])
    if order is None:
        rows = chain((first,), rows)
    take = None if order is None or order == list(range(width)) else itemgetter(*order)
    widths = (_NUM_COLUMNS, _WIDE_COLUMNS) if take is None else (width,)
    expected = f"{_NUM_COLUMNS} or {_WIDE_COLUMNS}" if take is None else f"{width} as in the header"
    at = order[0] if order else 0
    for line, fields in rows:
        if len(fields) in widths:
            yield line, take(fields) if take else fields, ""
        else:
            yield line, fields[at : at + 1] or [""], f"{len(fields)} columns, expected {expected}"


def parse_box(fields: Sequence[str]) -> tuple[float, float, float, float] | None:
    """Return the box as written, None where it has no area or starts outside; the transform checks the far sides."""
    try:
        x, y, width, height = map(float, fields[1:5])
    except ValueError:
        return None
    is_usable = width > 0 and height > 0 and x + width > 0 and y + height > 0 and math.isfinite(x + y + width + height)
    return (x, y, width, height) if is_usable else None


def landmark_text(fields: Sequence[str]) -> str:
    """Return a row's landmarks as one text with ``;``, whether they stand in one field or in 136."""
    return fields[5].strip().strip(";") if len(fields) == _NUM_COLUMNS else ";".join(fields[5:-3])


def parse_landmarks(texts: Sequence[str]) -> list[np.ndarray | None]:
    """Return ``float32 [136]`` for each text, or None where it does not hold 136 finite numbers."""
    parts = pc.split_pattern(pa.array(texts, pa.string()), ";")
    try:
        values = pc.cast(parts.values, pa.float32()).to_numpy()
    except pa.ArrowInvalid:
        return [_parse_one(text) for text in texts]
    starts = parts.offsets.to_numpy()
    finite = np.isfinite(values)
    return [
        values[start:stop] if stop - start == NUM_LANDMARK_VALUES and finite[start:stop].all() else None
        for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]


def _parse_one(text: str) -> np.ndarray | None:
    try:
        values = np.array(list(map(float, text.split(";"))), np.float32)
    except ValueError:
        return None
    return values if len(values) == NUM_LANDMARK_VALUES and np.isfinite(values).all() else None


def _header_order(fields: Sequence[str], where: str) -> list[int] | None:
    """Return the columns of a header in the release's order, landmarks in one or in 136; None where the row is data.

    A row is the header if it neither starts with an image's path nor has a number for its class.

    Raises:
        LayoutError: If a column is missing, or there twice.
    """
    if _IMAGE_PATH.fullmatch(fields[0].strip()):
        return None
    plain = list(map(plain_name, fields))
    has_number = len(fields) >= _NUM_COLUMNS and _is_number(fields[-3])
    if has_number and len(set(plain).intersection(_PLAIN_NAMES)) < _ENOUGH_NAMES:
        return None
    paths, classes = role_columns(fields)
    places = [paths, *([at for at, name in enumerate(plain) if name == known] for known in _PLAIN_NAMES[1:])]
    places[5] = places[5] or classes
    wrong = [
        f"{len(columns) or 'no'} column{'s' * (len(columns) > 1)} {name}"
        for name, columns in zip(_NAMES, places, strict=True)
        if len(columns) != 1
    ]
    rest = sorted(set(range(len(fields))).difference(*places))
    if len(rest) not in (1, NUM_LANDMARK_VALUES):
        rest = [at for at in rest if "landmark" in plain[at]]
        if len(rest) not in (1, NUM_LANDMARK_VALUES):
            wrong.append(f"{len(rest) or 'no'} columns facial_landmarks")
    if wrong:
        raise LayoutError(
            f"{where}: header {shorten(fields)} found, with {', '.join(wrong)}, "
            f"expected {', '.join(_NAMES)} and facial_landmarks once each, in any order; correct the header"
        )
    path, x, y, width, height, expression, valence, arousal = (columns[0] for columns in places)
    return [path, x, y, width, height, *rest, expression, valence, arousal]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
