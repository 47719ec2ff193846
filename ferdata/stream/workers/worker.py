"""What a worker does: fill rows of the ring with decoded samples, and acknowledge it in a few integers.

In: sample indices and ring rows. Out: pixels in shared memory and a small acknowledgement; no tensor is ever sent.
"""

import contextlib
import os
import signal
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferdata.format import ShardReader
from ferdata.format.container.shard_file import LocalFile
from ferdata.stream.fetch.pieces import PieceSources
from ferdata.stream.fetch.reader import PieceReader
from ferdata.stream.memory.resident import ResidentReader, ResidentSplit
from ferdata.stream.memory.ring import SharedBytes
from ferdata.stream.order.windows import ShardMap, due
from ferdata.stream.sets import OpenSplit, ShardOpener
from ferdata.stream.workers.channel import Channel
from ferdata.stream.workers.job import Ack, JobRecord, SharedPlan

__all__ = ["JobReader", "ShardPool", "Work", "serve"]

_MOST_MAPPED = 1 << 13
"""A process may hold 65,530 mappings, of which 16,384 can be guarded."""


class ShardPool:
    """The shards of one split, each opened once; fills rows from any sample indices.

    What is kept of a shard is its mapping and where its samples begin. As many as half of this process's limit allows,
    the most recently used ones, hold a descriptor as well.

    Args:
        opened: The split.
        max_open: Most shards that hold a descriptor, of which this process has only so many.
        reading: int64 ``[1]``: where the number of the shard being read is noted, for whoever finds this process dead.
        are_payloads: Copy payloads as they are, to the bytes of ``out`` that ``rows`` say, in place of decoding.
        sources: Where samples of far sets are. Their shards are taken to be whole files in their cache; who asks
            repairs what is damaged there.
    """

    def __init__(
        self,
        opened: OpenSplit,
        *,
        max_open: int = _MOST_MAPPED,
        reading: np.ndarray | None = None,
        are_payloads: bool = False,
        sources: PieceSources | None = None,
    ) -> None:
        self._opened, self._sources = opened, sources
        self._are_payloads = are_payloads
        self._opener = ShardOpener(opened)
        self._map = ShardMap(opened.shard_sizes)
        self._max_open, self._may_open = max_open, _may_open()
        self._decoders = self._opener.decoders()
        self._reading = np.empty(1, np.int64) if reading is None else reading
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        self._resting: OrderedDict[int, ShardReader] = OrderedDict()
        _pools.add(self)

    def read_rows(self, samples: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool | np.ndarray) -> int:
        """Decode samples (indices ascending) into ``out[rows]``, verified where ``verify`` says; return bytes read."""
        num_bytes = 0
        for shard, part, positions in self._map.by_shard(samples):
            reader, due_part = self.shard(shard), verify if isinstance(verify, bool) else verify[part]
            read = reader.read_payloads if self._are_payloads else reader.read_rows
            num_bytes += read(positions, out, rows[part], verify=due_part)
        return num_bytes

    def read_records(self, samples: np.ndarray) -> list[dict[str, Any]]:
        """Return the records of samples (indices ascending); their pixels are not read."""
        parts = self._map.by_shard(samples)
        return [
            self.shard(shard).read_record(position) for shard, _, positions in parts for position in positions.tolist()
        ]

    def shard(self, number: int) -> ShardReader:
        """Return the reader of a shard, opening it if needed."""
        self._reading[0] = number
        reader = self._open.get(number)
        if reader is not None:
            self._open.move_to_end(number)
            return reader
        while len(self._open) >= min(self._max_open, _part(self._may_open)):
            other, reader = self._open.popitem(last=False)
            reader.rest()
            self._resting[other] = reader
        reader = self._resting.pop(number, None)
        if reader is not None and not reader.wake():
            reader.close()
            reader = None
        if reader is None:
            while len(self._resting) >= _part(_MOST_MAPPED):
                self._resting.popitem(last=False)[1].close()
            reader = self._opener.open(number, self._decoders, self._kept(number))
        self._open[number] = reader
        return reader

    def _kept(self, number: int) -> LocalFile | None:
        """Return the file of a far set's shard in the cache."""
        if self._sources is None or (kept := self._opened.kept_shard(number)) is None:
            return None
        return LocalFile(*kept, mapped=self._sources.hand_over(number))

    def close(self) -> None:
        """Close all shards."""
        for readers in (self._open, self._resting):
            while readers:
                readers.popitem()[1].close()


