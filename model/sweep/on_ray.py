"""Runs of a sweep on a Ray cluster, each as a task that watches a process like those of a sweep here.

In: a cluster. Out: what starts runs there. They write into the sweep's folder, which every node must see by the same
name; a run that is cancelled, or whose sweep is gone, saves and stops as it does here.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferdata.training.sweep.process import STOP_SECONDS, TICK_SECONDS, Run, RunProcess, Start
from ferdata.training.sweep.trials import Trial

__all__ = ["RayRun", "jobs_of_cluster", "start_on_ray"]


def jobs_of_cluster(ray: Any, device: str) -> int:
    """Return how many runs a cluster trains at once unless told: one a GPU if any may be used, else one a node."""
    return _gpus(ray, device) or sum(1 for node in ray.nodes() if node["Alive"])


def start_on_ray(ray: Any, out: Path, *, jobs: int, device: str) -> Start:
    """Return what starts runs on a cluster, each with its part of the cores and, if any may be used, a GPU.

    Args:
        ray: The package, connected.
        out: The sweep's folder.
        jobs: Runs at once.
        device: Where the runs are to compute.
    """
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)) // jobs)
    nodes = jobs_of_cluster(ray, "cpu")
    remote = ray.remote(num_cpus=cores, num_gpus=1 if _gpus(ray, device) else 0, max_retries=0)(_watch)

    def start(trial: Trial, running: Sequence[Run], share: int) -> Run:
        return RayRun(ray, remote.remote(trial, out, -(-share // nodes)), trial)

    return start


class RayRun:
    """A run that goes on, as a task of a cluster.

    Args:
        ray: The package, connected.
        task: Reference to what the task returns.
        trial: The run.
    """

    def __init__(self, ray: Any, task: Any, trial: Trial) -> None:
        self._ray, self._task = ray, task
        self.trial, self.device = trial, None

    def is_done(self) -> bool:
        """Tell whether the task has ended."""
        return bool(self._ray.wait([self._task], timeout=0)[0])

    def problem(self) -> str | None:
        """Return why a run that has ended failed, None if it did not."""
        try:
            found: str | None = self._ray.get(self._task)
        except self._ray.exceptions.RayError as error:
            return f"Ray gave up ({type(error).__name__}: {str(error).strip().splitlines()[-1]})"
        return found

    def ask_to_stop(self) -> None:
        """Have the run save and stop."""
        self._ray.cancel(self._task)

    def wait(self) -> None:
        """Wait until a run that was asked to stop has; the cluster ends one that does not."""
        self._ray.wait([self._task], timeout=STOP_SECONDS)


def _gpus(ray: Any, device: str) -> int:
    return int(ray.cluster_resources().get("GPU", 0)) if device in ("auto", "cuda") else 0


def _watch(trial: Trial, out: Path, share: int) -> str | None:
    """Train in a process of this node, and return why it failed; a cancelled task is interrupted."""
    process = RunProcess(trial, out, device=None, share=share)
    try:
        while not process.is_done():
            time.sleep(TICK_SECONDS)
        return process.problem()
    finally:
        process.ask_to_stop()
        process.wait()
