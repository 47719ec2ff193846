"""Data sets from afar kept in a local folder, which many processes fill and read at once and any may leave at any time.

In: a folder, a data set's URL, ranges of its files. Out: an ordinary data set, or the part of it that was asked for.
"""

from ferdata.cache.cached_file import CachedFile
from ferdata.cache.cached_set import CachedSet, Fetch
from ferdata.cache.folder import (
    CachePlace,
    cache_options,
    find_cached_set,
    open_cached_set,
    use_cache,
    usual_cache,
)
from ferdata.cache.kept_files import CacheCounts
from ferdata.cache.partial_file import PARTIAL

__all__ = [
    "PARTIAL",
    "CacheCounts",
    "CachePlace",
    "CachedFile",
    "CachedSet",
    "Fetch",
    "cache_options",
    "find_cached_set",
    "open_cached_set",
    "use_cache",
    "usual_cache",
]
