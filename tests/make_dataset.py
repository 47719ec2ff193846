"""A small data set made straight through the format layer, for the tests of whatever reads shards.

In: sizes. Out: a finished folder whose every value is a formula of the sample's number, so loss, repeats and mix-ups
show. Samples are numbered over all splits in reading order: with 40 train and 12 val samples, val holds 40 to 51.
"""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from PIL import Image

from ferdata.format import (
    REJECTS_NAME,
    SAMPLES_SCHEMA,
    DatasetIndex,
    Sample,
    ShardInfo,
    ShardReader,
    ShardTable,
    ShardWriter,
    json_bytes_for,
    make_codec,
    read_index,
    write_file,
    write_index,
    write_samples,
)
from ferdata.labels import AFFECTNET_8
from ferdata.sample import TensorSpec
from ferdata.store import Store

__all__ = [
    "CODECS",
    "assert_expected",
    "expected_key",
    "expected_label",
    "expected_pixels",
    "expected_record",
    "make_dataset",
    "read_all",
    "sample_number",
]

CODECS = ("raw", "zstd", "compact")
"""Codecs that store any pixels, whatever they come from."""

SAMPLES: Mapping[str, int] = {"train": 40, "val": 12}


def expected_pixels(number: int, size: int) -> np.ndarray:
    """Return uint8 ``[3, size, size]``: a slanted ramp as the number has it; its first 4 bytes are ``number``."""
    channel, y, x = np.ogrid[:3, :size, :size]
    pixels = ((number * 89 + channel * 57 + y * (3 + number % 5) + x * 2 + x * y * number % 7) % 256).astype(np.uint8)
    pixels.reshape(-1)[:4] = np.frombuffer(int(number).to_bytes(4, "little"), np.uint8)
    return pixels


def sample_number(pixels: np.ndarray) -> int:
    """Return the number of the sample that ``pixels`` (any shape, C order) were made for."""
    return int.from_bytes(pixels.reshape(-1)[:4].tobytes(), "little")


def expected_label(number: int, num_classes: int = 8) -> int:
    """Return the class of a sample: half of them are of class 1, as faces are mostly happy; the rest take turns."""
    return number // 2 % num_classes if number % 2 else min(1, num_classes - 1)


def expected_key(number: int) -> str:
    """Return the key of a sample."""
    return f"face-{number:06d}"


def expected_record(number: int) -> dict[str, object]:
    """Return the json of a sample; every eleventh has no valence and arousal."""
    known = number % 11 != 0
    return {
        "path": f"images/{number}.jpg",
        "source_label": str(expected_label(number)),
        "valence": (number % 21 - 10) / 10 if known else None,
        "arousal": (number % 17 - 8) / 8 if known else None,
    }


