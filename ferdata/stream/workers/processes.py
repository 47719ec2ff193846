"""The worker processes, which are those of a ``DataLoader``: hands them windows of work and hears when it is done.

In: windows. Out: acknowledgements, or the worker's own error. Hides how workers start, die and stop.
"""

import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import os
import select
import signal
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader

from ferdata.errors import FerdataError, WorkerError
from ferdata.format import DatasetIndex
from ferdata.stream.memory.ring import SharedBytes
from ferdata.stream.workers.channel import Ack, JobRecord, Line, PlanBoard
from ferdata.stream.workers.worker import JobReader

__all__ = ["Crew"]

WINDOWS_UNDER_WAY = 4
"""Two windows fit the ring; of short ones, which an epoch ends in and a resume begins with, there may be more."""
_POLL_MS = 2000


class Crew:
    """Worker processes of one loader; with ``num_workers=0`` the work is done by whoever waits for it.

    The processes are those of a ``DataLoader`` whose items are workers' lives: jobs reach them through a line of their own.
    Of torch's private parts it uses what has been there from torch 2.6 to 2.15: ``_workers``, ``_shutdown``, ``_shutdown_workers`` and
    ``_worker_result_queue``.

    Args:
        root: The data set's folder.
        index: Its index.
        split: The split.
        memory: The ring's memory.
        num_workers: Processes.
        window_samples: Samples of the largest window.
        job_samples: Samples of a job.
        start_method: How processes start; None for Python's default.
        persistent: Keep processes from epoch to epoch.
    """

    def __init__(
        self,
        *,
        root: str,
        index: DatasetIndex,
        split: str,
        memory: SharedBytes,
        num_workers: int,
        window_samples: int,
        job_samples: int,
        start_method: str | None,
        persistent: bool,
    ) -> None:
        self._board = PlanBoard(window_samples=window_samples, num_windows=WINDOWS_UNDER_WAY, num_workers=num_workers)
        self._reader = JobReader(root, index, split, memory, self._board)
        self._shards = [info.name for info in index.shards if info.split == split]
        self._num_workers = num_workers
        self._job_samples = job_samples
        self._start_method = start_method
        self._persistent = persistent
        self._loader: DataLoader[Any] | None = self._make_loader()
        self._lives: Any = None
        self._poll = select.poll()
        self._own_jobs: deque[JobRecord] = deque()
        self._under_way = 0
        self._regions = {region: 0 for region in range(WINDOWS_UNDER_WAY)}
        self._region_of: dict[int, int] = {}
        self._starting = False
        _crews.add(self)
        self._close = weakref.finalize(self, _let_go, self._reader, num_workers)  # a forgotten crew ends at once

    def begin(self) -> None:
        """Begin an epoch: start workers where none are, and let those finish that an abandoned epoch left at work.

        Raises:
            WorkerError: If the crew was closed, or a worker died.
        """
        if self._loader is None:
            raise WorkerError("loader: it was closed, expected an open one; make a new loader")
        if getattr(multiprocessing.process.current_process(), "_inheriting", False):
            raise WorkerError(
                "loader: this process is itself a worker that is still importing the main script, expected the script's "
                "own code under `if __name__ == '__main__':`; guard it so, as start methods spawn and forkserver need"
            )
        if not self._persistent:
            self._stop()
        with self._or_abandon():
            self._board.generation += 1
            self._own_jobs.clear()
            if self._num_workers and self._lives is None:
                self._start()
            self.look()
            while self._under_way and self._num_workers:
                self._receive()
            self._under_way = 0
            self._regions = dict.fromkeys(self._regions, 0)
            self._region_of.clear()

    def submit(self, window: int, samples: np.ndarray, rows: np.ndarray, *, verify: int) -> int | None:
        """Hand out a window's jobs; see :class:`ferdata.stream.workers.prefetch.Desk`."""
        region = next((region for region, jobs in self._regions.items() if not jobs), None)
        if region is None:
            return None
        with self._or_abandon():
            start, size, total = self._board.write(region, samples, rows), self._job_samples, len(samples)
            jobs = [JobRecord(window, self._board.generation, start + cut, min(size, total - cut), verify) for cut in range(0, total, size)]
            self._regions[region] = len(jobs)
            self._region_of[window] = region
            self._under_way += len(jobs)
            if self._num_workers:
                assert self._reader.line is not None
                self._reader.line.send(jobs)
            else:
                self._own_jobs.extend(jobs)
        return len(jobs)

    def acknowledgements(self) -> list[Ack]:
        """Wait for jobs to be over and return what workers say of them, their errors included.

        Raises:
            WorkerError: If a worker died.
        """
        with self._or_abandon():
            if self._num_workers:
                acks = self._receive()
            else:
                acks = [self._reader.work(self._own_jobs.popleft())]
                self._under_way -= 1
            for ack in acks:
                region = self._region_of[ack.window]
                self._regions[region] -= 1
                if not self._regions[region]:
                    del self._region_of[ack.window]
        return acks

    def finish(self) -> None:
        """End an epoch; processes that do not persist stop."""
        if not self._persistent:
            self._stop()

    def close(self) -> None:
        """Stop all processes."""
        self._stop()
        self._loader = None
        self._close()

    def _make_loader(self) -> DataLoader[Any]:
        processes: dict[str, Any] = {}
        if self._num_workers:
            processes = {
                "prefetch_factor": 1,
                "multiprocessing_context": multiprocessing.get_context(self._start_method) if self._start_method else None,
                "in_order": False,
                "worker_init_fn": _leave_interrupts_to_parent,
            }
        with _no_advice():
            return DataLoader(
                self._reader,
                batch_size=None,
                sampler=range(self._num_workers),
                num_workers=self._num_workers,
                collate_fn=_as_is,
                generator=torch.Generator("cpu"),  # its own, or every start would take a number from the training's random stream
                **processes,
            )

    def _start(self) -> None:
        """Start the processes, each on its one item."""
        assert self._loader is not None
        if multiprocessing.current_process().daemon:
            raise WorkerError("loader: this process is a daemon, which may not start others, expected one that may; use num_workers=0")
        if (self._start_method or multiprocessing.get_start_method()) != "fork":
            multiprocessing.resource_tracker.ensure_running()  # else torch would, which lets Ctrl-C through again
        self._under_way = 0
        self._starting = True
        try:
            line = self._reader.line = Line()
            with _no_advice(), _interrupts_held(), torch.device("cpu"):  # whatever the default device is
                lives: Any = iter(self._loader)
                self._lives = lives
                _remove_worker_pids(id(lives))  # or torch raises from a signal handler, wherever the training happens to be
                lives._worker_pids_set = False
                line.keep("jobs_in", "acks_out")
        except (RuntimeError, EOFError, ConnectionError) as error:
            raise self._death(str(error)) from error
        except OSError as error:
            self._abandon()
            raise WorkerError(
                f"loader: {self._num_workers} workers could not be started ({error.strerror or error}), expected room for their processes "
                "and pipes; raise the limits (ulimit -n, ulimit -u) or use fewer num_workers"
            ) from error
        finally:
            self._starting = False
        self._poll = select.poll()
        for fd in (line.acks_out, lives._worker_result_queue._reader, *(worker.sentinel for worker in lives._workers)):
            self._poll.register(fd, select.POLLIN)

    def look(self) -> None:
        """Find a worker that died while nobody waited for it.

        Raises:
            WorkerError: If there is one.
        """
        for worker in self._lives._workers if self._lives is not None else ():
            if not worker.is_alive():
                raise self._death_of(worker)

    def _receive(self) -> list[Ack]:
        """Wait for acknowledgements, and for a worker's death."""
        line = self._reader.line
        assert line is not None
        while True:
            ready = {fd for fd, _ in self._poll.poll(_POLL_MS)}
            for fd in ready - {line.acks_out}:
                self._find_dead(fd)
            if line.acks_out in ready:
                try:
                    acks = line.receive()
                except EOFError:
                    self._join_dead()
                    continue
                self._under_way -= len(acks)
                return acks
            # A process that another thread forked may hold a sentinel open: the end of its worker is then heard of by asking.
            self.look()

    def _join_dead(self) -> None:
        """Raise the error of workers that have all let go of the line, as only dead ones do."""
        for worker in self._lives._workers:
            worker.join(1)
        self.look()

    def _find_dead(self, fd: int) -> None:
        """Raise the error of the worker that is behind ``fd``: one that died, or one that met a bug of ours."""
        for worker in self._lives._workers:
            if worker.sentinel == fd:
                worker.join(1)
                raise self._death_of(worker)
        try:
            next(self._lives)
        finally:
            self._abandon()

    def _stop(self) -> None:
        """Stop the processes now."""
        with _interrupts_held():
            lives, line = self._lives, self._reader.line
            self._lives = self._reader.line = None
            if lives is None or line is None:
                return
            generation = self._board.generation
            self._board.generation = -1
            line.stop(self._num_workers)
            lives._shutdown_workers()
            self._board.generation = generation
            line.close()
            del lives  # here, since torch's destructor would swallow an interrupt

    @contextlib.contextmanager
    def _or_abandon(self) -> Iterator[None]:
        """Give the workers up after an interrupt: what is under way is no longer known. The next epoch starts others."""
        try:
            yield
        except FerdataError:
            raise
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Kill the workers without asking them: the dead one may have taken a lock along that a question needs."""
        with _interrupts_held():
            lives, line = self._lives, self._reader.line
            self._lives = self._reader.line = None
            if lives is not None:
                lives._shutdown = True
                for worker in lives._workers:
                    worker.kill()
                for worker in lives._workers:
                    worker.join()
            if line is not None:
                line.close()
            del lives  # here, since torch's destructor would swallow an interrupt

    def forget(self) -> None:
        """Let go of everything in a process that was forked and has no part in it: neither its end nor its garbage may stop the workers."""
        if self._starting:
            return
        lives, line = self._lives, self._reader.line
        self._lives = self._reader.line = None
        self._close.detach()
        if lives is not None:
            lives._shutdown = True
            multiprocessing.process._children.difference_update(lives._workers)  # type: ignore[attr-defined]
        if line is not None:
            line.close()

    def _death_of(self, worker: Any) -> WorkerError:
        """Return the error to raise for a worker's death: how it ended and what it was reading."""
        shard = self._board.reading(worker.pid)
        while_reading = f" while it read {self._shards[shard]}" if shard >= 0 else ""
        return self._death(f"pid {worker.pid} exited unexpectedly, exit code {worker.exitcode}{while_reading}", exit_code=worker.exitcode)

    def _death(self, found: str, *, exit_code: int | None = None) -> WorkerError:
        """Return the error to raise for a death, with nothing left running."""
        self._abandon()
        self.close()
        return WorkerError(
            f"loader: a worker process died ({found}), expected it to live until the loader is closed; "
            f"look for {_CAUSES.get(exit_code or 0, _OTHER_CAUSES)}; then make a new loader and load the last state"
        )


