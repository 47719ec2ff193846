"""The json member of a sample: what it says, and how long it can get.

In: an item and what the transform made of it. Out: a JSON-ready dict; and, from all items at once, a bound on its
length, because every json member of a data set has the same size. The bound costs about 1 µs an item.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.images.transform import Transformed
from ferdata.sample import RARE_FIELDS, SourceItem
from ferdata.sources.items import ItemTable

__all__ = ["landmarks_fit", "longest_record", "make_record"]

_LANDMARK_LIMIT = 9_999.0
_LANDMARK_BYTES = len("-9999.99,")
_SIDE_BYTES = len("178956970,")
_FLOAT_BYTES = len(",-1.7976931348623157e+308")
# Everything but printable ASCII without the quote and the backslash takes more than one byte in JSON text.
_NEEDS_ESCAPE = r"[^ !#-\[\]-~]"


def make_record(item: SourceItem, result: Transformed) -> dict[str, Any]:
    """Return the json member of a sample; a value that the source does not have is null, or left out.

    ``landmarks`` are in pixels of the tensor, with two decimals; ``box`` is ``[x, y, width, height]`` in stored pixels
    of the source image, whose width and height are ``source_size``.
    """
    landmarks = result.landmarks
    box = result.box
    known = {name: value for name in RARE_FIELDS if (value := getattr(item, name)) is not None}
    return known | {
        "path": item.path,
        "source_label": item.source_label,
        "valence": _finite(item.valence),
        "arousal": _finite(item.arousal),
        "box": [round(value, 3) for value in box] if box is not None and all(map(math.isfinite, box)) else None,
        "landmarks": np.round(landmarks, 2).tolist() if landmarks is not None and landmarks_fit(landmarks) else None,
        "source_size": list(result.source_size),
        "extra": item.extra,
    }


def landmarks_fit(landmarks: np.ndarray) -> bool:
    """Tell whether landmarks are within thousands of pixels of the image; others are noise, and do not fit."""
    return bool(np.abs(landmarks).max(initial=0.0) <= _LANDMARK_LIMIT)


def longest_record(items: ItemTable) -> int:
    """Return a number of bytes that no record of these items exceeds as compact JSON text."""
    columns = map(items.table.column, RARE_FIELDS)
    rare = [name for name, column in zip(RARE_FIELDS, columns, strict=True) if column.null_count < len(column)]
    return max((_longest(piece, rare) for piece in items.pieces()), default=0)


def _longest(table: pa.Table, rare: Sequence[str]) -> int:
    lengths = _json_lengths(table.column("path")) + _json_lengths(table.column("source_label"))
    # The column holds JSON text already, and compact text is never longer.
    lengths += _to_numpy(pc.fill_null(pc.binary_length(table.column("extra")), len("null")))
    lengths += _LANDMARK_BYTES * _to_numpy(pc.fill_null(pc.list_value_length(table.column("landmarks")), 1))
    lengths += _FLOAT_BYTES * _to_numpy(pc.fill_null(pc.list_value_length(table.column("box")), 1))
    for name in rare:
        column, frame = table.column(name), len(f',"{name}":')
        if name == "soft_labels":
            lengths += frame + _FLOAT_BYTES * (1 + _to_numpy(pc.fill_null(pc.list_value_length(column), 0)))
        else:
            lengths += frame + _json_lengths(column.cast(pa.string()).fill_null(""))
    names = len('{"path":,"source_label":,"valence":,"arousal":,"box":[],"landmarks":[],"source_size":[],"extra":}')
    return names + 2 * _FLOAT_BYTES + 2 * _SIDE_BYTES + int(lengths.max())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _json_lengths(column: pa.ChunkedArray) -> np.ndarray:
    texts = column.cast(pa.string())
    lengths = _to_numpy(pc.binary_length(texts)) + 2
    for row in np.flatnonzero(pc.match_substring_regex(texts, _NEEDS_ESCAPE).to_numpy()):
        lengths[row] = len(json.dumps(texts[int(row)].as_py()))
    return lengths


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_numpy(), dtype=np.int64)
