"""The files of a cached set, as one process knows them: which are whole, and which parts of the others are there.

In: the set's folder and its index. Out: answers from what was seen before, or a look at the disk. Nothing is written.
"""

import os

import numpy as np

from ferdata.cache.partial_file import PARTIAL, Journal, opened
from ferdata.format import DatasetIndex, FileInfo, ShardInfo

__all__ = ["SetFiles"]


class SetFiles:
    """Files by number: the tables of the set, then its shards.

    Args:
        folder: The set's folder.
        index: Its index.

    Attributes:
        num_files: How many there are.
        starts: int64 ``[num_files + 1]``, where each begins if they stood one after the other.
    """

    def __init__(self, folder: str, index: DatasetIndex) -> None:
        self.folder, self.index = folder, index
        self.num_files = len(index.files) + len(index.shards)
        sizes = np.concatenate([[0], [info.num_bytes for info in index.files], index.shards.sizes])
        self.starts = np.cumsum(sizes, dtype=np.int64)
        self._whole: set[int] = set()
        self._journals: dict[int, Journal] = {}
        self._first_missing = 0

    def number(self, name: str) -> int:
        """Return the number of a file."""
        return next(number for number in range(self.num_files) if self.info(number).name == name)

    def numbers(self, split: str | None = None) -> list[int]:
        """Return the numbers of the tables and of the shards of one split, or of all."""
        if split is None:
            return [*range(self.num_files)]
        first = self.first_shard(split)
        return [*range(len(self.index.files)), *range(first, first + len(self.index.shards.of_split(split)))]

    def first_shard(self, split: str) -> int:
        """Return the number of the first shard of a split."""
        before = self.index.splits[: self.index.splits.index(split)]
        return len(self.index.files) + sum(len(self.index.shards.of_split(each)) for each in before)

    def info(self, number: int) -> FileInfo | ShardInfo:
        """Return what the index says of a file."""
        tables = len(self.index.files)
        return self.index.files[number] if number < tables else self.index.shards[number - tables]

    def num_bytes(self, number: int) -> int:
        """Return the size of a file."""
        return int(self.starts[number + 1] - self.starts[number])

    def path(self, number: int) -> str:
        """Return where a file lies, or will lie once it is whole."""
        return os.path.join(self.folder, self.info(number).name)

    def is_whole(self, number: int) -> bool:
        """Tell whether all of a file is there."""
        if number in self._whole:
            return True
        try:
            is_whole = os.stat(self.path(number)).st_size == self.num_bytes(number)
        except OSError:
            return False
        if is_whole:  # not what was cut, or is something else of that name
            self._whole.add(number)
        return is_whole

    def is_begun(self, number: int) -> bool:
        """Tell whether a file, or room for it, is there."""
        return self.is_whole(number) or os.path.exists(self.path(number) + PARTIAL)

    def lost(self, number: int) -> None:
        """Forget what is known of a file that is no longer where it was."""
        self._whole.discard(number)
        self._journals.pop(number, None)
        self._first_missing = 0

    def holds(self, number: int, start: int, stop: int) -> bool:
        """Tell whether the bytes ``[start, stop)`` of a file are there."""
        return not self.missing(number, start, stop)

    def missing(self, number: int, start: int, stop: int) -> list[tuple[int, int]]:
        """Return what is not there of the bytes ``[start, stop)`` of a file."""
        if self.is_whole(number):
            return []
        journal = self._journals.get(number)
        if journal is not None and not (missing := journal.missing(start, stop)):
            return missing
        try:
            with opened(self.path(number) + PARTIAL, os.O_RDONLY) as descriptor:
                return self.look(number, descriptor).missing(start, stop)
        except FileNotFoundError:
            self._journals.pop(number, None)
            return [] if self.is_whole(number) else [(start, stop)]

    def look(self, number: int, descriptor: int) -> Journal:
        """Return what is known of a partial file, its journal read on."""
        journal = self._journals.setdefault(number, Journal())
        journal.read_on(descriptor, self.num_bytes(number), int(self.info(number).xxh64, 16))
        return journal
