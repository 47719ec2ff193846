"""Data sets from afar kept in a local folder, which many processes fill and read at once and any may leave at any time.

In: a folder, a data set's URL, ranges of its files. Out: an ordinary data set, or the part of it that was asked for.
"""

from ferdata.cache.cached_set import CacheCounts, CachedSet, Fetch
from ferdata.cache.folder import CachePlace, cache_bytes, open_cached_set
from ferdata.cache.room import PARTIAL

__all__ = ["PARTIAL", "CacheCounts", "CachePlace", "CachedSet", "Fetch", "cache_bytes", "open_cached_set"]
