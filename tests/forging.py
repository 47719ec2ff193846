"""Files of a data set made over by somebody who wants to be believed: every checksum fits.

In: a finished data set and what to change. Out: the same folder, forged.
"""

import contextlib
import dataclasses
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
import zstandard

from ferdata.format import DatasetIndex, ShardTable, read_index, write_index
from ferdata.format.container.frame_tar import seek_table
from ferdata.format.samples import file_parts
from ferdata.store import Store

__all__ = ["forge", "forge_file", "frames_of", "rewrite_index", "shard_of", "tail_of"]


def forge(root: Path, name: str, data: bytes) -> DatasetIndex:
    """Replace a shard, and make the index true of its size, hash and tail, as whoever wants to be believed does."""
    (root / name).write_bytes(data)
    index = read_index(Store(str(root)))
    shards = [
        dataclasses.replace(
            info,
            num_bytes=len(data),
            xxh64=xxhash.xxh64_hexdigest(data),
            tail_xxh64=xxhash.xxh64_hexdigest(tail_of(data, info.samples, compressed=name.endswith(".zst"))),
        )
        if info.name == name
        else info
        for info in index.shards
    ]
    forged = dataclasses.replace(index, shards=ShardTable.of(shards))
    write_index(Store(str(root)), forged)
    return forged


def frames_of(data: bytes, num_samples: int) -> list[bytes]:
    """Return the zstd frames of a shard."""
    count = 2 * num_samples + 1
    sizes = struct.unpack_from(f"<{2 * count}I", data, len(data) - 9 - 8 * count)[::2]
    stops = np.cumsum(sizes).tolist()
    return [data[stop - size : stop] for stop, size in zip(stops, sizes, strict=True)]


def shard_of(frames: list[bytes], inflated: list[int] | None = None) -> bytes:
    """Return a shard of frames, with a seek table that is true of them or claims other inflated sizes."""
    sizes = inflated or [zstandard.frame_content_size(frame) for frame in frames]
    return b"".join(frames) + seek_table(np.array([*zip(map(len, frames), sizes, strict=True)], np.uint32))


def tail_of(data: bytes, num_samples: int, *, compressed: bool) -> bytes:
    """Return what the index has the XXH64 of: FORMAT.md, 7.1 and 8."""
    if not compressed:
        content = 24 + 12 * num_samples
        return data[-(512 + content + -content % 512 + 1024) :]
    table_bytes = 17 + 8 * (2 * num_samples + 1)
    end_bytes = int.from_bytes(data[-17:-13], "little") if len(data) >= 17 else 0
    return data[-(table_bytes + end_bytes + 4) :]


def rewrite_index(root: Path, change: Callable[[dict], object]) -> None:
    """Change ``index.json`` and give it the checksum of its new text."""
    record = json.loads((root / "index.json").read_bytes())
    del record["xxh64"]
    change(record)
    text = json.dumps(record, indent=1)[:-2].encode()
    (root / "index.json").write_bytes(text + f',\n "xxh64": "{xxhash.xxh64_hexdigest(text)}"\n}}\n'.encode())


def forge_file(root: Path, name: str, data: bytes) -> None:
    """Replace a file beside the shards, and make the index true of it."""
    (root / name).write_bytes(data)
    parts: list[str] = []
    if name == "samples.parquet":
        with contextlib.suppress(pa.ArrowException, OSError):  # it may be no Parquet file at all
            parts = [*map(xxhash.xxh64_hexdigest, file_parts(io.BytesIO(data)))]
    entry = {"name": name, "num_bytes": len(data), "xxh64": xxhash.xxh64_hexdigest(data), "parts_xxh64": parts}
    rewrite_index(
        root, lambda record: record.update(files=[entry if info["name"] == name else info for info in record["files"]])
    )
