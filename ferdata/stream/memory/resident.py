"""A split in memory: loaded once, every checksum verified, and then read without a file.

In: a split. Out: its bodies, and what fills rows of the ring from them. Costs reading every shard once, in
threads, and as much memory as the samples take in ``compact``, or their pixels in any other codec.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format import CODECS, Codec, DatasetIndex, ShardReader
from ferdata.format.held import BodyReader, HeldBodies, held_codec
from ferdata.parallel import Progress, available_memory, iterate_in_threads, usable_cores
from ferdata.stream.fetch.fetcher import CONNECTIONS
from ferdata.stream.fetch.shards import SHARDS_AT_ONCE, FetchedShards
from ferdata.stream.order.windows import ShardMap
from ferdata.stream.sets import OpenSplit, ShardOpener

__all__ = ["ResidentReader", "ResidentSplit", "SplitReader", "check_room", "resident_bytes"]

T = TypeVar("T")

Part = tuple[int, slice, np.ndarray]
"""A shard, which numbers its samples are, and their positions in it."""


LEFT_TO_OTHERS = 0.1
"""This share of the free memory is not taken."""
_COMPACT_SHARE = 0.45
"""About what ``compact`` leaves of a photograph's pixels."""


class SplitReader:
    """The shards of a split, read once, a shard at a time in each of a few threads.

    Args:
        opened: The split.
        indices: int64 ``[N]`` ascending, which of its samples; None for all.
        is_shown: Whether to show a bar, where there is a terminal.

    Attributes:
        codec: How samples are to be held.
        indices: Which of the split's they are.
        count: How many there are.
    """

    def __init__(self, opened: OpenSplit, indices: np.ndarray | None, *, is_shown: bool) -> None:
        self.index, self.codec = opened.index, _held_codec(opened)
        self._opened, self._opener, self.indices, self._is_shown = opened, ShardOpener(opened), indices, is_shown
        self._fetched = FetchedShards(opened)
        wanted = np.arange(opened.num_samples) if indices is None else indices
        self.count = len(wanted)
        self._parts = list(ShardMap(opened.shard_sizes).by_shard(wanted))

    def numbers(self, samples: np.ndarray) -> np.ndarray:
        """Return where samples of the split are among those that are held, both int64 ``[n]``."""
        return samples if self.indices is None else np.searchsorted(self.indices, samples)

    def sizes(self, size: Callable[[ShardReader, np.ndarray], np.ndarray], free: int | None) -> np.ndarray:
        """Return the bytes each sample takes, int64 ``[N]``, once it is sure that all of them fit.

        Args:
            size: Returns those of positions in a shard, unless pixels are held.
            free: Bytes of memory that are free; None where nobody knows.

        Raises:
            OptionError: If they do not fit.
        """

        def sizes_of(part: Part) -> np.ndarray:
            found: list[np.ndarray] = []
            self._use(part, lambda reader: found.append(size(reader, part[2])), is_table=True)
            return found[-1]

        if self.codec.is_copy:
            sizes = np.full(self.count, self.index.spec.num_bytes, np.int64)
        else:
            sizes = np.concatenate(self._map(sizes_of, CONNECTIONS, None))
        check_room(int(sizes.sum()), free, index=self.index, codec=self.codec, where=self._opened.where)
        return sizes

    def read(self, fill: Callable[[ShardReader, slice, np.ndarray], None]) -> None:
        """Have ``fill`` read every shard: given its reader, which numbers its samples are, and their positions."""

        def fill_from(part: Part) -> None:
            self._use(part, lambda reader: fill(reader, part[1], part[2]))

        with _bar(is_shown=self._is_shown) as progress:
            self._map(fill_from, SHARDS_AT_ONCE, progress)

    def _map(self, do: Callable[[Part], T], at_once: int, progress: Progress | None) -> list[T]:
        """Do something with every shard, so many at a time where they are fetched."""
        threads, found = usable_cores() if self._opened.is_local else at_once, list[T]()
        for one in iterate_in_threads(do, self._parts, num_threads=threads, patience=self._opened.patience):
            found.append(one)
            if progress is not None:
                progress(len(found), len(self._parts))
        return found

    def _use(self, part: Part, use: Callable[[ShardReader], None], *, is_table: bool = False) -> None:
        """Have the reader of a shard used, with nothing but its table or with all that is wanted of it."""
        one = self._opened.sets[self._opened.shard(part[0])[0]]
        if one.store.is_local or one.place is not None:  # its file fetches what is not in the cache yet
            with self._opener.open(part[0]) as reader:
                use(reader)
        else:
            self._fetched.read(part[0], None if is_table else part[2], use)


