"""Prefetches portions: asks for them in order as slots become free, and knows which are filled.

In: portions and a ring. Out: jobs for the workers, and the slots of what is filled. No processes, no clock. What lies
behind a URL becomes a job once it was fetched.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ferdata.errors import FerdataError, ShardCorruptError
from ferdata.stream.fetch.fetcher import Fetcher
from ferdata.stream.fetch.parts import Located
from ferdata.stream.memory.ring import Ring
from ferdata.stream.order.windows import VERIFY_ALL, Portion, Window, sort_samples
from ferdata.stream.workers.job import Ack, JobRecord
from ferdata.stream.workers.workers import Workers

__all__ = ["Filling", "Prefetcher"]


@dataclass(slots=True)
class Filling:
    """A portion whose jobs were sent.

    Attributes:
        portion: The portion.
        slots: Ring slots of its batches that nobody has taken yet.
        missing: Jobs that are not acknowledged yet.
        num_bytes: Bytes read by its finished jobs.
        busy_ns: Nanoseconds they took in total.
        error: The error of the first of its jobs to fail.
    """

    portion: Portion
    slots: deque[int]
    missing: int
    num_bytes: int = 0
    busy_ns: int = 0
    error: FerdataError | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """A job with its samples, int64 ``[n]``, and the window that they are located in."""

    record: JobRecord
    window: Window
    samples: np.ndarray


class Prefetcher:
    """The portions on their way through the ring, epoch after epoch.

    Args:
        portions: They in order; those of later epochs follow if the next epoch is to begin before this one ends.
        ring: Where batches are built.
        workers: Who fills them.
        job_samples: Most samples of a job.
        verify: Returns which checksums of samples to verify, see :meth:`ferdata.stream.order.windows.Checked.needs`.
        fetcher: Fetches what lies behind a URL, and knows what does; None if nothing does.
    """

    def __init__(
        self,
        portions: Iterator[Portion],
        ring: Ring,
        workers: Workers,
        *,
        job_samples: int,
        verify: Callable[[np.ndarray, int], int],
        fetcher: Fetcher | None = None,
    ) -> None:
        self._portions = portions
        self._ring = ring
        self._workers = workers
        self._job_samples = job_samples
        self._verify = verify
        self._fetcher = fetcher
        self._waiting: deque[_Job] = deque()
        self._reading: dict[int, tuple[_Job, Located | None]] = {}  # None: where their shards lie
        self._next = next(portions, None)
        self._filling: deque[Filling] = deque()
        self._first = 0
        self._epoch = 0

    def fill(self) -> None:
        """Send jobs while there is room; of the next epoch only its first window's, which nobody may ever ask for."""
        while self._next is not None and not self._is_too_early(self._next) and self._send(self._next):
            self._next = next(self._portions, None)
        self.dispatch()

    def dispatch(self) -> None:
        """Send the jobs whose samples were fetched since."""
        if self._fetcher is None or not self._waiting:
            return
        jobs, waiting = [], self._waiting
        self._waiting = deque()
        for each in waiting:
            try:
                located = self._fetcher.locate(each.window, each.samples)
            except FerdataError as error:
                self._fail(each.record.portion, error)
                continue
            if located is None:
                self._waiting.append(each)
            else:
                self._workers.plan.locate(each.record.start, located.columns)
                self._reading[each.record.start] = each, located
                jobs.append(each.record)
        if jobs:
            self._workers.send(jobs)

    def fillings(self, epoch: int) -> Iterator[Filling]:
        """Yield an epoch's portions; the caller waits until :attr:`Filling.missing` is 0, then takes the slots."""
        self._epoch = epoch
        if self._fetcher is not None:
            self._fetcher.now(epoch)
        self.fill()
        while self._filling and self._filling[0].portion.window.epoch == epoch:
            yield self._filling[0]
            done = self._filling.popleft()
            assert not done.slots, "a portion is left only when its batches are taken"
            self._first += 1
            self.fill()
        ended = self._next is None or self._next.window.epoch != epoch
        assert ended, "a portion and the batches a consumer may hold always fit the ring"

    def acknowledge(self, ack: Ack) -> None:
        """Note that a job is finished."""
        if self._fetcher is not None and not self._is_over(self._fetcher, ack):
            return
        filling = self._filling[ack.portion - self._first]
        filling.missing -= 1
        filling.num_bytes += ack.num_bytes
        filling.busy_ns += ack.busy_ns
        if isinstance(ack.error, FerdataError):
            self._fail(ack.portion, ack.error)

    def _is_over(self, fetcher: Fetcher, ack: Ack) -> bool:
        """Tell whether a job is over: what was damaged is fetched, once more if it was before, and then read again."""
        job, located = self._reading.pop(ack.start)
        if located is None:
            failed = isinstance(ack.error, FerdataError)
            window = fetcher.fetch_after_all(job.window, job.samples) if failed else None
            if window is None:
                return True
            job = _Job(replace(job.record, is_fetched=True, verify=VERIFY_ALL), window, job.samples)
        elif isinstance(ack.error, ShardCorruptError):
            try:
                fetcher.refetch(located, ack.error)
            except ShardCorruptError as error:
                self._fail(ack.portion, error)
                return True
        else:
            fetcher.release(located)
            return True
        self._waiting.appendleft(job)
        return False

    def _fail(self, portion: int, error: FerdataError) -> None:
        filling = self._filling[portion - self._first]
        if filling.error is None:
            filling.error = error

    def _is_too_early(self, portion: Portion) -> bool:
        """Tell whether a portion is of an epoch that nobody has asked for, and not of the next one's first window."""
        ahead = portion.window.epoch - self._epoch
        return ahead > 1 or (ahead == 1 and portion.window.first_batch > 0)

    def _send(self, portion: Portion) -> bool:
        plan = self._workers.plan
        if len(self._filling) == plan.num_regions:
            return False
        slots = self._ring.take(portion.num_batches)
        if slots is None:
            return False
        number = self._first + len(self._filling)
        samples, rows = sort_samples(portion.samples)
        parts = [(False, 0, len(samples))]
        if self._fetcher is not None:
            order, parts = self._fetcher.parts(portion.window, samples)
            samples, rows = samples[order], rows[order]
        start = plan.write(number % plan.num_regions, samples, self._ring.places(slots, portion.samples)[rows])
        verify, generation = self._verify(portion.samples, portion.window.epoch), plan.generation
        records, count = [], 0
        for is_fetched, begin, end in parts:
            is_new = self._fetcher is not None and is_fetched and not self._fetcher.memory.verifies_once
            which = VERIFY_ALL if is_new else verify
            for first in range(begin, end, self._job_samples):
                stop = min(first + self._job_samples, end)
                record = JobRecord(number, generation, start + first, stop - first, which, is_fetched)
                job = _Job(record, portion.window, samples[first:stop])
                if is_fetched:
                    self._waiting.append(job)
                else:
                    records.append(record)
                    if self._fetcher is not None:
                        self._reading[record.start] = job, None
                count += 1
        self._filling.append(Filling(portion, deque(slots), count))
        self._workers.send(records)
        return True
