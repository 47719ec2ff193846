"""Checks a finished data set against its index: every file, every count and, where asked, every sample.

In: a folder. Out: a report that lists every fault found. Costs one read of every file; ``deep`` decodes all samples.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import FerdataError, StoreError
from ferdata.format import (
    INDEX_NAME,
    SAMPLES_NAME,
    DatasetIndex,
    FileInfo,
    SamplesFile,
    ShardInfo,
    ShardReader,
    channel_moments,
    check_file,
    open_copy,
    read_index,
    shard_copy,
)
from ferdata.parallel import Progress, map_in_threads
from ferdata.sample import RARE_FIELDS
from ferdata.store import Store, StrPath

__all__ = ["VerifyReport", "verify"]

_ERRORS_PER_SHARD = 20
_IN_SAMPLES = ["key", "label", "path", "source_label", "valence", "arousal", *RARE_FIELDS]
"""Columns whose values stand with the pixels too."""
_MOMENT_TOLERANCE = 1e-6
"""Relative: the index may have added the same squares in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and every fault, each as ``where: what was found, expected what; what to do``."""

    ok: bool
    shards: int
    samples: int
    errors: list[str]

    def __repr__(self) -> str:
        verdict = "sound" if self.ok else f"NOT sound, {len(self.errors):,} faults, first {self.errors[0]!r}"
        return f"VerifyReport: {verdict}; {self.shards:,} shards, {self.samples:,} samples"

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShardResult:
    errors: list[str]
    sums: np.ndarray
    squares: np.ndarray


def verify(
    root: StrPath, *, deep: bool = False, num_workers: int | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Check the data set below ``root`` and return every fault; a fault never ends the check.

    Always: the index, sizes and XXH64 of all files, tables and ends of shards, shards that the index does not list, and
    the rows of ``samples.parquet`` against the index's counts per split, class and shard.

    Args:
        root: Folder or URL of the data set.
        deep: Also decode every sample, compare its key, label and json with its row, and compute mean and deviation.
        num_workers: Threads, over shards; hashing and decoding run outside Python's lock. All cores where None.
        progress: Called with (shards done, shards) after every shard.

    Example:
        >>> report = ferdata.verify("shards/affectnet", deep=True)
        >>> report.ok, report.samples
        (True, 240)
    """
    store = Store(root)
    try:
        index = read_index(store)
    except FerdataError as error:
        return VerifyReport(ok=False, shards=0, samples=0, errors=[str(error)])
    errors = _check_strays(store, index)
    faults = {info.name: _check_file(store, info) for info in index.files}
    rows, row_errors = (None, []) if faults[SAMPLES_NAME] else _check_rows(store, index)
    errors += [error for found in (*faults.values(), row_errors) for error in found]

    def check(task: tuple[ShardInfo, int, int]) -> _ShardResult:
        info, start, stop = task
        return _check_shard(store, index, info, rows.slice(start, stop - start) if rows is not None else None, deep)

    results = map_in_threads(check, _row_ranges(index), num_workers=num_workers, progress=progress)
    errors += [error for result in results for error in result.errors]
    if deep and not errors:
        errors += _check_moments(store, index, results)
    return VerifyReport(ok=not errors, shards=len(index.shards), samples=index.num_samples(), errors=errors)


def _check_strays(store: Store, index: DatasetIndex) -> list[str]:
    """Return shards that stand in the folder and not in the index; the next reader by glob would read them too."""
    try:
        names = [entry.name for entry in store.list() if not entry.is_dir]
    except (StoreError, NotImplementedError):
        return []  # a web server that lists no folders
    listed = {info.name for info in index.shards}
    return [
        f"{store.path(name)}: a shard that {INDEX_NAME} does not list, expected none; "
        "move it away or run 'shard --fresh'"
        for name in names
        if name.endswith((".tar", ".tar.zst")) and name not in listed
    ]


def _check_file(store: Store, info: FileInfo | ShardInfo, copy: IO[bytes] | None = None) -> list[str]:
    try:
        check_file(store, info, copy=copy)
    except FerdataError as error:
        return [str(error)]
    except OSError as error:
        text = f"{error.strerror or error}, expected a file that can be read"
        return [f"{store.path(info.name)}: {text}; copy it again or run 'shard --fresh'"]
    return []


