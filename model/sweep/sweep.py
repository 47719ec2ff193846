"""Trains every combination of a sweep, several at once, and goes on where a killed one stopped.

In: a spec and a folder. Out: runs in ``runs/``, and a :class:`SweepResult` with its page and table. What is finished is
read from the runs' own folders, so nothing but the spec has to be kept.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from ferdata.errors import FerdataError, OptionError, TrainError
from ferdata.format import read_index
from ferdata.lock import hold_lock
from ferdata.parallel import ENGINES, ray_cluster, usable_cores
from ferdata.setting import either
from ferdata.shown import without_credentials
from ferdata.store import Store, StrPath
from ferdata.training.options import TrainOptions
from ferdata.training.run.disk import read_json, write_json
from ferdata.training.run.process_group import find_device
from ferdata.training.sweep.process import TICK_SECONDS, Run, Start, start_here
from ferdata.training.sweep.result import Finished, Group, SweepResult
from ferdata.training.sweep.search import Tried, importance, next_settings
from ferdata.training.sweep.spec import PRETRAIN, Range, SweepSpec
from ferdata.training.sweep.trials import Trial, grid, pretraining, read_result, trials_of

__all__ = ["OnRun", "sweep"]

SPEC_NAME = "sweep.json"
_MACHINE = ("device", "num_workers", "memory_bytes", "resident")
"""Settings that may differ where a sweep goes on. Not the data set: runs that are finished would be of another one."""

OnRun = Callable[[Finished | None, int, int], None]
"""Called with a run that has ended, the runs that have ended, and how many there are; with None as a sweep begins."""


def sweep(
    spec: SweepSpec, out: StrPath, *, jobs: int | None = None, engine: str = "local", on_run: OnRun | None = None
) -> SweepResult:
    """Train all combinations of a sweep and compare them; a sweep that was killed goes on with the same call.

    Each run has a folder in ``out/runs`` and resumes at its exact sample. A grid may be extended: further values or
    seeds add runs. A run that fails is reported and the others go on; one that ran out of memory beside others is
    tried again alone, at the end.

    Args:
        spec: What to run.
        out: Folder of the sweep, new or of the same sweep.
        jobs: Runs at once. None: one a GPU, or one (of a cluster: one a node).
        engine: ``local``, or ``ray``: the cluster that ``RAY_ADDRESS`` names, or one on this machine. Its nodes must
            see the folder and the data by the same names and have ferdata installed.
        on_run: Told how it goes.

    Raises:
        OptionError: If a setting is not the trainer's, a combination is impossible, or another sweep is in the folder.
        IngestError: If the sweep is running already.
        TrainError: If every run failed.
        WorkerError: If the cluster cannot be reached.

    Example:
        >>> spec = read_spec(None, vary=["lr=1e-3,1e-4"], train={"shards": "shards/affectnet", "epochs": 1})
        >>> sweep(spec, "sweeps/rates").groups[0].settings
        {'lr': 0.001}
    """
    folder = Path(out).absolute()
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs: {jobs} found, expected at least 1")
    if engine not in ENGINES:
        raise OptionError(f"engine: {engine!r} found, expected {either(ENGINES)}")
    combinations = grid(spec) if spec.trials is None else []
    planned = [trial for settings in combinations for trial in trials_of(spec, settings, folder)]
    with ExitStack() as stack:
        stack.enter_context(hold_lock(Store(folder)))
        _keep_spec(folder, spec)
        jobs, start = _workplace(stack, engine, folder, jobs, str(spec.train.get("device", "auto")))
        total = len(planned) or (spec.trials or 0) * len(spec.seeds)
        runner = _Runner(folder, start, jobs, on_run, total=total)
        stack.callback(runner.close)
        groups: list[Group] = []
        if spec.trials is None:
            firsts = {trial.name: trial for settings in combinations if (trial := pretraining(spec, settings, folder))}
            runner.run([*firsts.values()], counts=False)
            done = {each.name: each for each in runner.run(planned)}
            for settings in combinations:
                names = [trial.name for trial in trials_of(spec, settings, folder)]
                groups.append(Group(settings=settings, runs=tuple(done[name] for name in names)))
        else:
            groups = list(_search(spec, folder, runner))
        result = SweepResult(
            out=str(out),
            spec=spec,
            groups=_ranked(groups),
            importance=importance(spec, [_tried(each) for each in groups]),
        )
        if all(group.mean is None for group in groups):
            raise TrainError(
                f"{out}: all {len(result.failed)} runs failed, expected some to end; the first one said: "
                f"{result.failed[0].problem}"
            )
        _keep_spec(folder, spec)  # shards may have been written anew while runs went on
        from ferdata.training.sweep.write import write_sweep

        write_sweep(result, folder)
    return result


def _search(spec: SweepSpec, folder: Path, runner: "_Runner") -> Iterator[Group]:
    """Run the combinations of a search, each chosen by what all before it came to."""
    tried: list[Tried] = []
    for _ in range(spec.trials or 0):
        settings = next_settings(spec, tried)
        first = pretraining(spec, settings, folder)
        runner.run([first] if first is not None else [], counts=False)
        group = Group(settings=settings, runs=tuple(runner.run(trials_of(spec, settings, folder))))
        tried.append(_tried(group))
        yield group


def _tried(group: Group) -> Tried:
    return group.settings, group.mean


def _ranked(groups: Sequence[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda group: -1.0 if group.mean is None else group.mean, reverse=True))


def _workplace(stack: ExitStack, engine: str, folder: Path, jobs: int | None, device: str) -> tuple[int, Start]:
    """Return how many runs go on at once, and what starts one; a cluster is let go when the stack is closed."""
    if engine == "local":
        devices = _devices(device)
        return jobs or len(devices), start_here(folder, devices)
    from ferdata.training.sweep.on_ray import jobs_of_cluster, start_on_ray

    cores = max(jobs or 1, usable_cores())
    ray = stack.enter_context(ray_cluster(cores, where=str(folder), advice="the same command goes on"))
    jobs = jobs or jobs_of_cluster(ray, device)
    return jobs, start_on_ray(ray, folder, jobs=jobs, device=device)


def _devices(name: str) -> list[str | None]:
    """Return the devices runs are spread over: every GPU, if any GPU will do."""
    if name not in ("auto", "cuda") or find_device(name).type != "cuda":
        return [None]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _keep_spec(folder: Path, spec: SweepSpec) -> None:
    """Write the spec; one that is there may differ in values, seeds and machine: finished runs stay what they are.

    What each data set is stands beside it, since a path may come to hold another one.

    Raises:
        OptionError: If it is another sweep's, or a data set is not the one it was.
    """
    record = json.loads(json.dumps(spec.to_json(), default=str))
    data = _fingerprints(spec)
    path = folder / SPEC_NAME
    if path.is_file():
        before = read_json(path, what="the spec of a sweep")

        def core(each: dict[str, Any]) -> dict[str, Any]:
            train = {name: value for name, value in each["train"].items() if name not in _MACHINE}
            return {"train": train, "pretrain": each["pretrain"], "vary": sorted(each["vary"])}

        if differing := [name for name, value in core(record).items() if core(before)[name] != value]:
            raise OptionError(
                f"{folder}: another sweep found ({', '.join(differing)} differ: {core(before)[differing[0]]} there), "
                "expected the same one, or one with other values and seeds; choose another out="
            )
        if spec.trials is not None and before["vary"] != record["vary"]:
            raise OptionError(
                f"{folder}: a search in other ranges found ({before['vary']}), expected the same; choose another out="
            )
        known = before.get("data", {})
        if rewritten := [root for root, now in data.items() if known.get(root, now) != now]:
            raise OptionError(
                f"{folder}: {rewritten[0]} holds another data set than the sweep began with (fingerprint "
                f"{data[rewritten[0]]} found, expected {known[rewritten[0]]}), so that runs could not be compared; "
                "choose another out=, or write those shards again"
            )
        data = known | data
    write_json(path, record | {"data": data})


def _fingerprints(spec: SweepSpec) -> dict[str, str]:
    """Return the fingerprint of every data set of a sweep, by its folder or URL.

    One that cannot be read is left out: the runs that need it will say so.
    """
    named = [spec.train.get("shards"), spec.pretrain.get("shards")]
    for name, values in spec.vary.items():
        if name.removeprefix(PRETRAIN) == "shards" and not isinstance(values, Range):
            named += values
    found = {}
    for root in (root for each in named for root in TrainOptions(shards=each).roots):
        with suppress(FerdataError):
            found[without_credentials(root)] = read_index(Store(root)).fingerprint
    return found


class _Runner:
    """Runs trials, so many at once."""

    def __init__(self, folder: Path, start: Start, jobs: int, on_run: OnRun | None, *, total: int) -> None:
        self._folder, self._start, self._jobs, self._on_run, self._total = folder, start, jobs, on_run, total
        self._running: list[Run] = []
        self._done = 0
        self._tell(None)

    def run(self, trials: Sequence[Trial], *, counts: bool = True) -> list[Finished]:
        """Run trials that are not finished yet, and return all of them in order.

        Args:
            trials: What to run.
            counts: Whether they are among the runs that are compared.

        Raises:
            TrainError: If one failed that others start from.
        """
        ended: dict[str, Finished] = {}
        waiting: deque[Trial] = deque()
        again: deque[Trial] = deque()
        is_alone = False
        for trial in trials:
            if (result := read_result(self._folder, trial)) is None:
                waiting.append(trial)
            else:
                self._end(ended, trial, result, None, counts=counts)
        while waiting or again or self._running:
            if not waiting and not self._running:
                waiting, again, is_alone = again, deque(), True
            jobs = 1 if is_alone else self._jobs
            while waiting and len(self._running) < jobs:
                self._running.append(self._start(waiting.popleft(), self._running, jobs))
            for run in [each for each in self._running if each.is_done()]:
                self._running.remove(run)
                problem = run.problem()
                result = read_result(self._folder, run.trial) if problem is None else None
                if problem is not None and "memory" in problem and jobs > 1:
                    again.append(run.trial)
                    continue
                problem = problem or (None if result else "it left no figures")
                if problem is not None and not counts:
                    raise TrainError(
                        f"{self._folder}: the run {run.trial.name}, which others start from, failed: {problem}"
                    )
                self._end(ended, run.trial, result, problem, counts=counts)
            time.sleep(TICK_SECONDS if self._running else 0)
        return [ended[trial.name] for trial in trials]

    def close(self) -> None:
        """Have runs that go on save and stop."""
        for run in self._running:
            run.ask_to_stop()
        for run in self._running:
            run.wait()
        self._running.clear()

    def _end(self, ended: dict[str, Finished], trial: Trial, result: Any, problem: str | None, *, counts: bool) -> None:
        ended[trial.name] = Finished(
            name=trial.name, settings=trial.settings, seed=trial.options.seed, result=result, problem=problem
        )
        if counts:
            self._done += 1
            self._tell(ended[trial.name])

    def _tell(self, finished: Finished | None) -> None:
        if self._on_run is not None:
            self._on_run(finished, self._done, self._total)
