"""From finished shards to a data set: ``samples.parquet``, ``rejects.csv`` and, last of all, ``index.json``.

In: the plan, the items and the part records. Out: three files whose bytes depend on these alone. Costs 1 s per million.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.format.index import ShardInfo
from ferdata.format.samples import SAMPLES_SCHEMA
from ferdata.ingest.select.leaks import Copies, find_copies
from ferdata.ingest.select.selection import Selection, ShardPlan
from ferdata.ingest.write.parts import PartRecord
from ferdata.sources.items import ItemTable

__all__ = ["Outcome", "gather"]

_BOX_SIDES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all parts amount to.

    Attributes:
        table: Rows of ``samples.parquet``, in reading order.
        shards: In reading order.
        counts: Split -> samples per class.
        repairs: Repair -> samples.
        rejected: Reason -> images.
        leaks: Images in more than one split.
        relabelled: Images under more than one label of one split.
        bytes_in: Bytes of image files read.
        mean: Per channel.
        std: Per channel.
    """

    table: pa.Table
    shards: tuple[ShardInfo, ...]
    counts: Mapping[str, list[int]]
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
    kept = [part.source_bytes >= 0 for part in parts]
    order = _joined([shard.positions[mask] for shard, mask in zip(plan, kept, strict=True)], np.int64)
    sizes = _joined([part.source_bytes[mask] for part, mask in zip(parts, kept, strict=True)], np.int64)
    hashes = _joined([part.source_xxh64[mask] for part, mask in zip(parts, kept, strict=True)], np.uint64)
    position = _joined([np.arange(part.shard.samples) for part in parts], np.int64)
    # A shard's number counts the shards of its split that exist: a task whose every image was rejected leaves none.
    numbers, written = [], Counter[str]()
    for part in parts:
        numbers.append(np.full(part.shard.samples, written[part.shard.split]))
        written[part.shard.split] += part.shard.samples > 0
    splits = [split for split in selection.ordered_splits() if written[split]]
    shards = tuple(part.shard for part in parts if part.shard.samples)
    codes = _joined([np.full(info.samples, splits.index(info.split)) for info in shards], np.int64)
    shared = [name for name in items.table.column_names if name in SAMPLES_SCHEMA.names and name != "split"]
    columns = items.rows(order, shared)
    table = pa.table(
        {name: columns.column(name) for name in columns.column_names}
        | {
            "split": pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(splits, pa.string())),
            "source_bytes": sizes,
            "source_xxh64": hashes,
            "shard": _joined(numbers, np.int64),
            "frame": 2 * position + 1,
            "position": position,
        }
    ).select(SAMPLES_SCHEMA.names)
    labels = columns.column("label").to_numpy().astype(np.int64)

    def names(rows: np.ndarray) -> list[str]:
        keys = columns.column("key").take(pa.array(rows)).to_pylist()
        return [f"{splits[code]}/{key}" for code, key in zip(codes[rows], keys, strict=True)]

    mean, std = _mean_and_std(parts)
    return Outcome(
        table=table,
        shards=shards,
        counts={
            split: np.bincount(labels[codes == code], minlength=num_classes).tolist()
            for code, split in enumerate(splits)
        },
        repairs=dict(sorted(sum((Counter(part.repairs) for part in parts), Counter()).items())),
        rejected=Counter(reason for part in parts for _, reason, _ in part.rejects),
        leaks=find_copies(codes, (sizes, hashes), names),
        relabelled=find_copies(labels, (codes, sizes, hashes, *_box_columns(items, order, is_cropped)), names),
        bytes_in=sum(part.bytes_in for part in parts),
        mean=mean,
        std=std,
    )


def _box_columns(items: ItemTable, order: np.ndarray, is_cropped: bool) -> list[np.ndarray]:
    """Return float32 ``[n]`` for each side of the boxes, 0 where there is none; no column if boxes do not matter."""
    boxes = items.rows(order, ["box"]).column("box")
    if not is_cropped or boxes.null_count == len(boxes):
        return []
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
