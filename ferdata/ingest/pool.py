"""Runs independent tasks in processes, a bounded number at a time, and never leaves one behind.

In: a function and tasks. Out: results as they come, and counts while they run. Start-up costs a fork per worker: a few milliseconds.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import numpy as np

from ferdata.errors import WorkerError
from ferdata.parallel import submit_quietly

__all__ = ["run_tasks"]

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

TICK_SECONDS = 0.1
TASKS_PER_WORKER = 2
_COUNTERS = 3
_PR_SET_PDEATHSIG = 1

# Forking starts a worker in milliseconds; spawning imports everything again. Elsewhere than on Linux, system libraries do not survive it.
_CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def run_tasks(
    work: Callable[[TaskT, Callable[[int, int, int], None]], ResultT],
    tasks: Iterable[TaskT],
    *,
    num_workers: int,
    on_result: Callable[[ResultT], None],
    on_tick: Callable[[int, int, int], None],
    where: str,
) -> None:
    """Call ``work(task, beat)`` for every task in a pool of processes.

    ``work`` calls ``beat(accepted, rejected, num_bytes)`` after every image; the sums over all workers reach ``on_tick`` ten times a
    second. At most ``TASKS_PER_WORKER`` tasks a worker are in flight, so ``tasks`` may be long and lazy. Workers ignore Ctrl-C and die
    with this process, however it dies. On any error, Ctrl-C included, they stop at their next image before it is raised here.

    Args:
        work: A function at module level, or a partial of one.
        tasks: In the order they are started.
        num_workers: Processes.
        on_result: Called here with every result, in the order of completion.
        on_tick: Called here with the sums of ``beat``'s arguments.
        where: Start of error texts.

    Raises:
        WorkerError: If a worker is killed.
    """
    board = _Board(num_workers)
    waiting = iter(tasks)
    running: set[Future[ResultT]] = set()
    with ProcessPoolExecutor(num_workers, _CONTEXT, initializer=_start_worker, initargs=(work, board, os.getpid())) as executor:
        try:
            while True:
                while len(running) < TASKS_PER_WORKER * num_workers and (task := next(waiting, None)) is not None:
                    running.add(submit_quietly(executor, _run_task, task))
                if not running:
                    break
                done, running = wait(running, TICK_SECONDS, FIRST_COMPLETED)
                for future in done:
                    on_result(future.result())
                on_tick(*board.sums())
        except BrokenProcessPool as error:
            raise WorkerError(
                f"{where}: a worker process was killed, expected it to live; if memory ran out, use fewer --workers; "
                "finished shards are kept: run the same command again to go on"
            ) from error
        finally:
            board.stop()
            executor.shutdown(wait=True, cancel_futures=True)


class _Board:
    """Counters in shared memory, a row per worker, so that nobody waits for a lock that a killed worker holds."""

    def __init__(self, num_workers: int) -> None:
        self._stop = _CONTEXT.RawValue("b", 0)
        self._rows = _CONTEXT.RawArray("q", _COUNTERS * num_workers)
        self._next_row = _CONTEXT.Value("i", 0)

    def claim(self) -> np.ndarray:
        """Return the row of one more worker, int64 ``[3]``."""
        with self._next_row.get_lock():
            row = self._next_row.value
            self._next_row.value += 1
        return np.frombuffer(self._rows, np.int64, _COUNTERS, row * _COUNTERS * 8)

    def sums(self) -> tuple[int, int, int]:
        """Return the sums over the workers."""
        accepted, rejected, num_bytes = np.frombuffer(self._rows, np.int64).reshape(-1, _COUNTERS).sum(axis=0).tolist()
        return accepted, rejected, num_bytes

    def stop(self) -> None:
        """Ask all workers to stop at their next image."""
        self._stop.value = 1

    @property
    def is_stopped(self) -> bool:
        """Whether they were asked to."""
        return bool(self._stop.value)


class _StoppedError(Exception):
    """Ends a task whose result nobody waits for any more."""


class _Worker:
    """What a worker process keeps between tasks."""

    def __init__(self, work: Callable[..., Any], board: _Board, parent: int) -> None:
        self.work = work
        self._board, self._parent = board, parent
        self._row = board.claim()

    def beat(self, accepted: int, rejected: int, num_bytes: int) -> None:
        """Count one image; end the task if it is to stop, and the process if the parent is gone."""
        row = self._row
        row[0] += accepted
        row[1] += rejected
        row[2] += num_bytes
        if self._board.is_stopped:
            raise _StoppedError
        if os.getppid() != self._parent:
            os._exit(1)


_worker: _Worker | None = None


def _start_worker(work: Callable[..., Any], board: _Board, parent: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be asked to take this process with it
        os._exit(1)
    # A progress bar's thread may have held these streams at the fork; flushing them at the end would wait for it forever.
    sys.stdout = sys.stderr = None
    # What was inherited is never garbage; looking through it would copy its pages into every worker.
    gc.freeze()
    _worker = _Worker(work, board, parent)


def _run_task(task: Any) -> Any:
    assert _worker is not None
    return _worker.work(task, _worker.beat)
