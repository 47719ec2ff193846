"""Work on a Ray cluster: the one ``RAY_ADDRESS`` names, or one started here for as long as it takes.

In: a function and tasks. Out: results as they come, and counts twice a second. Every node must see the folders or URLs
by the same names and have ferdata installed; the bytes are those of the local pool. Tasks of lost nodes are done again.
"""

import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferdata.errors import FerdataError, WorkerError
from ferdata.optional import needs
from ferdata.parallel.bounded import ResultT, TaskT
from ferdata.parallel.process_pool import Beat
from ferdata.store import Store

__all__ = ["ENGINES", "ray_cluster", "run_tasks_on_ray", "seen_by_nodes"]

ENGINES = ("local", "ray")
"""What may do the work: processes of this machine, or a cluster."""

TICK_SECONDS = 0.5
TASKS_PER_CORE = 2
MOST_TRIES = 5
"""How often a task may be begun: one that ends its worker each time, as for want of memory, is given up."""


def run_tasks_on_ray(
    work: Callable[[TaskT, Beat], ResultT],
    tasks: Iterable[TaskT],
    *,
    num_workers: int,
    on_result: Callable[[ResultT], None],
    on_tick: Beat,
    where: str,
    advice: str = "",
) -> None:
    """Call ``work(task, beat)`` for every task in Ray; see :func:`ferdata.parallel.run_tasks`.

    Args:
        num_workers: Cores of a cluster that is started here; a cluster that is there is used whole.

    Raises:
        OptionError: If Ray is not installed.
        WorkerError: If the cluster cannot be reached, or loses a task for good.
    """
    with ray_cluster(num_workers, where=where, advice=advice) as ray:
        _run(ray, work, tasks, where=where, on_result=on_result, on_tick=on_tick)


@contextmanager
def ray_cluster(num_workers: int, *, where: str, advice: str = "") -> Iterator[Any]:
    """Connect to a cluster, or start one here, for as long as the context is open; yields the package ray.

    Args:
        num_workers: Cores of a cluster that is started here.
        where: What the work is, for the error.
        advice: What to do if the cluster gives up.

    Raises:
        OptionError: If Ray is not installed.
        WorkerError: If the cluster cannot be reached, or loses a task for good.
    """
    with needs("ray", "engine ray", instead=", or use engine=local"):
        import ray
    started = not ray.is_initialized()
    try:
        if started:
            _connect(ray, num_workers)
        yield ray
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, FerdataError):
            raise error.cause from error
        raise
    except (ray.exceptions.RayError, ConnectionError) as error:
        found = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        text = f"{where}: Ray gave up ({found}), expected its workers to live"
        raise WorkerError("; ".join(filter(None, (text, advice)))) from error
    finally:
        if started:
            ray.shutdown()


def seen_by_nodes(place: str) -> str:
    """Return the name by which nodes find a folder, since each works in one of its own; URLs stay as they are."""
    store = Store(place)
    return os.path.abspath(store.root) if store.is_local else place


def _connect(ray: Any, num_workers: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        # ferdata need not be installed here
        paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
        ray.init(num_cpus=num_workers, include_dashboard=False, runtime_env=environment, **quiet)


def _run(
    ray: Any,
    work: Callable[..., Any],
    tasks: Iterable[Any],
    *,
    where: str,
    on_result: Callable[[Any], None],
    on_tick: Beat,
) -> None:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    counter = ray.remote(num_cpus=0, max_restarts=-1)(_Counter).options(scheduling_strategy=here).remote()
    # Ray would do lost tasks again itself, without a word
    remote, shared = ray.remote(num_cpus=1, max_retries=0)(_run_task), ray.put(work)
    gone = (
        ray.exceptions.NodeDiedError,
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    )
    sums, ended = [0, 0, 0], []
    waiting = ((number, task, 1) for number, task in enumerate(tasks))
    again: deque[tuple[int, Any, int]] = deque()
    running: dict[Any, tuple[int, Any, int]] = {}
    try:
        while True:
            most = TASKS_PER_CORE * max(1, _cores(ray))
            while len(running) < most and (begun := again.popleft() if again else next(waiting, None)) is not None:
                running[remote.remote(shared, counter, *begun[:2])] = begun
            if not running:
                return
            lost: list[str] = []
            for reference in _ended(ray, list(running)):
                number, task, tries = begun = running.pop(reference)
                try:
                    result, counts = ray.get(reference)
                except gone as error:
                    if tries == MOST_TRIES:
                        raise
                    again.append((number, task, tries + 1))
                    lost.append("node" if isinstance(error, ray.exceptions.NodeDiedError) else "worker")
                    continue
                ended.append(number)
                sums = [total + count for total, count in zip(sums, counts, strict=True)]
                on_result(result)
            if lost:
                _tell_lost(where, lost, _cores(ray))
            under_way, ended = _counts(ray, counter, ended), []
            on_tick(*(total + count for total, count in zip(sums, under_way, strict=True)))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _ended(ray: Any, running: list[Any]) -> list[Any]:
    """Return the tasks that have ended, all of them, once there is one or some time has passed."""
    first, others = ray.wait(running, timeout=TICK_SECONDS)
    more, _ = ray.wait(others, num_returns=len(others), timeout=0) if first and others else ([], others)
    return [*first, *more]


def _counts(ray: Any, counter: Any, ended: list[int]) -> list[int]:
    """Return the counts of tasks under way; none while their counter begins again, which is no reason to fail."""
    try:
        counts: list[int] = ray.get(counter.of_others.remote(ended))
    except ray.exceptions.RayActorError:
        return [0, 0, 0]
    return counts


def _cores(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


def _tell_lost(where: str, lost: list[str], cores: int) -> None:
    tasks = f"{len(lost)} task{'s' * (len(lost) > 1)}"
    kind = "node" if "node" in lost else "worker"
    warnings.warn(
        f"{where}: Ray lost a {kind} with {tasks} under way, which other ones do again ({cores} cores by its count)",
        stacklevel=2,
    )


class _Counter:
    """What tasks under way have counted so far, which they tell now and then."""

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}
        self._ended: set[int] = set()

    def put(self, number: int, counts: list[int]) -> None:
        """Note what a task has counted; one that is done again counts anew."""
        if number not in self._ended:
            self._counts[number] = counts

    def of_others(self, ended: list[int]) -> list[int]:
        """Return the sums of all tasks but those that have ended, of which these are new."""
        self._ended.update(ended)
        for number in ended:
            self._counts.pop(number, None)
        return [sum(column) for column in zip([0, 0, 0], *self._counts.values(), strict=True)]


def _run_task(work: Callable[..., Any], counter: Any, number: int, task: Any) -> tuple[Any, list[int]]:
    counts, told = [0, 0, 0], time.monotonic()

    def beat(accepted: int, rejected: int, num_bytes: int) -> None:
        nonlocal told
        for place, count in enumerate((accepted, rejected, num_bytes)):
            counts[place] += count
        if time.monotonic() > told + TICK_SECONDS:
            counter.put.remote(number, counts)
            told = time.monotonic()

    return work(task, beat), counts
