"""Work on a Ray cluster: the one ``RAY_ADDRESS`` names, or one started here for as long as it takes.

In: a function and tasks. Out: results as they come. Progress moves shard by shard. Every node must see the folders or
URLs by the same names and have ferdata installed; the bytes are those of the local pool.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferdata.errors import FerdataError, WorkerError
from ferdata.optional import needs
from ferdata.parallel.bounded import ResultT, TaskT
from ferdata.parallel.process_pool import Beat

__all__ = ["ray_cluster", "run_tasks_on_ray"]


TICK_SECONDS = 0.5
TASKS_PER_CORE = 2


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
        _run(ray, work, tasks, on_result=on_result, on_tick=on_tick)


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
    ray: Any, work: Callable[..., Any], tasks: Iterable[Any], *, on_result: Callable[[Any], None], on_tick: Beat
) -> None:
    remote = ray.remote(num_cpus=1)(_run_task)
    shared = ray.put(work)
    most = TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
    sums = [0, 0, 0]
    waiting = iter(tasks)
    running: list[Any] = []
    while True:
        while len(running) < most and (task := next(waiting, None)) is not None:
            running.append(remote.remote(shared, task))
        if not running:
            return
        done, running = ray.wait(running, timeout=TICK_SECONDS)
        for result, counts in ray.get(done):
            sums = [total + count for total, count in zip(sums, counts, strict=True)]
            on_result(result)
        on_tick(*sums)


def _run_task(work: Callable[..., Any], task: Any) -> tuple[Any, list[int]]:
    counts = [0, 0, 0]

    def beat(accepted: int, rejected: int, num_bytes: int) -> None:
        for number, count in enumerate((accepted, rejected, num_bytes)):
            counts[number] += count

    return work(task, beat), counts
