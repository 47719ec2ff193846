"""From finished shards to a data set: ``samples.parquet``, ``rejects.csv`` and, last of all, ``index.json``.

In: the plan, the items and the part records. Out: rows and counts that depend on these alone. Costs 1 s per million,
some 60 bytes a sample, and the rows of a few shards.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.format.index import ShardInfo
from ferdata.format.samples import SAMPLES_SCHEMA
from ferdata.ingest.select.leaks import Copies, find_copies
from ferdata.ingest.select.selection import Selection, ShardPlan
from ferdata.ingest.write.parts import PartRecord
from ferdata.sample import RARE_FIELDS
from ferdata.sources.items import ItemTable

__all__ = ["Outcome", "gather"]

_BOX_SIDES = 4
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all parts amount to.

    Attributes:
        tables: Rows of ``samples.parquet`` in reading order, those of some shards at a time, made when asked for.
        shards: In reading order.
        counts: Split -> samples per class.
        named: How many people and sequences there are, and samples with soft labels.
        repairs: Repair -> samples.
        rejected: Reason -> images.
        leaks: Images in more than one split.
        relabelled: Images under more than one label of one split.
        bytes_in: Bytes of image files read.
        mean: Per channel.
        std: Per channel.
    """

    tables: Iterator[pa.Table]
    shards: tuple[ShardInfo, ...]
    counts: Mapping[str, list[int]]
    named: Mapping[str, int]
    repairs: Mapping[str, int]
    rejected: Mapping[str, int]
    leaks: Copies
    relabelled: Copies
    bytes_in: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def gather(
    items: ItemTable,
    selection: Selection,
    plan: Sequence[ShardPlan],
    parts: Sequence[PartRecord],
    num_classes: int,
    *,
    is_cropped: bool = False,
) -> Outcome:
    """Put the parts together, in the order of the plan.

    If faces were cropped, images of the same bytes are copies only if their boxes are the same.
    """
    written = [(shard, part) for shard, part in zip(plan, parts, strict=True) if part.shard.samples]
    kept = [shard.positions[part.source_bytes >= 0] for shard, part in written]
    order = _joined(kept, np.int64)
    shards = tuple(part.shard for _, part in written)
    splits = [split for split in selection.ordered_splits() if any(info.split == split for info in shards)]
    codes = np.repeat([splits.index(info.split) for info in shards], [info.samples for info in shards]).astype(np.int8)
    labels = selection.labels[order]
    identity = [
        _joined([values(part)[part.source_bytes >= 0] for _, part in written], kind)
        for values, kind in ((attrgetter("source_bytes"), np.int64), (attrgetter("source_xxh64"), np.uint64))
    ]
    alike = _sharing(identity[1])
    identity = [column[alike] for column in identity]

    def names(rows: np.ndarray) -> list[str]:
        keys = items.rows(order[alike[rows]], ["key"]).column("key").to_pylist()
        return [f"{splits[code]}/{key}" for code, key in zip(codes[alike[rows]], keys, strict=True)]

    boxes = _box_columns(items, order[alike]) if is_cropped else []
    mean, std = _mean_and_std(parts)
    return Outcome(
        tables=_tables(items, kept, [part for _, part in written], splits),
        shards=shards,
        counts={
            split: np.bincount(labels[codes == code], minlength=num_classes).tolist()
            for code, split in enumerate(splits)
        },
        named={name: _num_named(items.table.column(name), order) for name in RARE_FIELDS},
        repairs=dict(sorted(sum((Counter(part.repairs) for part in parts), Counter()).items())),
        rejected=Counter(reason for part in parts for _, reason, _ in part.rejects),
        leaks=find_copies(codes[alike], identity, names),
        relabelled=find_copies(labels[alike], (codes[alike], *identity, *boxes), names),
        bytes_in=sum(part.bytes_in for part in parts),
        mean=mean,
        std=std,
    )


