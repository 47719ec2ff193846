"""Who does a loader's jobs: the thread that waits for them, threads beside it, or processes.

In: jobs. Out: acknowledgements, or the worker's own error. Hides how workers start, die and stop.
"""

import contextlib
import multiprocessing
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence

from ferdata.errors import FerdataError, OptionError, WorkerError
from ferdata.stream.workers.interrupts import interrupts_held
from ferdata.stream.workers.job import Ack, JobRecord
from ferdata.stream.workers.worker import JobReader, Work

__all__ = ["KINDS", "ThreadWorkers", "Workers", "choose_kind"]

KINDS = ("process", "thread")
CAN_SHARE = os.name == "posix"
"""Whether processes can share memory and pipes as they do here: not on Windows."""


def choose_kind(kind: str | None) -> str:
    """Return ``process`` or ``thread``: as asked for, else processes wherever they can be had.

    Raises:
        OptionError: If it is something else, or processes cannot share memory on this system.
    """
    if kind is not None and kind not in KINDS:
        raise OptionError(f"workers: {kind!r} found, expected {' or '.join(KINDS)}")
    if kind == "process" and not CAN_SHARE:
        raise OptionError("workers: 'process' found, but they can't share memory on this system; use workers='thread'")
    return kind or ("process" if CAN_SHARE and not multiprocessing.current_process().daemon else "thread")


class Workers:
    """The workers of one loader. These are none: whoever waits for a job does it.

    Args:
        work: What they are given.
        num_workers: Their number.
        persistent: Keep them from epoch to epoch.
    """

    def __init__(self, work: Work, *, num_workers: int, persistent: bool) -> None:
        self.plan = work.plan
        self._work, self._num_workers, self._persistent = work, num_workers, persistent
        self._reader = JobReader(work, 0)
        self._jobs: deque[JobRecord] = deque()
        self._outstanding = 0
        self._is_closed = False
        self._woken = threading.Event()

    def begin(self) -> None:
        """Begin an epoch: start workers if there are none, and wait for the jobs that an abandoned one left behind.

        Raises:
            WorkerError: If the workers were closed, or one died.
        """
        if self._is_closed:
            raise WorkerError("loader: it was closed, expected an open one; make a new loader")
        self.finish()
        with self._or_abandon():
            self.plan.abandon()
            self._start()
            self.check_alive()
            while self._outstanding:
                self._outstanding -= len(self._receive())

    def send(self, jobs: Sequence[JobRecord]) -> None:
        """Have jobs done, in this order as far as one worker is concerned."""
        with self._or_abandon():
            self._outstanding += len(jobs)
            self._send(jobs)

    def receive(self) -> list[Ack]:
        """Wait until jobs are finished and return what workers report of them, errors of ours included.

        Nothing is returned if :meth:`wake` ended the wait.

        Raises:
            WorkerError: If a worker died.
            Exception: Whatever a bug of ours raised in a worker.
        """
        with self._or_abandon():
            acks = self._receive()
            self._outstanding -= len(acks)
            for ack in acks:
                if ack.error is not None and not isinstance(ack.error, FerdataError):
                    raise ack.error
        return acks

    def check_alive(self) -> None:
        """Check that no worker died while nobody waited for it.

        Raises:
            WorkerError: If one did.
        """

    def wake(self) -> None:
        """End a wait in :meth:`receive`, from any thread."""
        self._woken.set()

    def finish(self) -> None:
        """End an epoch; stop the workers unless they persist."""
        if not self._persistent:
            self._stop()
            self._outstanding = 0

    def close(self) -> None:
        """Stop all workers."""
        self._stop()
        self._is_closed = True

    @contextlib.contextmanager
    def _or_abandon(self) -> Iterator[None]:
        """Abandon the workers after an interrupt, when the jobs in flight are no longer known; later ones are new."""
        try:
            yield
        except FerdataError:
            raise
        except BaseException:
            with interrupts_held():  # whoever is impatient presses Ctrl-C twice
                self._abandon()
                self._outstanding = 0
            raise

    # What each kind does in its way.

    def _start(self) -> None:
        """Start workers, if there are none."""

    def _send(self, jobs: Sequence[JobRecord]) -> None:
        self._jobs.extend(jobs)

    def _receive(self) -> list[Ack]:
        if self._jobs:
            return [self._reader.read(self._jobs.popleft())]
        self._woken.wait()
        self._woken.clear()
        return []

    def _stop(self) -> None:
        """Let the workers end."""
        self._jobs.clear()
        self._reader.close()

    def _abandon(self) -> None:
        """Give the workers up at once, whatever they are doing."""
        self._jobs.clear()


class ThreadWorkers(Workers):
    """Workers that are threads of this process: nothing to start or to share, but one interpreter for all."""

    _team: "_Threads | None" = None

    def __init__(self, work: Work, *, num_workers: int, persistent: bool) -> None:
        super().__init__(work, num_workers=num_workers, persistent=persistent)
        self._leaving: list[_Threads] = []

    def _start(self) -> None:
        self._join()
        if self._team is None:
            with interrupts_held():
                self._team = _Threads(self._work, self._num_workers)
                weakref.finalize(self, self._team.leave)

    def _send(self, jobs: Sequence[JobRecord]) -> None:
        assert self._team is not None
        for job in jobs:
            self._team.jobs.put(job)

    def _receive(self) -> list[Ack]:
        assert self._team is not None
        ack = self._team.acks.get()
        return [] if ack is None else [ack]

    def wake(self) -> None:
        """End a wait; see the base."""
        team = self._team
        if team is not None:
            team.acks.put(None)

    def _stop(self) -> None:
        self._abandon()
        self._join()

    def _join(self) -> None:
        """Wait for threads that were given up: until they end, they may write to the ring."""
        while self._leaving:
            self._leaving[-1].join()
            self._leaving.pop()

    def _abandon(self) -> None:
        if self._team is not None:
            self._leaving.append(self._team)
            self._team.end()
            self._team = None


_NAME = "ferdata-loader"
_SECONDS_TO_LEAVE = 5.0
"""One that waits for a server is left behind."""


class _Threads:
    """Threads that serve one pair of queues."""

    def __init__(self, work: Work, count: int) -> None:
        self.jobs: queue.SimpleQueue[JobRecord | None] = queue.SimpleQueue()
        self.acks: queue.SimpleQueue[Ack | None] = queue.SimpleQueue()
        self._plan, self._patience = work.plan, work.opened.patience
        readers = [JobReader(work, number) for number in range(count)]
        self._threads = [
            threading.Thread(target=self._serve, args=(reader,), name=_NAME, daemon=True) for reader in readers
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            self.end()
            raise WorkerError(
                f"loader: {count} threads could not be started ({error}), expected room for them; raise the limit "
                "(ulimit -u) or use fewer num_workers"
            ) from error

    def end(self) -> None:
        """Have the threads end after the jobs they are at."""
        self._plan.abandon()
        for _ in self._threads:
            self.jobs.put(None)
        self.acks.put(None)  # whoever waits for them in another thread waits no more

    def join(self, seconds: float | None = None) -> None:
        """Wait until they have, or so long for each."""
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(seconds)

    def leave(self) -> None:
        """End with the interpreter: a thread that lets go of files while memory is freed around it corrupts both."""
        self._patience.end()
        self.end()
        self.join(_SECONDS_TO_LEAVE)

    def _serve(self, reader: JobReader) -> None:
        while (job := self.jobs.get()) is not None:
            self.acks.put(reader.read(job))
        reader.close()
