"""Read many small files side by side, in order and with a bounded number of chunks underway.

In: a function and its jobs. Out: its results, in the order of the jobs. Costs nothing where there are too few files to gain from it.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ferdata.errors import WorkerError
from ferdata.parallel import submit_quietly
from ferdata.store import Store

__all__ = ["FILES_PER_JOB", "read_in_order"]

FILES_PER_JOB = 1024
"""Images whose annotation files make one job: large enough that the pool's own messages cost nothing."""

_JOBS_WORTH_A_POOL = 8
_REMOTE_THREADS = 16
_PARENT_CHECK_SECONDS = 0.5
_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def read_in_order(
    store: Store, function: Callable[[Store, _Job], _Result], jobs: Iterable[_Job], *, num_jobs: int, num_workers: int
) -> Iterator[_Result]:
    """Yield ``function(store, job)`` for every job, in order.

    Local files are read by processes, since most of the time goes into Python itself; remote ones by threads, which wait.

    Args:
        store: Holds the files.
        function: At module level, so that a process can find it.
        jobs: Of about ``FILES_PER_JOB`` images each.
        num_jobs: How many there are; a few are done here and now.
        num_workers: Processes.

    Raises:
        WorkerError: If a process dies.
    """
    if store.is_local and (num_workers == 1 or num_jobs < _JOBS_WORTH_A_POOL):
        yield from (function(store, job) for job in jobs)
        return
    underway: deque[Future[_Result]] = deque()
    at_once = 2 * (num_workers if store.is_local else _REMOTE_THREADS)
    try:
        with _executor(store, num_workers) as executor:
            try:
                for job in jobs:
                    underway.append(submit_quietly(executor, function, store, job))
                    if len(underway) > at_once:
                        yield underway.popleft().result()
                while underway:
                    yield underway.popleft().result()
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
    except BrokenProcessPool as error:
        raise WorkerError(f"{store}: a process that reads annotations died, expected it to finish; use fewer workers") from error


def _executor(store: Store, num_workers: int) -> Executor:
    if not store.is_local:
        return ThreadPoolExecutor(_REMOTE_THREADS)
    # Forked readers start at once and need no guarded main module; they only open files and touch no lock of the parent.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    return ProcessPoolExecutor(num_workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))


def _begin(parent: int) -> None:
    # Ctrl-C reaches every process of the terminal; only the parent may answer it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    # A parent that is killed closes nothing, because its readers hold each other's pipes open.
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os._exit(1)