def _tables(
    items: ItemTable, kept: Sequence[np.ndarray], parts: Sequence[PartRecord], splits: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the rows of as few whole shards as have ``_ROWS_AT_ONCE``, given the positions of what each has."""
    names = [name for name in items.table.column_names if name in SAMPLES_SCHEMA.names and name != "split"]
    codes = np.array([splits.index(part.shard.split) for part in parts], np.int8)
    # A shard's number counts the shards of its split that exist: a task whose every image was rejected leaves none.
    numbers = np.arange(len(codes)) - np.searchsorted(codes, codes)
    sizes = np.array([*map(len, kept)], np.int64)
    ends, start = np.cumsum(sizes), 0
    while start < len(parts):
        stop = 1 + int(np.searchsorted(ends, ends[start] - sizes[start] + _ROWS_AT_ONCE))
        here, masks = slice(start, stop), [part.source_bytes >= 0 for part in parts[start:stop]]
        position = np.concatenate([*map(np.arange, sizes[here])])
        rows = items.rows(np.concatenate(kept[here]), names)
        own = {
            "split": pa.DictionaryArray.from_arrays(np.repeat(codes[here], sizes[here]), pa.array(splits, pa.string())),
            "source_bytes": _joined([p.source_bytes[m] for p, m in zip(parts[here], masks, strict=True)], np.int64),
            "source_xxh64": _joined([p.source_xxh64[m] for p, m in zip(parts[here], masks, strict=True)], np.uint64),
            "shard": np.repeat(numbers[here], sizes[here]),
            "frame": 2 * position + 1,
            "position": position,
        }
        yield pa.table({name: rows.column(name) for name in names} | own).select(SAMPLES_SCHEMA.names)
        start = stop


def _num_named(column: pa.ChunkedArray, order: np.ndarray) -> int:
    """Return how many different names the items of an order have in a column; of numbers, how many have any."""
    if column.null_count == len(column):
        return 0
    if not pa.types.is_dictionary(column.type):
        return int(column.is_valid().to_numpy()[order].sum())
    codes = np.concatenate([pc.fill_null(chunk.indices, -1).to_numpy() for chunk in column.chunks])
    return int((np.unique(codes[order]) >= 0).sum())


def _sharing(hashes: np.ndarray) -> np.ndarray:
    """Return int64 ascending, the rows whose hash is that of another too: of few is looked at what else they share."""
    order = np.argsort(hashes)
    ordered = hashes[order]
    found = np.flatnonzero(ordered[1:] == ordered[:-1])
    return np.unique(order[np.concatenate([found, found + 1])])


def _box_columns(items: ItemTable, positions: np.ndarray) -> list[np.ndarray]:
    """Return float32 ``[n]`` for each side of the boxes, 0 where there is none."""
    boxes = items.rows(positions, ["box"]).column("box")
    sides = np.zeros((len(boxes), _BOX_SIDES), np.float32)
    sides[boxes.is_valid().to_numpy()] = pc.list_flatten(boxes).to_numpy().reshape(-1, _BOX_SIDES)
    return list(sides.T)


def _joined(arrays: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.zeros(0, dtype)


def _mean_and_std(parts: Sequence[PartRecord]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    measured = [part for part in parts if part.shard.split == "train" and part.shard.samples] or parts
    pixels = sum(part.pixels for part in measured)
    sums, squares = (
        [sum(values) for values in zip(*of_parts, strict=True)]
        for of_parts in ([part.sums for part in measured], [part.squares for part in measured])
    )
    if not pixels:
        return (0.0,) * len(sums), (0.0,) * len(sums)
    # Exact integers up to the last division, so that no order of the parts shows.
    variances = [
        (pixels * square - total * total) / (pixels * pixels) for total, square in zip(sums, squares, strict=True)
    ]
    return tuple(total / pixels for total in sums), tuple(math.sqrt(value) for value in variances)
