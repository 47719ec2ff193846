"""The one pool of processes: runs independent tasks, a bounded number at a time, and never leaves a worker behind.

In: a function and tasks. Out: results, in order or as they come with counts. Start-up costs milliseconds a worker.
"""

import ctypes
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ferdata.errors import WorkerError
from ferdata.parallel.bounded import ResultT, TaskT, result_of, results_in_order, submit_quietly
from ferdata.remote import be_patient, usual_patience

__all__ = ["Beat", "map_in_processes", "run_tasks"]

Beat = Callable[[int, int, int], None]
"""Called with images accepted and rejected, and bytes: by a task for one image, which it may end; else with sums."""

TICK_SECONDS = 0.1
TASKS_PER_WORKER = 2
_ORDERED_TASKS_PER_WORKER = 3
_COUNTERS = 3
_OVER_SECONDS = 0.5
"""How often a worker looks whether its pool is at its end."""
_PR_SET_PDEATHSIG = 1

# Forking takes milliseconds, needs no guarded main module, and shares what was made here; spawning imports all again.
# Elsewhere than on Linux, system libraries do not survive a fork.
_CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def map_in_processes(
    function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], *, num_workers: int, where: str
) -> Iterator[ResultT]:
    """Yield ``function(task)`` for every task, in order; ``_ORDERED_TASKS_PER_WORKER`` a worker are in flight.

    Args:
        function: At module level, or a partial of one.
        tasks: In the order they are started; may be long and lazy.
        num_workers: Processes.
        where: Start of error texts.

    Raises:
        WorkerError: If a worker is killed.
    """
    with _process_pool(num_workers, where) as pool:
        yield from results_in_order(pool, function, tasks, max_in_flight=_ORDERED_TASKS_PER_WORKER * num_workers)


def run_tasks(
    work: Callable[[TaskT, Beat], ResultT],
    tasks: Iterable[TaskT],
    *,
    num_workers: int,
    on_result: Callable[[ResultT], None],
    on_tick: Beat,
    where: str,
    advice: str = "",
) -> None:
    """Call ``work(task, beat)`` for every task in a pool of processes.

    ``work`` calls ``beat(accepted, rejected, num_bytes)`` after every image; the sums over all workers reach
    ``on_tick`` ten times a second. At most ``TASKS_PER_WORKER`` tasks a worker are in flight, so ``tasks`` may be long
    and lazy. On any error, Ctrl-C included, the workers stop at their next image before it is raised here.

    Args:
        work: A function at module level, or a partial of one.
        tasks: In the order they are started.
        num_workers: Processes.
        on_result: Called here with every result, in the order of completion.
        on_tick: Called here with the sums of ``beat``'s arguments.
        where: Start of error texts.
        advice: End of the error's text where a worker is killed: what to do, beside using fewer.

    Raises:
        WorkerError: If a worker is killed.
    """
    board = _Board(num_workers)
    waiting = iter(tasks)
    running: dict[Future[ResultT], TaskT] = {}
    with _process_pool(num_workers, where, advice, partial(_begin, work, board)) as pool:
        try:
            while True:
                while len(running) < TASKS_PER_WORKER * num_workers and (task := next(waiting, None)) is not None:
                    running[submit_quietly(pool, _run_task, task)] = task
                if not running:
                    break
                for future in wait(running, TICK_SECONDS, FIRST_COMPLETED).done:
                    on_result(result_of(running.pop(future), future))
                on_tick(*board.sums())
        finally:
            board.is_stopped.value = 1  # workers stop at their next image


@contextmanager
def _process_pool(
    num_workers: int, where: str, advice: str = "", begin: Callable[[], None] | None = None
) -> Iterator[Executor]:
    """Open a pool whose workers ignore Ctrl-C and die with this process, however; they are gone after the block.

    Raises:
        WorkerError: If a worker is killed.
    """
    is_over = _CONTEXT.RawValue("b", 0)
    begun_with = os.getpid(), usual_patience().seconds, is_over, begin
    with ProcessPoolExecutor(num_workers, _CONTEXT, initializer=_start_worker, initargs=begun_with) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            text = f"{where}: a worker process was killed, expected it to live"
            text += "; if memory ran out, use a smaller num_workers="
            raise WorkerError("; ".join(filter(None, (text, advice)))) from error
        finally:
            is_over.value = 1
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(parent: int, patience: float, is_over: Any, begin: Callable[[], None] | None) -> None:
    be_patient(patience)
    threading.Thread(target=_end_patience, args=(is_over,), daemon=True).start()
    # Ctrl-C reaches every process of the terminal; only the parent may answer it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be asked to take this process with it
            os._exit(1)
    else:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    # A progress bar's thread may have held these streams at the fork; flushing them would wait for it forever.
    sys.stdout = sys.stderr = None
    # Image libraries in C write of damaged files to the terminal as they please; what matters is in our rejects.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # What was inherited is never garbage; looking through it would copy its pages into every worker.
    gc.freeze()
    if begin is not None:
        begin()


def _end_patience(is_over: Any) -> None:
    """Wait for nobody behind a URL once nobody waits for this worker."""
    while not is_over.value:
        time.sleep(_OVER_SECONDS)
    usual_patience().end()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


class _Board:
    """Counters in shared memory, a row per worker, so that nobody waits for a lock that a killed worker holds."""

    def __init__(self, num_workers: int) -> None:
        self.is_stopped = _CONTEXT.RawValue("b", 0)
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


class _StoppedError(Exception):
    """Ends a task whose result nobody waits for any more."""


_work: tuple[Callable[..., Any], Beat] | None = None
"""What this worker process does with a task, and what it calls meanwhile."""


def _begin(work: Callable[..., Any], board: _Board) -> None:
    global _work
    row = board.claim()

    def beat(accepted: int, rejected: int, num_bytes: int) -> None:
        row[0] += accepted
        row[1] += rejected
        row[2] += num_bytes
        if board.is_stopped.value:
            raise _StoppedError

    _work = work, beat


def _run_task(task: Any) -> Any:
    assert _work is not None
    work, beat = _work
    return work(task, beat)
