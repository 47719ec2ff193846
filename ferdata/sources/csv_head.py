"""The first rows of a CSV file: what detection looks at, and whether there is a header.

In: a store and a path. Out: rows of text. Costs one read of 64 kB.
"""

import csv
import re

from ferdata.store import Store

__all__ = ["AFFECTNET_COLUMNS", "AFFECTNET_WIDE_COLUMNS", "has_affectnet_path", "is_affectnet_head", "read_head"]

AFFECTNET_COLUMNS = 9
AFFECTNET_WIDE_COLUMNS = 5 + 136 + 3
_HEAD_BYTES = 1 << 16
_IMAGE_PATH = re.compile(r"(?:\d+[/\\])?[^/\\]+\.(?:jpe?g|png|bmp|tiff?)", re.IGNORECASE)


def read_head(store: Store, path: str) -> list[list[str]]:
    """Return the whole rows among the first 64 kB, without blank ones; a byte-order mark and any line ends are fine."""
    data = store.read_range(path, 0, _HEAD_BYTES)
    text = data.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    if len(data) == _HEAD_BYTES and lines:
        lines.pop()
    return [[field.strip() for field in row] for row in csv.reader(line for line in lines if line.strip())]


def has_affectnet_path(row: list[str]) -> bool:
    """Tell whether a row starts with ``<n>/<hash>.<ext>`` or ``<hash>.<ext>``: a data row of AffectNet's CSV, not its header."""
    return bool(row) and _IMAGE_PATH.fullmatch(row[0].strip()) is not None


def is_affectnet_head(rows: list[list[str]]) -> bool:
    """Tell whether the first data row, after a header or at once, is one of AffectNet's CSV release."""
    data = next((row for row in rows[:2] if has_affectnet_path(row)), None)
    return data is not None and len(data) in (AFFECTNET_COLUMNS, AFFECTNET_WIDE_COLUMNS)
