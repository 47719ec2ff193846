"""One operation of torch a thread, many threads. In: a function and tasks. Out: results, in order.

Threads that each divided their operations among all cores would be more than cores, and wait for each other. How the
threads of one operation wait is decided once for every verb, in ``ferdata/parallel/openmp.py``.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from ferdata.parallel import iterate_in_threads

__all__ = ["each_in_a_thread", "one_thread_each"]

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def each_in_a_thread(
    function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], *, num_threads: int
) -> Iterator[ResultT]:
    """Yield ``function(task)`` for every task, whose operations compute in its own thread."""
    with one_thread_each():
        yield from iterate_in_threads(function, tasks, num_threads=num_threads)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have operations compute in the thread that calls them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
