"""Rows of AffectNet's CSV files: stream them, and make sense of box and landmarks.

In: a CSV file, fields as text. Out: rows, boxes, landmarks, or None where they cannot be used. Landmarks cost 5 µs a row when many rows
are parsed together, 25 µs one by one.
"""

import csv
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import SourceError
from ferdata.sources.affectnet import NUM_LANDMARK_VALUES
from ferdata.sources.csv_head import AFFECTNET_COLUMNS, has_affectnet_path
from ferdata.store import Store

__all__ = ["iter_csv_rows", "is_header", "landmark_text", "parse_box", "parse_landmarks"]

_BLOCK_BYTES = 1 << 22


def iter_csv_rows(store: Store, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line, fields)`` for every row that is not blank, the header included; lines count from 1. The file is streamed.

    Raises:
        SourceError: If the file is no CSV.
    """
    reader = csv.reader(_lines(store, path))
    try:
        for fields in reader:
            if fields and (len(fields) > 1 or fields[0].strip()):
                yield reader.line_num, fields
    except csv.Error as error:
        raise SourceError(
            f"{store.path(path)}: line {reader.line_num:,}: {error}, expected comma-separated text; check the file"
        ) from error


def is_header(fields: Sequence[str]) -> bool:
    """A row is the header if it neither starts with an image's path nor has a number for its class."""
    if has_affectnet_path(list(fields[:1])):
        return False
    try:
        float(fields[-3] if len(fields) >= AFFECTNET_COLUMNS else "")
    except ValueError:
        return True
    return False


def parse_box(fields: Sequence[str]) -> tuple[float, float, float, float] | None:
    """Return the box as written, or None where it has no area or lies left of or above the image; the transform sees the other sides."""
    try:
        x, y, width, height = float(fields[1]), float(fields[2]), float(fields[3]), float(fields[4])
    except ValueError:
        return None
    if not math.isfinite(x + y + width + height) or width <= 0 or height <= 0 or x + width <= 0 or y + height <= 0:
        return None
    return x, y, width, height


def landmark_text(fields: Sequence[str]) -> str:
    """Return a row's landmarks as one text with ``;``, whether they stand in one field or in 136."""
    return fields[5].strip().strip(";") if len(fields) == AFFECTNET_COLUMNS else ";".join(fields[5:-3])


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


def _lines(store: Store, path: str) -> Iterator[str]:
    size = store.num_bytes(path)
    rest = b""
    for start in range(0, size, _BLOCK_BYTES):
        block = rest + store.read_range(path, start, min(start + _BLOCK_BYTES, size))
        if start == 0:
            block = block.removeprefix(b"\xef\xbb\xbf")
        cut = block.rfind(b"\n") + 1
        rest = block[cut:]
        yield from (line.decode("utf-8", "replace") for line in block[:cut].splitlines(keepends=True))
    yield from (line.decode("utf-8", "replace") for line in rest.splitlines(keepends=True))
