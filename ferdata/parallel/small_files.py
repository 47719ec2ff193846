"""Read many small files side by side, in order and with a bounded number of jobs in flight.

In: a function and its jobs. Out: its results, in order. Costs nothing if there are too few files to gain from it.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ferdata.parallel.bounded import ResultT, TaskT
from ferdata.parallel.process_pool import map_in_processes
from ferdata.parallel.threads import iterate_in_threads
from ferdata.store import Store

__all__ = ["FILES_PER_JOB", "read_in_order"]

FILES_PER_JOB = 1024
"""Images whose annotation files make one job: large enough that the pool's own messages cost nothing."""

_JOBS_WORTH_A_POOL = 8
_REMOTE_THREADS = 16


def read_in_order(
    store: Store,
    function: Callable[[Store, TaskT], ResultT],
    jobs: Iterable[TaskT],
    *,
    num_jobs: int,
    num_workers: int,
) -> Iterator[ResultT]:
    """Yield ``function(store, job)`` for every job, in order.

    Local files are read by processes, since Python itself takes most of the time; remote ones by threads, which wait.

    Args:
        store: Holds the files.
        function: At module level, so that a process can find it.
        jobs: Of about ``FILES_PER_JOB`` images each.
        num_jobs: How many there are; a few are done here and now.
        num_workers: Processes.

    Raises:
        WorkerError: If a process dies.
    """
    work = partial(function, store)
    if not store.is_local:
        yield from iterate_in_threads(work, jobs, num_threads=_REMOTE_THREADS)
    elif num_workers == 1 or num_jobs < _JOBS_WORTH_A_POOL:
        yield from map(work, jobs)
    else:
        yield from map_in_processes(work, jobs, num_workers=num_workers, where=str(store))
