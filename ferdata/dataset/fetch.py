"""Fetches a data set from where it lies to a cache folder, ahead of whoever will read it there.

In: a folder or URL, a cache folder. Out: a whole data set in it, every file verified. Goes on where it was ended,
beside any other process that fetches or reads the same set.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ferdata.cache import CachedSet, cache_options, open_cached_set
from ferdata.errors import OptionError, ShardCorruptError, StoreError
from ferdata.format import check_file
from ferdata.parallel import Progress, iterate_in_threads
from ferdata.store import Store, StrPath

__all__ = ["FetchReport", "fetch"]

PIECE_BYTES = 8 << 20
CONNECTIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """What was fetched.

    Attributes:
        folder: Where it is.
        split: Which split; None for all.
        shards: Its shards.
        samples: Their samples.
        num_bytes: Bytes of all its files.
        fetched_bytes: How many of them came now.
        is_whole: Whether the folder is a data set; otherwise it is read with ``cache=``.
    """

    folder: str
    split: str | None
    shards: int
    samples: int
    num_bytes: int
    fetched_bytes: int
    is_whole: bool

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return asdict(self)


def fetch(
    root: StrPath,
    cache: StrPath,
    *,
    split: str | None = None,
    cache_gb: float | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Have a data set, or one split of it, in a cache folder, every file compared with its XXH64.

    What is there already is verified and not fetched; what is damaged there is fetched again. A
    :class:`ferdata.Loader` with ``cache=`` the same folder then makes one request, for the index.

    Args:
        root: Folder or URL of the data set.
        cache: The cache folder, which may hold many sets; this one gets a folder of its own in it.
        split: Fetch only the shards of this split; None for all.
        cache_gb: Most gigabytes of the cache folder; what nobody uses goes, least recently used first. None: no limit.
        progress: Called with (megabytes done, megabytes).

    Raises:
        OptionError: If there is no such split, or ``cache_gb`` is less than what is to be fetched.
        StoreError: If it cannot be fetched, or there is no room for it.
        ShardMissingError, ShardCorruptError: If the data set is missing, or is not what its index says.

    Example:
        >>> report = ferdata.fetch("shards/affectnet", "cache")
        >>> report.is_whole, report.samples, ferdata.verify(report.folder).ok
        (True, 240, True)
    """
    origin, max_bytes = Store(root), cache_options(cache, cache_gb)[1]
    cached = open_cached_set(cache, origin, max_bytes=max_bytes)
    index = cached.index
    if split is not None and split not in index.splits:
        raise OptionError(f"split: {split!r} found, expected one of {', '.join(index.splits)} ({origin})")
    numbers = cached.numbers(split)
    num_bytes = sum(map(cached.num_bytes, numbers))
    _check_room(cached, numbers, num_bytes, max_bytes)

    def ensure(piece: tuple[int, int, int]) -> int:
        number, start, stop = piece
        if not cached.ensure(number, start, stop):
            raise _no_room(cached, cached.num_bytes(number))
        return stop - start

    cached.use(numbers)
    try:
        _check_whole(cached, numbers)
        done = 0
        for piece_bytes in iterate_in_threads(ensure, _pieces(cached, numbers), num_threads=CONNECTIONS):
            done += piece_bytes
            if progress is not None:
                progress(done // 10**6, num_bytes // 10**6)
        for number in numbers:
            if not cached.fetch_whole(number):
                raise _no_room(cached, num_bytes)
        return FetchReport(
            folder=cached.folder,
            split=split,
            shards=len(numbers) - len(index.files),
            samples=index.num_samples(split),
            num_bytes=num_bytes,
            fetched_bytes=cached.counts.fetched_bytes,
            is_whole=cached.finish(),
        )
    finally:
        cached.close()


def _check_room(cached: CachedSet, numbers: list[int], num_bytes: int, max_bytes: int | None) -> None:
    """See before the first byte is fetched that all of them will fit."""
    if max_bytes is not None and num_bytes > max_bytes:
        raise OptionError(
            f"cache_gb: {max_bytes / 1e9:g} found, expected at least {num_bytes / 1e9:.3g} for what is to be fetched; "
            "allow more, or fetch one split"
        )
    missing = sum(cached.num_bytes(number) for number in numbers if not cached.is_begun(number))
    if max_bytes is None and missing > shutil.disk_usage(cached.folder).free:
        raise _no_room(cached, missing)


def _no_room(cached: CachedSet, num_bytes: int) -> StoreError:
    free = shutil.disk_usage(cached.folder).free
    return StoreError(
        f"{cached.folder}: {free / 1e9:.3g} GB free found, expected room for {num_bytes / 1e9:.3g} GB; free some, "
        "choose another cache, or fetch one split"
    )


def _check_whole(cached: CachedSet, numbers: list[int]) -> None:
    """Compare what is there from before with its XXH64; have what is damaged fetched again."""

    def check(number: int) -> None:
        if not cached.is_whole(number):
            return
        seen = os.stat(cached.path(number))
        try:
            check_file(Store(cached.folder), cached.info(number))
        except ShardCorruptError:
            cached.repair(number, 0, cached.num_bytes(number), seen=seen)

    for _ in iterate_in_threads(check, numbers, num_threads=CONNECTIONS):
        pass


def _pieces(cached: CachedSet, numbers: list[int]) -> Iterator[tuple[int, int, int]]:
    for number in numbers:
        num_bytes = cached.num_bytes(number)
        for start in range(0, num_bytes, PIECE_BYTES):
            yield number, start, min(num_bytes, start + PIECE_BYTES)