def _check_rows(store: Store, index: DatasetIndex) -> tuple[pa.Table | None, list[str]]:
    """Return the sample table, where its rows stand as the index says, and what is wrong with it."""
    where, errors = store.path(SAMPLES_NAME), []
    try:
        samples = SamplesFile(store, index)
        rows = samples.read()
        samples.check_parts()
    except FerdataError as error:
        return None, [str(error)]
    labels, shards, positions, frames = (
        rows.column(name).to_numpy() for name in ("label", "shard", "position", "frame")
    )
    numbers: Counter[str] = Counter()
    for info, start, stop in _row_ranges(index):
        part = slice(start, stop)
        number = numbers[info.split]
        numbers[info.split] += 1
        in_place = np.arange(stop - start)
        if not ((shards[part] == number) & (positions[part] == in_place) & (frames[part] == 2 * in_place + 1)).all():
            errors.append(
                f"{where}: the rows {start:,} to {stop:,} are not those of {info.name}, sample by sample; "
                "run 'shard --fresh'"
            )
    for split, expected in index.counts.items():
        found = np.bincount(labels[index.rows(split)], minlength=len(index.classes)).tolist()
        if found != list(expected):
            errors.append(
                f"{where}: {found} samples per class in split {split!r}, expected {expected} as {INDEX_NAME} says; "
                "run 'shard --fresh'"
            )
    if (repeats := rows.num_rows - pc.count_distinct(rows.column("key")).as_py()) > 0:
        errors.append(f"{where}: {repeats:,} keys found twice, expected every key once; run 'shard --fresh'")
    return (None if errors else rows), errors


def _row_ranges(index: DatasetIndex) -> list[tuple[ShardInfo, int, int]]:
    stops = np.cumsum([0, *(info.samples for info in index.shards)]).tolist()
    return [(info, *bounds) for info, bounds in zip(index.shards, pairwise(stops), strict=True)]


def _check_shard(store: Store, index: DatasetIndex, info: ShardInfo, rows: pa.Table | None, deep: bool) -> _ShardResult:
    channels = index.spec.shape[0]
    sums, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    with shard_copy(store) as copy:
        errors = _check_file(store, info, copy)
        try:
            with ShardReader(store, info, index, file=open_copy(copy, store.path(info.name))) as reader:
                if deep:
                    errors += _check_samples(reader, store.path(info.name), rows, sums, squares)
        except FerdataError as error:
            if not errors:  # otherwise the same fault, seen twice
                errors.append(str(error))
    return _ShardResult(errors=errors, sums=sums, squares=squares)


def _check_samples(
    reader: ShardReader, where: str, rows: pa.Table | None, sums: np.ndarray, squares: np.ndarray
) -> list[str]:
    """Return the faults of all samples of a shard, and add to the sums of their pixels and of the pixels' squares."""
    expected_rows = rows.select(_IN_SAMPLES).to_pylist() if rows is not None else None
    pixels = np.empty(reader.members.spec.shape, np.uint8)
    errors = []
    for position in range(len(reader)):
        try:
            sample = reader.read(position, pixels)
        except FerdataError as error:
            errors.append(str(error))
            continue
        if expected_rows is not None:
            found = {**dict.fromkeys(RARE_FIELDS), **sample.record, "key": sample.key, "label": sample.label}
            errors += [
                f"{where}: sample {position} has {name} {found[name]!r}, expected {expected!r} as in {SAMPLES_NAME}; "
                "run 'shard --fresh'"
                for name, expected in expected_rows[position].items()
                if name in found and found[name] != expected
            ]
        for total, added in zip((sums, squares), channel_moments(pixels), strict=True):
            total += added
    if len(errors) > _ERRORS_PER_SHARD:
        errors[_ERRORS_PER_SHARD:] = [
            f"{where}: {len(errors) - _ERRORS_PER_SHARD:,} more errors of this kind; copy or write the shard again"
        ]
    return errors


def _check_moments(store: Store, index: DatasetIndex, results: list[_ShardResult]) -> list[str]:
    """Return where mean or deviation is not what the pixels of the train split (or of all, where it is empty) give."""
    of_train = [result for info, result in zip(index.shards, results, strict=True) if info.split == "train"]
    num_samples = index.num_samples("train") or index.num_samples()
    if not num_samples:
        return []
    chosen = of_train if index.num_samples("train") else results
    count = num_samples * index.spec.num_bytes // index.spec.shape[0]
    errors = []
    for channel, (mean, std) in enumerate(zip(index.mean, index.std, strict=True)):
        total, squares = (
            sum(int(values[channel]) for values in sums)
            for sums in ([r.sums for r in chosen], [r.squares for r in chosen])
        )
        found = total / count, max(0, squares * count - total * total) ** 0.5 / count
        if not np.allclose(found, (mean, std), rtol=_MOMENT_TOLERANCE, atol=_MOMENT_TOLERANCE):
            errors.append(
                f"{store.path(INDEX_NAME)}: mean {mean:.6f} and deviation {std:.6f} of channel {channel}, "
                f"expected {found[0]:.6f} and {found[1]:.6f} as the pixels give; run 'shard --fresh'"
            )
    return errors
