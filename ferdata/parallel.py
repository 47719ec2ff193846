"""How many cores there are to use, and one function over many tasks in threads.

In: a function that spends its time outside Python's lock (hashing, decoding, writing files). Out: results in the tasks' order.
Threads, not processes: they need no start method, no main guard and no pickling, and work in a notebook.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ferdata.errors import OptionError

__all__ = ["Progress", "map_in_threads", "submit_quietly", "usable_cores"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks)."""


def usable_cores(system: Path = Path("/")) -> int:
    """Return how many cores this process may use: those it may run on, and no more than a container's quota of processor time.

    The one answer for every default and every figure: a pool with a process a core of the machine, in a container that gets two of
    64, is 62 processes that wait for each other.

    Args:
        system: Where ``/proc`` and ``/sys`` are looked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas(system)]))


def _quotas(system: Path) -> list[int]:
    """Return the whole cores that this process's control group and those above it are given, where they are bounded."""
    top = system / "sys/fs/cgroup"
    found = []
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one tree and one file; version 1 a tree for each controller and two files. A container may see its own as the top.
        root, names = (top / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")) if controllers else (top, ("cpu.max",))
        group = root / own.strip("/")
        for folder in {root, group, *(above for above in group.parents if root in above.parents)}:
            values = " ".join(_text(folder / name) for name in names).split()
            if len(values) == 2 and all(value.isdecimal() for value in values) and int(values[1]):
                found.append(int(values[0]) // int(values[1]))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


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
        raise OptionError(f"workers: {num_workers} found, expected at least 1; leave it out for one per core")
    results: list[Result] = []
    pool = ThreadPoolExecutor(max_workers=num_workers or usable_cores())
    try:
        for result in pool.map(function, tasks):
            results.append(result)
            if progress is not None:
                progress(len(results), len(tasks))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def submit_quietly(executor: Executor, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Submit to a pool that may fork for it, without Python's warning of forks beside threads (3.12 and later).

    For workers that touch nothing a thread of the parent, such as a progress bar's, could hold locked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return executor.submit(function, *arguments)