_pools: "weakref.WeakSet[ShardPool]" = weakref.WeakSet()
"""All there are: those of threads, and of several loaders, share what their process may open and map."""


def _part(of_all: int) -> int:
    return max(4, of_all // len(_pools))


def _may_open() -> int:
    """Return how many files this process may open for shards: half of its limit is left to others."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return _MOST_MAPPED if limit == resource.RLIM_INFINITY else limit // 2
    return _MOST_MAPPED


def _raise_file_limit() -> None:
    """Raise this process's limit on open files as far as it may: a worker does nothing else."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 8 * _MOST_MAPPED
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(most, wanted), most)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every worker of a loader is given.

    Attributes:
        opened: What is streamed.
        memory: The ring's memory.
        plan: Where jobs point to.
        resident: The samples, if they are in memory; only threads share it.
        are_payloads: Whether the ring is for payloads as they are, not for pixels.
        sources: Where samples are that were fetched; None if all shards are local.
    """

    opened: OpenSplit
    memory: SharedBytes
    plan: SharedPlan
    resident: ResidentSplit | None = None
    are_payloads: bool = False
    sources: PieceSources | None = None


class JobReader:
    """One worker, in whatever thread or process: does jobs, and opens shards when it meets them."""

    def __init__(self, work: Work, number: int) -> None:
        self._work, self._number = work, number
        self._pool: ShardPool | ResidentReader | None = None
        self._pieces: PieceReader | None = None
        self._out: np.ndarray

    def read(self, job: JobRecord) -> Ack:
        """Fill a job's rows, unless its epoch has been abandoned; what goes wrong is in the acknowledgement."""
        plan = self._work.plan
        if job.generation != plan.generation:
            return Ack(job.portion, job.start, 0, 0)
        start = time.perf_counter_ns()
        entry = plan.worker_entry(self._number)
        try:
            if self._pool is None:
                self._open(entry)
            assert self._pool is not None
            samples, places = plan.read(job.start, job.count)
            verify = due(samples, job.verify)
            if job.is_fetched:
                assert self._pieces is not None
                located = plan.located(job.start, job.count)
                num_bytes = self._pieces.read_rows(samples, self._out, places, located, verify=verify)
            else:
                num_bytes = self._pool.read_rows(samples, self._out, places, verify=verify)
        except Exception as error:
            return Ack(job.portion, job.start, 0, 0, error)
        finally:
            entry[1] = -1
        return Ack(job.portion, job.start, num_bytes, time.perf_counter_ns() - start)

    def close(self) -> None:
        """Close the shards it opened."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _open(self, entry: np.ndarray) -> None:
        entry[:] = os.getpid(), -1
        work = self._work
        memory, row_bytes = work.memory.array(), work.opened.index.spec.num_bytes
        self._out = memory
        if not work.are_payloads:
            self._out = memory[: len(memory) // row_bytes * row_bytes].reshape(-1, row_bytes)
        if work.sources is not None:
            self._pieces = PieceReader(work.opened, work.sources, are_payloads=work.are_payloads)
        # The pool last of all: an interrupt may come before it.
        if work.resident is not None:
            self._pool = ResidentReader(work.resident)
        else:
            self._pool = ShardPool(work.opened, reading=entry[1:], are_payloads=work.are_payloads, sources=work.sources)


def serve(work: Work, number: int, channel: Channel) -> None:
    """Do jobs in a process of its own until the channel ends.

    The signals that a terminal, a notebook or a scheduler sends to all processes are the parent's affair: it may go on.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    work.memory.map_again()
    work.memory.populate(number, work.plan.num_workers)
    _raise_file_limit()
    reader = JobReader(work, number)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        for job in channel.jobs():
            channel.acknowledge(reader.read(job))
