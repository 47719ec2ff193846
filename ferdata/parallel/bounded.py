"""Tasks in a pool, a bounded number at a time, so they may be many and lazy. In: a function, tasks. Out: results."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ferdata.errors import FerdataError
from ferdata.program import stops_held

__all__ = ["ResultT", "TaskT", "result_of", "results_in_order", "submit_quietly"]

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_NAME_LENGTH = 80


def results_in_order(
    pool: Executor, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], *, max_in_flight: int
) -> Iterator[ResultT]:
    """Yield ``function(task)`` for every task, in order, with at most ``max_in_flight`` begun and not yet yielded."""
    in_flight: deque[tuple[TaskT, Future[ResultT]]] = deque()
    for task in tasks:
        if len(in_flight) == max_in_flight:
            yield result_of(*in_flight.popleft())
        in_flight.append((task, submit_quietly(pool, function, task)))
    while in_flight:
        yield result_of(*in_flight.popleft())


def result_of(task: Any, future: "Future[ResultT]") -> ResultT:
    """Return the result of a task; an error that isn't ours (ours say what is wrong) is told which task it is from."""
    try:
        return future.result()
    except FerdataError:
        raise
    except Exception as error:
        error.add_note(f"in the task {getattr(task, 'name', None) or str(task)[:_NAME_LENGTH]}")
        raise


def submit_quietly(pool: Executor, function: Callable[[TaskT], ResultT], task: TaskT) -> "Future[ResultT]":
    """Submit to a pool that may fork, without Python's warning of forks beside threads, nor half a fork at Ctrl-C.

    For workers that touch nothing a thread of the parent, such as a progress bar's, could hold locked.
    """
    if isinstance(pool, ThreadPoolExecutor):
        return pool.submit(function, task)
    with stops_held(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pool.submit(function, task)