def make_dataset(
    root: str | Path,
    *,
    codec: str = "zstd",
    size: int = 16,
    samples: Mapping[str, int] = SAMPLES,
    samples_per_shard: int = 16,
    classes: Sequence[str] = AFFECTNET_8,
    seed: int = 0,
    level: int | None = None,
    sources: Sequence[bytes] = (),
    channels: int = 3,
) -> DatasetIndex:
    """Write a data set below ``root`` (a path or URL) and return its index.

    Args:
        root: Folder to write to; made where it is missing.
        codec: Name of the codec.
        size: Height and width of the images, at least 2.
        samples: Split -> number of samples.
        samples_per_shard: Samples of every shard but a split's last.
        classes: Class names.
        seed: Recorded in the settings only; the samples stand in the order of their numbers.
        level: zstd level; the codec's own default where None.
        channels: Channels of the images: the first of those of the formula.
        sources: For ``jpeg``: the image file of every sample, whose pixels are then the sample's.
    """

    def pixels_of(number: int) -> np.ndarray:
        if sources:
            return np.asarray(Image.open(BytesIO(sources[number])).convert("RGB")).transpose(2, 0, 1)
        return expected_pixels(number, size)[:channels]

    store = Store(str(root))
    store.make_dir()
    chosen = make_codec(codec, level)
    spec = TensorSpec(dtype="uint8", shape=(channels, size, size))
    members = chosen.members(spec, num_classes=len(classes), json_bytes=json_bytes_for(1))
    counts = {split: [0] * len(classes) for split in samples}
    rows: list[dict[str, Any]] = []
    shards: list[ShardInfo] = []
    for split, num_samples in samples.items():
        for shard in range(math.ceil(num_samples / samples_per_shard)):
            name = chosen.shard_name(split, shard)
            with store.write_atomic(name) as file:
                writer = ShardWriter(file, members, chosen)
                for position in range(min(samples_per_shard, num_samples - shard * samples_per_shard)):
                    number = len(rows)
                    label = expected_label(number, len(classes))
                    row = _row(number, len(classes)) | {
                        "split": split,
                        "shard": shard,
                        "frame": 2 * position + 1,
                        "position": position,
                    }
                    source = sources[number] if sources else None
                    if source is not None:
                        row |= {"source_bytes": len(source), "source_xxh64": xxhash.xxh64_intdigest(source)}
                    writer.add(row["key"], label, expected_record(number), pixels_of(number), source)
                    counts[split][label] += 1
                    rows.append(row)
                written = writer.close()
            shards.append(ShardInfo.of(written, name=name, split=split))
    counted = samples.get("train") or len(rows)
    mean, std = _moments([pixels_of(number) for number in range(counted)])
    index = DatasetIndex(
        source="folder",
        source_layout="made for tests",
        codec=chosen,
        spec=spec,
        json_bytes=members.json_bytes,
        transform={"fingerprint": "0123456789abcdef" * 2, "settings": {"size": size}, "libraries": {}},
        settings={"seed": seed},
        classes=tuple(classes),
        counts=counts,
        mean=mean,
        std=std,
        files=(
            write_samples(store, pa.Table.from_pylist(rows, SAMPLES_SCHEMA)),
            write_file(store, REJECTS_NAME, b"split,key,path,row,reason,detail\n"),
        ),
        shards=ShardTable.of(shards),
        summary={"accepted": len(rows), "skipped": {}, "rejected": {}},
    )
    write_index(store, index)
    return index


def read_all(root: str | Path) -> list[Sample]:
    """Return every sample of a data set, in reading order."""
    store = Store(str(root))
    index = read_index(store)
    samples: list[Sample] = []
    for info in index.shards:
        with ShardReader(store, info, index) as reader:
            samples.extend(reader)
    return samples


def assert_expected(samples: list[Sample], *, num_samples: int, size: int, num_classes: int = 8) -> None:
    """Compare samples with the formulas that ``make_dataset`` wrote, from number 0 on."""
    assert [sample.key for sample in samples] == [expected_key(number) for number in range(num_samples)]
    for number, sample in enumerate(samples):
        assert sample.label == expected_label(number, num_classes)
        assert sample.record == expected_record(number)
        np.testing.assert_array_equal(sample.pixels, expected_pixels(number, size))


def _row(number: int, num_classes: int) -> dict[str, Any]:
    path = f"images/{number}.jpg"
    return expected_record(number) | {
        "key": expected_key(number),
        "label": expected_label(number, num_classes),
        "source_bytes": 1000 + number,
        "source_xxh64": xxhash.xxh64_intdigest(path.encode()),
    }


def _moments(images: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel over all pixels."""
    channels = images[0].shape[0] if images else 3
    total, squares, count = np.zeros(channels, np.int64), np.zeros(channels, np.int64), 0
    for image in images:
        pixels = image.astype(np.int64)
        total += pixels.sum(axis=(1, 2))
        squares += (pixels**2).sum(axis=(1, 2))
        count += pixels[0].size
    mean = np.asarray(total / max(1, count))
    return tuple(mean.tolist()), tuple(np.sqrt(squares / max(1, count) - mean**2).tolist())
