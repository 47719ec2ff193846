"""Runs one function over many tasks in threads, and says how far it is.

In: a function that spends its time outside Python's lock (hashing, decoding, writing files). Out: results in the tasks' order.
Threads, not processes: they need no start method, no main guard and no pickling, and work in a notebook.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ferdata.errors import OptionError

__all__ = ["Progress", "available_cores", "map_in_threads"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks)."""


def available_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, num_workers: int | None, progress: Progress | None
) -> list[Result]:
    """Return ``function(task)`` for every task; the first error ends the rest that has not begun.

    Args:
        function: Safe to call from several threads.
        tasks: What to do.
        num_workers: Threads, at least 1; one per core where None.
        progress: Called in this thread, after every task in order.
    """
    if num_workers is not None and num_workers < 1:
        raise OptionError(f"num_workers: {num_workers} found, expected at least 1; leave it out for one per core")
    results: list[Result] = []
    pool = ThreadPoolExecutor(max_workers=num_workers or available_cores())
    try:
        for result in pool.map(function, tasks):
            results.append(result)
            if progress is not None:
                progress(len(results), len(tasks))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results
