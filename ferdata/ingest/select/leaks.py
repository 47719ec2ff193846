"""Images whose very bytes are in two splits, or under two labels of one: found, counted, on request left out of train.

In: sizes and XXH64 of image files. Out: counts and positions. Finding them after an ingest costs one sort; removing
them before it costs one read of every file whose size occurs in two splits.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xxhash

from ferdata.errors import FerdataError
from ferdata.ingest.reading import read_sources
from ferdata.ingest.select.selection import LEFT_OUT, Selection
from ferdata.parallel import Beat, run_tasks
from ferdata.sources.items import ItemTable
from ferdata.store import Store

__all__ = ["Copies", "find_copies", "find_train_copies", "shared_between_splits"]

_MAX_EXAMPLES = 5
_HASH_ITEMS, _SIZED_ITEMS = 512, 1 << 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Images whose copies differ in split, or in label: how many images, and ``(split/key, split/key)`` of a few."""

    images: int
    examples: tuple[tuple[str, str], ...]


def shared_between_splits(codes: np.ndarray, *identity: np.ndarray) -> np.ndarray:
    """Return bool ``[n]``: whether an item equals, in every ``identity`` column, one that has another code."""
    order, starts = _groups(*identity)
    result = np.zeros(len(codes), bool)
    if len(codes):
        found = codes[order]
        is_shared = np.minimum.reduceat(found, starts) != np.maximum.reduceat(found, starts)
        result[order] = np.repeat(is_shared, np.diff(np.append(starts, len(codes))))
    return result


def find_copies(values: np.ndarray, identity: Sequence[np.ndarray], names: Callable[[np.ndarray], list[str]]) -> Copies:
    """Return the samples that are equal in every ``identity`` column and not in ``values``.

    Args:
        values: int ``[n]``: splits for leaks, labels for contradictions.
        identity: Columns ``[n]``: bytes of the image file, its XXH64, and what else must be the same.
        names: Returns what samples are called, given their numbers.
    """
    shared = np.flatnonzero(shared_between_splits(values, *identity))
    order, starts = _groups(values[shared], *(column[shared] for column in identity), within=1)
    order = shared[order]
    ends = np.append(starts, len(order))[1:] - 1
    chosen = np.stack([order[starts], order[ends]], axis=1)
    found = names(chosen[np.argsort(chosen[:, 0], kind="stable")][:_MAX_EXAMPLES].ravel())
    return Copies(images=len(starts), examples=tuple(zip(found[::2], found[1::2], strict=True)))


def _groups(*columns: np.ndarray, within: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return an order that groups equal rows, and where each group begins; the first ``within`` columns sort inside."""
    order = np.lexsort(columns)
    is_new = np.arange(len(order)) == 0
    for column in columns[within:]:
        is_new[1:] |= column[order][1:] != column[order][:-1]
    return order, np.flatnonzero(is_new)


def find_train_copies(
    items: ItemTable, selection: Selection, *, root: str, num_workers: int, on_tick: Callable[[int, int], None]
) -> np.ndarray:
    """Return the positions of train items whose image file is, byte for byte, in another split too.

    Only files whose size occurs in train and in another split are read. A file that cannot be read has no copy.

    Args:
        items: All items of the scan.
        selection: Their splits.
        root: Folder or URL of the images.
        num_workers: Processes that read.
        on_tick: Called with (files read, files to read).
    """
    positions = np.flatnonzero(selection.codes != LEFT_OUT)
    codes = selection.codes[positions]
    sizes = _file_sizes(items, positions, root)
    candidates = shared_between_splits(codes, sizes) & (sizes != _GONE)
    positions, codes, sizes = positions[candidates], codes[candidates], sizes[candidates]
    hashes = np.zeros(len(positions), np.uint64)
    is_read = np.zeros(len(positions), bool)

    def keep(result: tuple[int, np.ndarray, np.ndarray]) -> None:
        start, found, read = result
        hashes[start : start + len(found)] = found
        is_read[start : start + len(found)] = read

    run_tasks(
        partial(_hash_files, root),
        (
            (start, items.take(positions[start : start + _HASH_ITEMS]))
            for start in range(0, len(positions), _HASH_ITEMS)
        ),
        num_workers=num_workers,
        on_result=keep,
        on_tick=lambda done, failed, num_bytes: on_tick(done + failed, len(positions)),
        where=root,
    )
    train = selection.splits.index("train") if "train" in selection.splits else LEFT_OUT
    shared = np.zeros(len(positions), bool)
    shared[is_read] = shared_between_splits(codes[is_read], sizes[is_read], hashes[is_read])
    copies: np.ndarray = positions[shared & (codes == train)]
    return copies


_GONE, _UNKNOWN = -1, -2


def _file_sizes(items: ItemTable, positions: np.ndarray, root: str) -> np.ndarray:
    store = Store(root)
    sizes = np.full(len(positions), _UNKNOWN, np.int64)
    if not store.is_local:
        return sizes
    for start in range(0, len(positions), _SIZED_ITEMS):
        paths = items.rows(positions[start : start + _SIZED_ITEMS], ["path"]).column("path").to_pylist()
        for number, path in enumerate(paths, start):
            try:
                sizes[number] = os.stat(store.path(path)).st_size
            except OSError:
                sizes[number] = _UNKNOWN if "#" in path else _GONE
    return sizes


def _hash_files(root: str, task: tuple[int, ItemTable], beat: Beat) -> tuple[int, np.ndarray, np.ndarray]:
    start, items = task
    hashes, is_read = np.zeros(len(items), np.uint64), np.zeros(len(items), bool)
    for number, data in enumerate(read_sources(root, items)):
        if isinstance(data, FerdataError):
            beat(0, 1, 0)
            continue
        hashes[number], is_read[number] = xxhash.xxh64_intdigest(data), True
        beat(1, 0, len(data))
    return start, hashes, is_read
