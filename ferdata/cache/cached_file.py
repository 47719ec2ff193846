"""A shard behind a URL, read through the cache: what is not there yet is fetched, and kept if there is room.

In: an offset and a length. Out: a view. Costs one read of the disk, or one request.
"""

from ferdata.cache.cached_set import CachedSet
from ferdata.errors import ShardCorruptError
from ferdata.format.container.shard_file import RemoteFile, fetch_range

__all__ = ["CachedFile"]


class CachedFile(RemoteFile):
    """A shard of a cached set.

    Args:
        cached: The set.
        number: The shard's number among its files.
    """

    def __init__(self, cached: CachedSet, number: int) -> None:
        info = cached.info(number)
        super().__init__(cached.origin, info.name, info.num_bytes)
        self._cached, self._number = cached, number

    def _ask(self, start: int, stop: int, how: dict[str, bool]) -> bytes:
        def fetch(name: str, begin: int, end: int, is_fresh: bool) -> bytes:
            return fetch_range(self._cached.origin, name, begin, end, None, **({"is_fresh": is_fresh} | how))

        if start < 0 or stop > self.num_bytes:
            raise ShardCorruptError(
                f"{self.where}: {self.num_bytes:,} bytes found, expected {stop:,}; copy or write the shard again"
            )
        whole = self._cached.around(self._number, start, stop)
        if how:
            self._cached.repair(self._number, *whole, fetch)
        if not self._cached.ensure(self._number, *whole, fetch):
            return fetch(self._cached.info(self._number).name, start, stop, False)
        return self._cached.read(self._number, start, stop)
