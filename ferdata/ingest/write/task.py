"""What one worker does: read, transform and store the items of one shard. The same task always gives the same bytes.

In: a slice of the item table. Out: a shard file that waits to be committed, and its :class:`PartRecord`. Memory: one
sample (for parquet sources, the image files of one shard).
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import xxhash

from ferdata.errors import FerdataError, IngestError
from ferdata.format.codecs import Codec
from ferdata.format.index import ShardInfo
from ferdata.format.kernels import channel_moments, split_rgbx_into
from ferdata.format.writer import ShardWriter, WrittenShard
from ferdata.images.transform import ImageRejectedError, Transform, Transformed, TransformOptions
from ferdata.ingest.reading import read_sources
from ferdata.ingest.select.checks import jpeg_refusal
from ferdata.ingest.write.doubt import Streak
from ferdata.ingest.write.parts import PartRecord, open_shard
from ferdata.ingest.write.record import make_record
from ferdata.parallel import Beat
from ferdata.sample import SourceItem
from ferdata.sources.items import ItemTable
from ferdata.store import Store

__all__ = ["ShardTask", "TaskSettings", "usable_now", "write_shard"]

_MISSING = (FileNotFoundError, NotADirectoryError)
_BATCH_IMAGES = 8
_streak = Streak()  # of this worker process: a shard of few images must not hide that every one fails


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What every task of an ingest shares.

    Attributes:
        root: Folder or URL of the images.
        out: Folder or URL of the data set.
        transform: Settings of the transform.
        codec: How pixels are stored.
        num_classes: Classes of the data set.
        json_bytes: Size of every json member.
        usual_size: Side the images of this layout have; others are counted. None where any size is usual.
    """

    root: str
    out: str
    transform: TransformOptions
    codec: Codec
    num_classes: int
    json_bytes: int
    usual_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One shard to write: file name, split, and its items in the order they are stored."""

    name: str
    split: str
    items: ItemTable


def write_shard(settings: TaskSettings, task: ShardTask, beat: Beat) -> PartRecord:
    """Write one shard beside its final place and return what became of its items.

    An image that cannot be used is left out and recorded with its reason; the shard is that much shorter.

    Raises:
        IngestError: If the codec must keep an image's own bytes and cannot.
        SourceError: If many images in a row fail alike.
    """
    spec = Transform(settings.transform).spec
    members = settings.codec.members(spec, num_classes=settings.num_classes, json_bytes=settings.json_bytes)
    tally = _Tally(settings, len(task.items))
    usable = _usable(settings, task, tally, beat)
    batches = iter(lambda: list(islice(usable, _BATCH_IMAGES)), [])
    first = next(batches, None)
    if first is None:
        return tally.record(task, WrittenShard(samples=0, num_bytes=0, xxh64="", tail_xxh64=""))
    with open_shard(Store(settings.out), task.name) as file:
        writer = ShardWriter(file, members, settings.codec)
        for number, item, data, result in chain(first, chain.from_iterable(batches)):
            writer.add(item.key, item.label, make_record(item, result), result.pixels, data)
            tally.accept(number, data, result)
            beat(1, 0, len(data))
        return tally.record(task, writer.close())


def _usable(
    settings: TaskSettings, task: ShardTask, tally: "_Tally", beat: Beat
) -> Iterator[tuple[int, SourceItem, bytes, Transformed]]:
    transform = Transform(settings.transform, split=split_rgbx_into)
    for number, (item, data) in enumerate(
        zip(_items(task.items), read_sources(settings.root, task.items), strict=True)
    ):
        if isinstance(data, FerdataError):
            tally.reject(
                number, "image_missing" if isinstance(data.__cause__, _MISSING) else "image_unreadable", data, 0
            )
            beat(0, 1, 0)
            continue
        try:
            result = transform.apply(data, item)
        except ImageRejectedError as error:
            tally.reject(number, error.reason, error, len(data))
            beat(0, 1, len(data))
            continue
        if settings.codec.needs_source and (refusal := jpeg_refusal(data, result)):
            raise IngestError(
                f"{item.path}: {refusal}, expected a JPEG that the transform leaves as it is; choose codec=zstd"
            )
        yield number, item, data, result


def usable_now(settings: TaskSettings, items: ItemTable) -> Iterator[str]:
    """Yield the paths of those images that could be stored now; for images that were rejected once."""
    transform = Transform(settings.transform)
    for item, data in zip(_items(items), read_sources(settings.root, items), strict=True):
        if not isinstance(data, FerdataError):
            with contextlib.suppress(ImageRejectedError):
                transform.apply(data, item)
                yield item.path


def _items(items: ItemTable) -> Iterator[SourceItem]:
    # Landmarks stay slices of one array: 136 Python floats an item would cost more than its tar headers.
    if not len(items):
        return
    table = items.table.combine_chunks()
    landmarks = table.column("landmarks").chunk(0)
    values, offsets = landmarks.values.to_numpy(zero_copy_only=False), landmarks.offsets.to_numpy()
    has_landmarks = landmarks.is_valid().to_numpy(zero_copy_only=False)
    for number, row in enumerate(table.drop_columns(["landmarks"]).to_pylist()):
        row["box"] = tuple(row["box"]) if row["box"] is not None else None
        # Python writes NaN into JSON text; other parsers stop at it.
        row["extra"] = json.loads(row["extra"], parse_constant=lambda name: None) if row["extra"] else None
        yield SourceItem(
            **row, landmarks=values[offsets[number] : offsets[number + 1]] if has_landmarks[number] else None
        )


class _Tally:
    """Counts what becomes of the items of one task."""

    def __init__(self, settings: TaskSettings, num_items: int) -> None:
        self._root = settings.root.rstrip("/")
        self._usual_size = settings.usual_size
        channels = settings.transform.channels
        self._sums, self._squares, self._pixels = np.zeros(channels, np.int64), np.zeros(channels, np.int64), 0
        self._repairs: Counter[str] = Counter()
        self._rejects: list[tuple[int, str, str]] = []
        self._source_bytes, self._source_xxh64 = np.zeros(num_items, np.int64), np.zeros(num_items, np.uint64)
        self._bytes_in = 0

    def accept(self, number: int, data: bytes, result: Transformed) -> None:
        self._source_bytes[number] = len(data)
        self._source_xxh64[number] = xxhash.xxh64_intdigest(data)
        self._bytes_in += len(data)
        if result.repairs:
            self._repairs.update(result.repairs)
        if self._usual_size is not None and result.source_size != (self._usual_size, self._usual_size):
            self._repairs["unusual_size"] += 1
        sums, squares = channel_moments(result.pixels)
        self._sums += sums
        self._squares += squares
        self._pixels += result.pixels[0].size
        _streak.end()

    def reject(self, number: int, reason: str, error: FerdataError, num_bytes: int) -> None:
        _streak.add(self._root, reason, error)
        self._source_bytes[number] = -1
        self._bytes_in += num_bytes
        self._rejects.append((number, reason, str(error).replace(f"{self._root}/", "")))

    def record(self, task: ShardTask, written: WrittenShard) -> PartRecord:
        return PartRecord(
            shard=ShardInfo.of(written, name=task.name, split=task.split),
            source_bytes=self._source_bytes,
            source_xxh64=self._source_xxh64,
            rejects=tuple(self._rejects),
            repairs=dict(sorted(self._repairs.items())),
            bytes_in=self._bytes_in,
            pixels=self._pixels,
            sums=tuple(self._sums.tolist()),
            squares=tuple(self._squares.tolist()),
        )
