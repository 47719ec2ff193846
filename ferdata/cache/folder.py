"""Cached sets by name: the folder of a data set in a cache folder, one for every index that its origin ever had.

In: a cache folder and a data set's URL. Out: a :class:`CachedSet`. Costs one request, for the index, which says whether
the set is still the same.
"""

import os
import re
import warnings
from dataclasses import dataclass

from ferdata.cache.cached_set import CachedSet
from ferdata.cache.claims import open_claims
from ferdata.cache.partial_file import PARTIAL
from ferdata.cache.room import CLAIMS_NAME, Room
from ferdata.errors import IngestError, OptionError, StoreError
from ferdata.format import INDEX_NAME, DatasetIndex, parse_index, read_index_text
from ferdata.place import expand
from ferdata.store import Store, StrPath

__all__ = ["CachePlace", "cache_options", "find_cached_set", "open_cached_set", "use_cache", "usual_cache"]

_usual: tuple[StrPath | None, float | None] = (None, None)

_DIGITS = (8, 16)
"""Of the index's XXH64, in the folder's name; more where two indexes begin alike."""


@dataclass(frozen=True, slots=True)
class CachePlace:
    """Where a data set is cached, for those in other processes that read it.

    Attributes:
        cache: The cache folder.
        folder: The set's folder in it.
        max_bytes: Most bytes of the cache folder.
    """

    cache: str
    folder: str
    max_bytes: int | None

    def open(self, origin: Store, index: DatasetIndex) -> CachedSet:
        """Return the cached set, which is filled from there; no request is made."""
        try:
            claims = open_claims(os.path.join(self.folder, CLAIMS_NAME))
            common = open_claims(os.path.join(self.cache, CLAIMS_NAME))
            claims.keep_others_out()
            return CachedSet(self.folder, origin, index, claims, Room(self.cache, common, self.max_bytes))
        except OSError as error:
            obstacle = error.strerror
        except IngestError:
            obstacle = "another process writes there, and there are no locks here that two could share"
        warnings.warn(
            f"{self.folder}: {obstacle}; what is in this cache is read, and nothing is added to it", stacklevel=2
        )
        return CachedSet(self.folder, origin, index, None, None)


def use_cache(cache: StrPath | None, cache_gb: float | None = None) -> None:
    """Have loaders of this process keep what lies behind URLs in a folder where nothing else is said.

    Raises:
        OptionError: If the limit is none.
    """
    global _usual
    if cache is None and cache_gb is not None:
        raise OptionError(f"cache_gb: {cache_gb} found without a cache, expected both; name a folder, or leave it out")
    _bytes(cache_gb)
    _usual = cache, cache_gb


def cache_options(cache: StrPath | None, cache_gb: float | None) -> tuple[StrPath | None, int | None]:
    """Return where a loader keeps what lies behind URLs, and how many bytes at most, given what it was told.

    Raises:
        OptionError: If the limit is none.
    """
    if cache is None:
        cache, cache_gb = _usual[0], _usual[1] if cache_gb is None else cache_gb
    return cache, _bytes(cache_gb)


def usual_cache() -> tuple[StrPath | None, float | None]:
    """Return what :func:`use_cache` was told."""
    return _usual


def _bytes(cache_gb: float | None) -> int | None:
    if cache_gb is None:
        return None
    if not cache_gb > 0:
        raise OptionError(f"cache_gb: {cache_gb} found, expected more than 0; leave it out for no limit")
    return int(cache_gb * 1e9)


def find_cached_set(cache: StrPath, origin: Store, *, max_bytes: int | None = None) -> tuple[CachePlace, DatasetIndex]:
    """Return where a data set is cached, and its index, which is asked of the origin.

    Raises:
        ShardMissingError, ShardCorruptError, StoreError: If the origin has no sound index.
        StoreError: If nothing can be written there, and it holds nothing of this set.
    """
    cache = os.path.abspath(expand(os.fsdecode(cache)))
    text = read_index_text(origin)
    index = parse_index(text, origin.path(INDEX_NAME))
    digest = re.search(rb'"xxh64": "([0-9a-f]{16})"\s*}\s*$', text)
    assert digest is not None, "a sound index ends with its checksum"
    for digits in _DIGITS:
        folder = os.path.join(cache, f"{_plain_name(origin.root)}-{digest[1].decode()[:digits]}")
        if _index_text(folder) in (None, text):
            break
    try:
        os.makedirs(folder, exist_ok=True)
        if _index_text(folder) is None:
            with Store(folder).write_atomic(INDEX_NAME + PARTIAL) as file:
                file.write(text)
    except (OSError, StoreError) as error:
        if _index_text(folder) is None:
            found = getattr(error, "strerror", None) or "it cannot be written"
            raise StoreError(
                f"{cache}: {found}, and nothing of {origin} in it, expected a folder to write to; choose another cache"
            ) from error
    return CachePlace(cache, folder, max_bytes), index


def open_cached_set(cache: StrPath, origin: Store, *, max_bytes: int | None = None) -> CachedSet:
    """Return the copy of a data set in a cache folder, which is made if there is none.

    Args:
        cache: The cache folder.
        origin: The data set.
        max_bytes: Most bytes of all sets in the cache folder; None for no limit.
    """
    place, index = find_cached_set(cache, origin, max_bytes=max_bytes)
    return place.open(origin, index)


def _index_text(folder: str) -> bytes | None:
    """Return the index that a folder is of, None if there is none that is sound."""
    for name in (INDEX_NAME, INDEX_NAME + PARTIAL):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                text = file.read()
            parse_index(text, name)
        except Exception:  # damaged, half-written: as none
            continue
        return text
    return None


def _plain_name(root: str) -> str:
    """Return the last part of a folder or URL, as a name that is safe for any file system."""
    last = root.partition("?")[0].rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", last).lstrip(".")[:100] or "set"
