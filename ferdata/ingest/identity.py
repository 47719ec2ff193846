"""What makes a data set what it is, and how two differ: its source's items, its settings, the libraries that decode.

In: a scan, settings. Out: a hash that does not depend on where the tree lies or how its table is cut, and words.
Hashing costs about 0.5 s per million items.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple
from importlib import metadata
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from PIL import features

from ferdata.format.codecs import Codec
from ferdata.sources.scan import Scan

__all__ = ["describe_changes", "flat_settings", "libraries", "scan_hash"]

_IMPLIED = {"level": "codec"}
"""Settings that follow another one, unless they alone are another."""
_NO_OPTIONS = {
    "source": "source",
    "resample": "resampling",
    "background": "background",
    "transform_version": "version of the transform",
    "format_version": "version of the shard format",
}
_BATCH_ROWS = 1 << 16


def scan_hash(scan: Scan) -> str:
    """Return 32 hex digits over the items, rejects, counts and class names of a scan."""
    digest = xxhash.xxh3_128()
    head = [
        scan.source,
        scan.layout,
        list(scan.classes),
        dict(scan.skipped),
        dict(scan.repairs),
        [astuple(reject) for reject in scan.rejects],
    ]
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name in scan.items.table.column_names:
        for piece in scan.items.pieces([name], num_rows=_BATCH_ROWS):
            column = piece.column(name)
            _add_column(digest, column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column)
    return digest.hexdigest()


def _add_column(digest: "xxhash.xxh3_128", column: pa.ChunkedArray) -> None:
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if pa.types.is_list(column.type):
        digest.update(pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int32).tobytes())
    if pa.types.is_string(column.type):
        texts = pc.fill_null(column, "")
        digest.update(pc.binary_length(texts).to_numpy().astype(np.int32).tobytes())
        digest.update("".join(texts.to_pylist()).encode())
        return
    for chunk in column.chunks:  # landmarks of all of them are 36 MB, several times
        values = pc.list_flatten(chunk) if pa.types.is_list(column.type) else chunk
        digest.update(pc.fill_null(values, 0).to_numpy().tobytes())


def flat_settings(
    source: str, codec: Codec, transform: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that decides a data set's bytes, as one object of an index."""
    return {
        "source": source,
        **{"codec" if name == "name" else name: value for name, value in codec.to_json().items()},
        **{name if name != "version" else "transform_version": value for name, value in transform.items()},
        **settings,
    }


def libraries() -> dict[str, str]:
    """Return the versions of everything between a file and its pixels."""
    try:
        name = "pillow-simd" if metadata.version("pillow-simd") == PIL.__version__ else "pillow"
    except metadata.PackageNotFoundError:
        name = "pillow"
    return {name: PIL.__version__, "libjpeg": str(features.version("libjpeg_turbo") or features.version("jpg"))}


def describe_changes(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return how a data set's settings differ from those asked for, as the options typed; empty if they do not."""
    names = [
        name
        for name in (*expected, *(name for name in found if name not in expected))
        if found.get(name) != expected.get(name)
    ]
    texts = []
    for name in names:
        old, new = found.get(name), expected.get(name)
        if name == "libraries":
            old, new = (dict(value) if isinstance(value, Mapping) else {} for value in (old, new))
            changed = (each for each in {**old, **new} if old.get(each) != new.get(each))
            texts += [f"{each} {_word(old.get(each))} (now {_word(new.get(each))})" for each in changed]
        elif name == "scan":
            if names == ["scan"]:
                texts.append("other images or labels in the source (they were changed since, or src= is another)")
        elif _IMPLIED.get(name) not in names:
            called = f"{_NO_OPTIONS[name]} " if name in _NO_OPTIONS else f"{name}="
            texts.append(f"{called}{_word(old)} (now {_word(new)})")
    return ", ".join(texts)


def _word(value: object) -> object:
    if value is None:
        return "none"
    return value if not isinstance(value, bool) else "yes" if value else "no"
