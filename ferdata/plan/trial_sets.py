"""A sample of a data set's own images under every codec, in a temporary folder, to be timed there.

In: a data set. Out: small data sets, one a codec, and what an image costs in each. Costs some milliseconds an image.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from PIL import Image

from ferdata.errors import OptionError
from ferdata.format import (
    CODECS,
    REJECTS_NAME,
    SAMPLES_SCHEMA,
    Codec,
    DatasetIndex,
    Sample,
    ShardInfo,
    ShardReader,
    ShardTable,
    ShardWriter,
    read_samples,
    write_file,
    write_index,
    write_samples,
)
from ferdata.parallel import map_in_threads, usable_cores
from ferdata.plan.timing import now
from ferdata.store import Store

__all__ = ["SampleSet", "find_jpeg_obstacle", "write_sample_sets"]

SAMPLE_BYTES = 160 << 20
"""Pixels in a sample: more than the caches of most processors, few enough to be written in seconds."""
MAX_SAMPLES = 16_384
RUN_SAMPLES = 16
WRITE_SECONDS = 4.0
"""No image is begun after so long; a sample that is smaller for that is still one."""
REPEATED_SAMPLES = 1 << 16
"""An index lists the sample again and again up to so many samples, so that an epoch takes long enough to be timed."""

_CHANGED = (
    "exif_rotated",
    "box_clamped",
    "unusual_size",
    "first_page",
    "depth_reduced",
    "alpha",
    "palette",
    "cmyk",
    "colour",
)
_QUALITIES = range(20, 100, 4)

_MakeJpeg: TypeAlias = Callable[[ShardReader, int, np.ndarray], tuple[np.ndarray, bytes]]
"""Of a sample at a position of a shard, given its pixels: an image file, after the pixels that decoding it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """The sample under one codec.

    Attributes:
        root: Folder of the sample, a data set that a loader can read.
        index: Its index.
        bytes_per_image: Stored bytes of an image of the whole data set.
        is_stored: Whether the whole data set has this codec.
        note: What the reader should know.
    """

    root: Path
    index: DatasetIndex
    bytes_per_image: float
    is_stored: bool
    note: str = ""


def write_sample_sets(store: Store, index: DatasetIndex, work: Path) -> dict[str, SampleSet]:
    """Write the sample under every codec this data set can have; ``jpeg`` is left out where the images were changed.

    Where the data set is not ``jpeg`` but could be, the files are not here: JPEGs of the same size stand for them.
    """
    if not index.num_samples():
        raise OptionError(f"{store}: 0 samples found, expected some to measure with; run 'shard' first")
    chosen = _choose(index)
    rows = read_samples(store, index)
    make_jpeg, note = _jpegs(store, index, chosen, rows)
    codecs = [*(CODECS | {index.codec.name: index.codec}).values()]
    codecs = [codec for codec in codecs if not codec.needs_source or make_jpeg is not None]
    for codec in codecs:
        (work / codec.name).mkdir()

    deadline = now() + WRITE_SECONDS

    def write_part(number: int) -> list[ShardInfo]:
        return _write_part(store, index, chosen[number], number, codecs, make_jpeg, work, deadline)

    parts = map_in_threads(write_part, range(len(chosen)), num_workers=min(8, usable_cores()), progress=None)
    sets = {}
    for place, codec in enumerate(codecs):
        shards = [part[place] for part in parts]
        bytes_per_image = sum(info.num_bytes for info in shards) / sum(info.samples for info in shards)
        if is_stored := codec == index.codec:
            bytes_per_image = index.shards.num_bytes / index.num_samples()
        sets[codec.name] = SampleSet(
            root=work / codec.name,
            index=_write_index(work / codec.name, index, codec, shards),
            bytes_per_image=bytes_per_image,
            is_stored=is_stored,
            note=note if codec.needs_source else "",
        )
    return sets


def find_jpeg_obstacle(index: DatasetIndex, rows: pa.Table, samples: Sequence[Sample]) -> str:
    """Return why a data set of another codec could not have been ``jpeg``; empty where nothing speaks against it."""
    if index.codec.needs_source:
        return ""
    if index.spec.shape[0] != 3:
        return "its tensors are not [3, H, W]"
    if not all(path.lower().endswith((".jpg", ".jpeg")) for path in rows.column("path").to_pylist()):
        return "its images are not all JPEG files"
    if changed := [name for name in index.summary.get("repairs", {}) if name.startswith(_CHANGED)]:
        return f"images were changed ({', '.join(sorted(changed))})"
    size = [index.spec.shape[2], index.spec.shape[1]]
    if any(sample.record.get("source_size") != size for sample in samples):
        return "images were resized or cropped"
    return ""