_CAUSES = {
    -signal.SIGKILL: "the kernel's out-of-memory killer",
    -signal.SIGBUS: "full shared memory (df /dev/shm) and errors of the disk in the kernel's log (dmesg)",
}
_OTHER_CAUSES = "what it printed, and under spawn or forkserver for a script without `if __name__ == '__main__':`"


def _let_go(reader: JobReader, num_workers: int) -> None:
    """Tell workers to stop, and close what this process itself has opened."""
    if reader.line is not None:
        reader.board.generation = -1
        reader.line.stop(num_workers)
    reader.close()


_crews: "weakref.WeakSet[Crew]" = weakref.WeakSet()


def _forget_all() -> None:
    for crew in list(_crews):
        crew.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Keep torch from advising against more workers than cores: that is the user's decision, and plan says what it costs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def _as_is(value: Any) -> Any:
    return value


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends.

    torch starting or stopping workers would be left with locks held, and workers that are still importing torch could only print
    a traceback: they inherit that the signal is blocked.
    """
    came: list[int] = []
    in_main = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler: Any = None
    try:
        # Both calls run handlers of signals that are waiting: what they raise must find the way back to the state before.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if in_main:
            handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _leave_interrupts_to_parent(_: int) -> None:
    """Ignore Ctrl-C, which a terminal or a notebook sends to workers as well: the parent decides whether they go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
