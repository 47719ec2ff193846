"""A large data set from few photographs, straight through the format layer; smaller ones are its first shards.

In: decoded pixels, numbers of images. Out: finished folders; a smaller one links the larger one's files, so it costs no
room and shares its page cache. About 100 µs per image.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ferdata.dataset.builtin import has_shards
from ferdata.format import (
    REJECTS_NAME,
    SAMPLES_SCHEMA,
    Codec,
    DatasetIndex,
    FileInfo,
    ShardInfo,
    ShardReader,
    ShardTable,
    ShardWriter,
    json_bytes_for,
    make_codec,
    read_index,
    read_samples,
    write_file,
    write_index,
    write_samples,
)
from ferdata.labels import AFFECTNET_8
from ferdata.parallel import map_in_threads
from ferdata.sample import TensorSpec
from ferdata.store import Store

__all__ = ["first_shards", "read_pixels", "tile"]

JSON_BYTES = json_bytes_for(100)


def read_pixels(root: Path) -> np.ndarray:
    """Return every image of a data set, uint8 ``[N, 3, H, W]``."""
    store = Store(root)
    index = read_index(store)
    pixels = np.empty((index.num_samples(), *index.spec.shape), np.uint8)
    at = 0
    for info in index.shards:
        with ShardReader(store, info, index) as reader:
            positions = np.arange(len(reader))
            reader.read_rows(positions, pixels.reshape(len(pixels), -1), positions + at)
            at += len(reader)
    return pixels


def tile(pixels: np.ndarray, out: Path, *, count: int, codec: str, samples_per_shard: int, num_workers: int) -> None:
    """Write ``count`` samples to ``out``, if no data set is there: sample ``i`` is image ``i % len(pixels)``."""
    if has_shards(out):
        return
    store, options = Store(out), make_codec(codec)
    store.make_dir()
    spec = TensorSpec(dtype="uint8", shape=pixels.shape[1:])
    starts = range(0, count, samples_per_shard)
    write = partial(_write_shard, pixels, out, options, samples_per_shard, count)
    shards = map_in_threads(write, starts, num_workers=num_workers, progress=None)
    rows = [_row(number, samples_per_shard) for number in range(count)]
    mean, std = _moments(pixels, count)
    index = DatasetIndex(
        source="folder",
        source_layout="photographs, repeated",
        codec=options,
        spec=spec,
        json_bytes=JSON_BYTES,
        transform={"fingerprint": "0" * 32, "settings": {"size": spec.shape[1]}, "libraries": {}},
        settings={"seed": 0},
        classes=AFFECTNET_8,
        counts={"train": _counts(count)},
        mean=mean,
        std=std,
        files=_files(store, pa.Table.from_pylist(rows, SAMPLES_SCHEMA)),
        shards=ShardTable.of(shards),
        summary=_summary(count),
    )
    write_index(store, index)


def first_shards(root: Path, out: Path, *, pixels: np.ndarray, num_shards: int) -> int:
    """Make ``out`` the first shards of ``root``, tiled from ``pixels``, by links; return its number of images."""
    index = read_index(Store(root))
    shards = index.shards[:num_shards]
    count = int(shards.samples.sum())
    if has_shards(out):
        return count
    store = Store(out)
    store.make_dir()
    for info in shards:
        if not (out / info.name).exists():
            os.link(root / info.name, out / info.name)
    table = read_samples(Store(root), index).slice(0, count)
    mean, std = _moments(pixels, count)
    counted: dict[str, Any] = {
        "counts": {"train": _counts(count)},
        "summary": _summary(count),
        "mean": mean,
        "std": std,
    }
    write_index(store, replace(index, files=_files(store, table), shards=shards, **counted))
    return count


def _write_shard(
    pixels: np.ndarray, out: Path, codec: Codec, samples_per_shard: int, count: int, start: int
) -> ShardInfo:
    spec = TensorSpec(dtype="uint8", shape=pixels.shape[1:])
    members = codec.members(spec, num_classes=len(AFFECTNET_8), json_bytes=JSON_BYTES)
    name = codec.shard_name("train", start // samples_per_shard)
    with Store(out).write_atomic(name) as file:
        writer = ShardWriter(file, members, codec)
        for number in range(start, min(start + samples_per_shard, count)):
            writer.add(_key(number), number % len(AFFECTNET_8), {}, pixels[number % len(pixels)])
        written = writer.close()
    return ShardInfo.of(written, name=name, split="train")


def _files(store: Store, samples: pa.Table) -> tuple[FileInfo, FileInfo]:
    return write_samples(store, samples), write_file(store, REJECTS_NAME, b"split,key,path,row,reason,detail\n")


def _summary(count: int) -> dict[str, Any]:
    return {"accepted": count, "skipped": {}, "rejected": {}}


def _moments(pixels: np.ndarray, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation by channel of ``count`` images that take their turns."""
    turns = np.bincount(np.arange(count) % len(pixels), minlength=len(pixels))
    planes = pixels.reshape(*pixels.shape[:2], -1)
    sums = turns @ planes.sum(axis=2, dtype=np.int64)
    squares = turns @ np.stack([(image.astype(np.int64) ** 2).sum(axis=1) for image in planes])
    mean = sums / (count * planes.shape[2])
    return tuple(mean.tolist()), tuple(np.sqrt(squares / (count * planes.shape[2]) - mean**2).tolist())


def _key(number: int) -> str:
    return f"{number:07d}"


def _counts(count: int) -> list[int]:
    return [len(range(label, count, len(AFFECTNET_8))) for label in range(len(AFFECTNET_8))]


def _row(number: int, samples_per_shard: int) -> dict[str, Any]:
    shard, position = divmod(number, samples_per_shard)
    return {
        "key": _key(number),
        "split": "train",
        "label": number % len(AFFECTNET_8),
        "path": f"{_key(number)}.jpg",
        "source_label": str(number % len(AFFECTNET_8)),
        "source_bytes": 0,
        "source_xxh64": number,
        "shard": shard,
        "frame": 2 * position + 1,
        "position": position,
    }
