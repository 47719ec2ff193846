"""The worker processes, those of a ``DataLoader``: submits windows and collects acknowledgements.

In: windows. Out: acknowledgements, or the worker's own error. Hides how workers start, die and stop.
"""

import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import os
import select
import signal
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
from ferdata.stream.workers.channel import Ack, Channel, JobRecord, SharedPlan
from ferdata.stream.workers.interrupts import interrupts_held, leave_interrupts_to_parent
from ferdata.stream.workers.worker import JobReader

__all__ = ["Workers"]

WINDOWS_IN_FLIGHT = 4
"""Two windows fit in the ring; of short ones, which end an epoch or begin a resumed one, there may be more."""
_POLL_MS = 2000


class Workers:
    """The worker processes of one loader; with ``num_workers=0`` whoever waits for the work does it.

    The processes are those of a ``DataLoader`` whose only item takes a worker's whole life: jobs reach them through a
    channel of their own. Of torch's private names it uses those that exist from torch 2.6 to 2.15: ``_workers``,
    ``_shutdown``, ``_shutdown_workers`` and ``_worker_result_queue``.

    Args:
        root: The data set's folder.
        index: Its index.
        split: The split.
        memory: The ring's memory.
        num_workers: Number of processes.
        window_samples: Samples in the largest window.
        job_samples: Samples in a job.
        start_method: How processes start; None for Python's default.
        persistent: Keep the processes from epoch to epoch.
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
        self._plan = SharedPlan(window_samples=window_samples, num_windows=WINDOWS_IN_FLIGHT, num_workers=num_workers)
        self._reader = JobReader(root, index, split, memory, self._plan)
        self._shards = [info.name for info in index.shards if info.split == split]
        self._num_workers = num_workers
        self._job_samples = job_samples
        self._start_method = start_method
        self._persistent = persistent
        self._loader: DataLoader[Any] | None = self._make_loader()
        self._iterator: Any = None
        self._poll = select.poll()
        self._own_jobs: deque[JobRecord] = deque()
        self._missing = dict.fromkeys(range(WINDOWS_IN_FLIGHT), 0)  # jobs not acknowledged yet, by region of the plan
        self._region_of: dict[int, int] = {}
        self._starting = False
        _instances.add(self)
        self._close = weakref.finalize(
            self, _let_go, self._reader, num_workers
        )  # workers that nobody refers to end at once

    def begin(self) -> None:
        """Begin an epoch: start workers if there are none, and wait for the jobs that an abandoned epoch left behind.

        Raises:
            WorkerError: If the workers were closed, or one died.
        """
        if self._loader is None:
            raise WorkerError("loader: it was closed, expected an open one; make a new loader")
        if getattr(multiprocessing.process.current_process(), "_inheriting", False):
            raise WorkerError(
                "loader: this process is itself a worker that is still importing the main script, expected the "
                "script's own code under `if __name__ == '__main__':`; guard it so, as start methods spawn and "
                "forkserver need"
            )
        if not self._persistent:
            self._stop()
        with self._or_abandon():
            self._plan.generation += 1
            self._own_jobs.clear()
            if self._num_workers and self._iterator is None:
                self._start()
            self.check_alive()
            while self._num_workers and any(self._missing.values()):
                self._settle(self._receive())
            self._forget_jobs()

    def submit(self, window: int, samples: np.ndarray, rows: np.ndarray, *, verify: int) -> int | None:
        """Submit a window's jobs; see :class:`ferdata.stream.workers.prefetch.Executor`."""
        region = next((region for region, missing in self._missing.items() if not missing), None)
        if region is None:
            return None
        with self._or_abandon():
            start, size, total = self._plan.write(region, samples, rows), self._job_samples, len(samples)
            jobs = [
                JobRecord(window, self._plan.generation, start + cut, min(size, total - cut), verify)
                for cut in range(0, total, size)
            ]
            self._missing[region] = len(jobs)
            self._region_of[window] = region
            if self._num_workers:
                assert self._reader.channel is not None
                self._reader.channel.send(jobs)
            else:
                self._own_jobs.extend(jobs)
        return len(jobs)

    def acknowledgements(self) -> list[Ack]:
        """Wait until jobs are finished and return what workers report of them, errors included.

        Raises:
            WorkerError: If a worker died.
        """
        with self._or_abandon():
            acks = self._receive() if self._num_workers else [self._reader.work(self._own_jobs.popleft())]
            self._settle(acks)
        return acks

    def finish(self) -> None:
        """End an epoch; stop the processes unless they persist."""
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
                "multiprocessing_context": multiprocessing.get_context(self._start_method)
                if self._start_method
                else None,
                "in_order": False,
                "worker_init_fn": leave_interrupts_to_parent,
            }
        with _no_advice():
            return DataLoader(
                self._reader,
                batch_size=None,
                sampler=range(self._num_workers),
                num_workers=self._num_workers,
                collate_fn=_as_is,
                generator=torch.Generator(
                    "cpu"
                ),  # its own, or every start would draw from the training's random stream
                **processes,
            )

    def _start(self) -> None:
        """Start the processes, each on its one item."""
        assert self._loader is not None
        if multiprocessing.current_process().daemon:
            raise WorkerError(
                "loader: this process is a daemon, which may not start others, expected one that may; use num_workers=0"
            )
        if (self._start_method or multiprocessing.get_start_method()) != "fork":
            multiprocessing.resource_tracker.ensure_running()  # if torch started it, that would unblock Ctrl-C
        self._forget_jobs()
        self._starting = True
        try:
            channel = self._reader.channel = Channel()
            with _no_advice(), interrupts_held(), torch.device("cpu"):  # whatever the default device is
                iterator: Any = iter(self._loader)
                self._iterator = iterator
                _remove_worker_pids(
                    id(iterator)
                )  # or torch raises from a signal handler, wherever the training happens to be
                iterator._worker_pids_set = False
                channel.keep_only("jobs_in", "acks_out")
        except (RuntimeError, EOFError, ConnectionError) as error:
            raise self._death(str(error)) from error
        except OSError as error:
            self._abandon()
            raise WorkerError(
                f"loader: {self._num_workers} workers could not be started ({error.strerror or error}), expected room "
                "for their processes and pipes; raise the limits (ulimit -n, ulimit -u) or use fewer num_workers"
            ) from error
        finally:
            self._starting = False
        self._poll = select.poll()
        for fd in (
            channel.acks_out,
            iterator._worker_result_queue._reader,
            *(worker.sentinel for worker in iterator._workers),
        ):
            self._poll.register(fd, select.POLLIN)

    def check_alive(self) -> None:
        """Check that no worker died while nobody waited for it.

        Raises:
            WorkerError: If one did.
        """
        for worker in self._iterator._workers if self._iterator is not None else ():
            if not worker.is_alive():
                raise self._death_of(worker)

    def _receive(self) -> list[Ack]:
        """Wait for acknowledgements, or for a worker's death."""
        channel = self._reader.channel
        assert channel is not None
        while True:
            ready = {fd for fd, _ in self._poll.poll(_POLL_MS)}
            for fd in ready - {channel.acks_out}:
                self._find_dead(fd)
            if channel.acks_out in ready:
                try:
                    return channel.receive()
                except EOFError:
                    self._join_dead()
                    continue
            # A process that another thread forked may hold a sentinel open: then only asking tells that its worker
            # died.
            self.check_alive()

    def _join_dead(self) -> None:
        """Raise the error of a worker when all have released the channel, as only dead ones do."""
        for worker in self._iterator._workers:
            worker.join(1)
        self.check_alive()

    def _find_dead(self, fd: int) -> None:
        """Raise the error of the worker behind ``fd``: it died, or it met a bug of ours."""
        for worker in self._iterator._workers:
            if worker.sentinel == fd:
                worker.join(1)
                raise self._death_of(worker)
        try:
            next(self._iterator)
        finally:
            self._abandon()

    def _stop(self) -> None:
        """Stop the processes now."""
        with interrupts_held():
            iterator, channel = self._take_over()
            if iterator is None or channel is None:
                return
            generation = self._plan.generation
            self._plan.generation = -1
            channel.stop(self._num_workers)
            iterator._shutdown_workers()
            self._plan.generation = generation
            channel.close()
            del iterator  # here, since torch's destructor would swallow an interrupt

    @contextlib.contextmanager
    def _or_abandon(self) -> Iterator[None]:
        """Abandon the workers after an interrupt, when the jobs in flight are no longer known; later ones are new."""
        try:
            yield
        except FerdataError:
            raise
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Kill the workers without asking them: a dead one may still hold a lock that asking needs."""
        with interrupts_held():
            iterator, channel = self._take_over()
            if iterator is not None:
                iterator._shutdown = True
                for worker in iterator._workers:
                    worker.kill()
                for worker in iterator._workers:
                    worker.join()
            if channel is not None:
                channel.close()
            del iterator  # here, since torch's destructor would swallow an interrupt

    def forget(self) -> None:
        """Release everything in a forked process, which does not own it: it must not stop the workers."""
        if self._starting:
            return
        iterator, channel = self._take_over()
        self._close.detach()
        if iterator is not None:
            iterator._shutdown = True
            multiprocessing.process._children.difference_update(iterator._workers)  # type: ignore[attr-defined]
        if channel is not None:
            channel.close()

    def _take_over(self) -> tuple[Any, Channel | None]:
        """Return the iterator and the channel, which are the caller's from now on, to be stopped."""
        iterator, channel = self._iterator, self._reader.channel
        self._iterator = self._reader.channel = None
        return iterator, channel

    def _settle(self, acks: list[Ack]) -> None:
        """Free the regions of windows whose jobs are all acknowledged."""
        for ack in acks:
            region = self._region_of[ack.window]
            self._missing[region] -= 1
            if not self._missing[region]:
                del self._region_of[ack.window]

    def _forget_jobs(self) -> None:
        self._missing = dict.fromkeys(self._missing, 0)
        self._region_of.clear()

    def _death_of(self, worker: Any) -> WorkerError:
        """Return the error for a worker's death: how it ended and what it was reading."""
        shard = self._plan.reading(worker.pid)
        while_reading = f" while it read {self._shards[shard]}" if shard >= 0 else ""
        return self._death(
            f"pid {worker.pid} exited unexpectedly, exit code {worker.exitcode}{while_reading}",
            exit_code=worker.exitcode,
        )

    def _death(self, found: str, *, exit_code: int | None = None) -> WorkerError:
        """Return the error for a death; nothing is left running."""
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
    """Tell workers to stop, and close what this process itself opened."""
    if reader.channel is not None:
        reader.plan.generation = -1
        reader.channel.stop(num_workers)
    reader.close()


_instances: "weakref.WeakSet[Workers]" = weakref.WeakSet()


def _forget_all() -> None:
    for workers in list(_instances):
        workers.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Keep torch from advising against more workers than cores: that is the user's decision."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def _as_is(value: Any) -> Any:
    return value