def _jpegs(
    store: Store, index: DatasetIndex, chosen: list[tuple[ShardInfo, np.ndarray]], rows: pa.Table
) -> tuple[_MakeJpeg | None, str]:
    """Return what makes an image file of a sample, its own or one of about the same size, and what to know of it."""
    if index.codec.needs_source:
        return lambda reader, position, pixels: (pixels, bytes(reader.read_body(position))), ""
    info, positions = chosen[0]
    with ShardReader(store, info, index) as reader:
        samples = [reader.read(int(position)) for position in positions[:RUN_SAMPLES]]
    if obstacle := find_jpeg_obstacle(index, rows, samples):
        return None, obstacle
    sizes = rows.column("source_bytes").drop_null().to_numpy()
    target = float(sizes.mean()) * len(samples) if len(sizes) else 0.0
    quality = min(_QUALITIES, key=lambda quality: abs(sum(len(_encode(s.pixels, quality)) for s in samples) - target))

    def make(reader: ShardReader, position: int, pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
        data = _encode(pixels, quality)
        return np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1), data

    return make, (
        "the images are not here: figures are for JPEGs of the same size; "
        "run 'shard --codec jpeg' on the source, which says whether it can"
    )


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _choose(index: DatasetIndex) -> list[tuple[ShardInfo, np.ndarray]]:
    """Return shards and positions: runs of neighbours spread over the whole data set."""
    wanted = min(index.num_samples(), MAX_SAMPLES, max(RUN_SAMPLES, SAMPLE_BYTES // index.spec.num_bytes))
    shards = [info for info in index.shards if info.samples]
    step = max(1, math.ceil(len(shards) / 32))
    taken = shards[::step]
    each = math.ceil(wanted / len(taken))
    if sum(min(each, info.samples) for info in taken) < wanted:
        taken, each = shards, math.ceil(wanted / len(shards))
    return [(info, np.arange(min(each, info.samples))) for info in taken]


def _write_part(
    store: Store,
    index: DatasetIndex,
    chosen: tuple[ShardInfo, np.ndarray],
    number: int,
    codecs: Sequence[Codec],
    make_jpeg: _MakeJpeg | None,
    work: Path,
    deadline: float,
) -> list[ShardInfo]:
    info, positions = chosen
    names = [codec.shard_name("train", number) for codec in codecs]
    files = [open(work / codec.name / name, "wb") for codec, name in zip(codecs, names, strict=True)]  # noqa: SIM115 - closed below
    try:
        writers = [
            ShardWriter(file, replace(index, codec=codec).members, codec)
            for file, codec in zip(files, codecs, strict=True)
        ]
        with ShardReader(store, info, index) as reader:
            for position in positions.tolist():
                if position and now() > deadline:
                    break
                sample = reader.read(position)
                for codec, writer in zip(codecs, writers, strict=True):
                    if codec.needs_source and make_jpeg is not None:
                        pixels, data = make_jpeg(reader, position, sample.pixels)
                        writer.add(sample.key, sample.label, sample.record, pixels, data)
                    else:
                        writer.add(sample.key, sample.label, sample.record, sample.pixels)
        written = [writer.close() for writer in writers]
    finally:
        for file in files:
            file.close()
    return [ShardInfo.of(each, name=name, split="train") for name, each in zip(names, written, strict=True)]


def _write_index(root: Path, index: DatasetIndex, codec: Codec, shards: list[ShardInfo]) -> DatasetIndex:
    """Write an index that lists the sample's shards again and again, under other names that are links to them."""
    store = Store(root)
    samples = sum(info.samples for info in shards)
    written = list(shards)
    while len(shards) < len(written) * (REPEATED_SAMPLES // samples):
        info = written[len(shards) % len(written)]
        name = codec.shard_name("train", len(shards))
        (root / name).symlink_to(info.name)
        shards.append(replace(info, name=name))
    sizes = [info.samples for info in shards]
    position = np.concatenate([np.arange(size) for size in sizes])
    columns = {
        "key": [f"sample-{number}" for number in range(len(position))],
        "split": pa.array(["train"] * len(position)).dictionary_encode(),
        "label": np.zeros(len(position), np.int16),
        "shard": np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        "position": position.astype(np.int32),
        "frame": (2 * position + 1).astype(np.int32),
    }
    empty = {field.name: pa.nulls(len(position), field.type) for field in SAMPLES_SCHEMA if field.name not in columns}
    table = pa.table({name: (columns | empty)[name] for name in SAMPLES_SCHEMA.names})
    counts = [len(position)] + [0] * (len(index.classes) - 1)
    files = (write_samples(store, table), write_file(store, REJECTS_NAME, b""))
    repeated = replace(index, codec=codec, shards=ShardTable.of(shards), counts={"train": counts}, files=files)
    write_index(store, repeated)
    return repeated
