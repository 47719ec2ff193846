"""One function over many tasks in threads.

In: a function that spends its time outside Python's lock (hashing, decoding, writing files). Out: results in the tasks'
order. Threads, not processes: they need no start method, no main guard and no pickling, and work in a notebook.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ferdata.parallel.bounded import ResultT, TaskT, results_in_order
from ferdata.parallel.cores import check_workers, usable_cores
from ferdata.remote import Patience, usual_patience

__all__ = ["Progress", "iterate_in_threads", "map_in_threads"]

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks)."""

_TASKS_PER_THREAD = 8


def map_in_threads(
    function: Callable[[TaskT], ResultT],
    tasks: Sequence[TaskT],
    *,
    num_workers: int | None,
    progress: Progress | None,
    patience: Patience | None = None,
) -> list[ResultT]:
    """Return ``function(task)`` for every task; the first error ends the rest that has not begun.

    Args:
        function: Safe to call from several threads.
        tasks: What to do.
        num_workers: Threads, at least 1; one per core where None.
        progress: Called in this thread, after every task in order.
        patience: What tasks read with behind URLs, if not with what is usual: Ctrl-C ends what they wait for.
    """
    check_workers(num_workers)
    results: list[ResultT] = []
    for result in iterate_in_threads(function, tasks, num_threads=num_workers or usable_cores(), patience=patience):
        results.append(result)
        if progress is not None:
            progress(len(results), len(tasks))
    return results


def iterate_in_threads(
    function: Callable[[TaskT], ResultT],
    tasks: Iterable[TaskT],
    *,
    num_threads: int,
    patience: Patience | None = None,
) -> Iterator[ResultT]:
    """Yield ``function(task)`` for every task, in order, with a few tasks per thread in flight.

    Ctrl-C ends what they wait for behind URLs, too.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            yield from results_in_order(pool, function, tasks, max_in_flight=_TASKS_PER_THREAD * num_threads)
        except KeyboardInterrupt:
            (patience or usual_patience()).interrupt()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