def _held_codec(opened: OpenSplit) -> Codec:
    """Return the codec that the samples of all sets are held in: pixels, unless all can stay as they are stored."""
    held = {held_codec(one.index.codec).name for one in opened.sets}
    is_as_stored = len(held) == 1 and all(one.index.spec == opened.index.spec for one in opened.sets)
    return held_codec(opened.sets[0].index.codec) if is_as_stored else CODECS["raw"]


class ResidentSplit:
    """The samples of a split, or of some of its indices, in this machine's memory.

    Which of them a rank reads changes from epoch to epoch, so each rank holds all.

    Raises:
        OptionError: If they do not fit.
        ShardMissingError, ShardCorruptError: If a shard is missing or damaged.
    """

    def __init__(self, shards: SplitReader) -> None:
        free = available_memory() if hasattr(os, "sysconf") else None
        sizes = shards.sizes(ShardReader.stored_bytes, free)
        self.numbers = shards.numbers
        self.bodies = HeldBodies(shards.codec, shards.index.spec, sizes)
        shards.read(self._fill)

    @property
    def num_bytes(self) -> int:
        """Bytes of memory it takes."""
        return len(self.bodies.memory)

    def close(self) -> None:
        """Let go of the memory."""
        self.bodies.release()

    def _fill(self, reader: ShardReader, numbers: slice, positions: np.ndarray) -> None:
        if self.bodies.codec.is_copy:
            reader.read_rows(positions, self.bodies.rows(), np.arange(numbers.start, numbers.stop))
        else:
            reader.read_stored(positions, lambda number, body, _: self._put(numbers.start + number, body))

    def _put(self, number: int, body: memoryview) -> None:
        self.bodies.body(number)[:] = np.frombuffer(body, np.uint8)


class ResidentReader:
    """What a worker reads with in place of shards; one a thread."""

    def __init__(self, split: ResidentSplit) -> None:
        self._split = split
        self._reader = BodyReader(split.bodies.codec, split.bodies.spec)

    def read_rows(self, samples: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool | np.ndarray) -> int:
        """Decode samples into ``out[rows]``; return bytes read. There is nothing left to verify."""
        numbers = self._split.numbers(samples)
        bodies, rows = self._split.bodies.of(numbers), np.ascontiguousarray(rows, np.int64)

        def damaged(number: int, error: ShardCorruptError) -> ShardCorruptError:
            return ShardCorruptError(f"resident sample {numbers[number]}: {error}; write its shard again")

        return self._reader.read_rows(bodies, out, rows, damaged=damaged, verify=False)

    def close(self) -> None:
        """Do nothing: the memory is the loader's."""


def resident_bytes(index: DatasetIndex, split: str, samples: int) -> int:
    """Return about how many bytes some samples of a split take in memory, without opening a shard."""
    if held_codec(index.codec).is_copy:
        return samples * index.spec.num_bytes
    stored = index.shards.of_split(split).num_bytes
    return stored * samples // max(1, index.num_samples(split))


def check_room(needed: int, free: int | None, *, index: DatasetIndex, codec: Codec, where: str) -> None:
    """See that so many bytes fit what is free.

    Args:
        needed: Bytes of all samples, as they are to be held.
        free: Bytes that are free; None where nobody knows.
        index: The data set's index.
        codec: How they are to be held.
        where: What the error begins with.

    Raises:
        OptionError: If they do not; it says what would fit.
    """
    room = math.inf if free is None else (1 - LEFT_TO_OTHERS) * free
    if needed <= room:
        return
    share, height = room / needed, index.spec.shape[-2]
    fits = [f"indices= or where= with {math.floor(100 * share)} % of the samples"] if share >= 0.01 else []
    if (size := math.floor(height * math.sqrt(share)) // 4 * 4) >= 8:
        fits.append(f"images of {size} px in place of {height}")
    if codec.is_copy and _COMPACT_SHARE * needed <= room:
        fits.append(f"codec compact, with about {_COMPACT_SHARE * needed / 1e6:,.0f} MB")
    raise OptionError(
        f"{where}: resident takes {needed / 1e6:,.1f} MB in {codec.name}, expected at most {room / 1e6:,.1f} MB, of "
        f"{(free or 0) / 1e6:,.1f} MB that are free; leave resident out, or use what fits: "
        f"{', or '.join(fits) or 'a larger machine'}"
    )


@contextmanager
def _bar(*, is_shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many shards are loaded, if somebody sits at a terminal; leave nothing there."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not is_shown or not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("loading shards into memory", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
