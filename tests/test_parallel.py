"""How many cores there are to use: one answer, and the quota of a container counts."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from ferdata import console
from ferdata.parallel import Beat, map_in_processes, openmp, run_tasks, usable_cores
from ferdata.parallel.bounded import results_in_order
from ferdata.remote import usual_patience

ROOT = Path(__file__).parents[1]
ALL = len(os.sched_getaffinity(0))


def system(root: Path, group: str, files: dict[str, str]) -> Path:
    """A system whose control groups are these."""
    for name, text in {
        "proc/self/cgroup": group,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/\n", {}, 64),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        (
            "4:cpu,cpuacct:/docker/x\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
    ],
)
def test_a_container_s_quota_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, files: dict[str, str], cores: int
) -> None:
    """64 cores of which a container gets two are two: more processes only wait for each other."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))

    assert usable_cores(system(tmp_path, group, files)) == cores


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALL


class _Forking(Executor):
    """Warns as Python 3.12 and later do where a pool forks beside threads."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
        warnings.warn(
            "This process is multi-threaded, use of fork() may lead to deadlocks in the child.",
            DeprecationWarning,
            stacklevel=2,
        )
        (future := Future[Any]()).set_result(function(*arguments))
        return future


def test_a_pool_that_forks_beside_a_progress_bar_warns_nobody() -> None:
    """The workers touch no lock of that thread, and a user can do nothing about it; here warnings are errors."""
    assert list(results_in_order(_Forking(), abs, [-1, 2], max_in_flight=2)) == [1, 2]
    rooms = (Path(__file__).parent.parent / "ferdata").rglob("*.py")
    users = [
        path.relative_to(path.parents[1]).as_posix() for path in rooms if "ProcessPoolExecutor(" in path.read_text()
    ]
    assert users == ["parallel/process_pool.py"]
    assert ".submit(" not in (Path(__file__).parent.parent / "ferdata" / users[0]).read_text()


def _fail(task: "_Named") -> None:
    raise LookupError("no such thing")


@dataclass(frozen=True)
class _Named:
    name: str


def test_an_error_of_a_worker_names_its_task() -> None:
    """A traceback out of one of a thousand tasks does not say which one to look at."""
    with pytest.raises(LookupError) as caught:
        list(map_in_processes(_fail, [_Named("train-000003.tar")], num_workers=1, where="here"))

    assert caught.value.__notes__ == ["in the task train-000003.tar"]


def test_tasks_in_order_are_taken_only_as_they_are_needed() -> None:
    """A million items must not be sliced at once, and a consumer that leaves early leaves no process behind."""
    begun, before = (
        [],
        set(psutil.Process().children()),
    )  # other tests' helpers of the standard library live as long as Python

    def tasks() -> Iterator[int]:
        for number in range(1000):
            begun.append(number)
            yield -number

    results = map_in_processes(abs, tasks(), num_workers=2, where="here")
    assert [next(results) for _ in range(5)] == list(range(5))
    assert len(begun) <= 5 + 3 * 2
    results.close()  # type: ignore[attr-defined]

    assert set(psutil.Process().children()) <= before


def _complain(number: int) -> int:
    return os.write(2, b"TIFFFetchNormalTag: Warning, no such directory\n") + number


def test_what_c_libraries_say_in_a_worker_does_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff writes of every odd tag to standard error, over the progress bar."""
    assert list(map_in_processes(_complain, [0, 1], num_workers=1, where="here")) == [47, 48]

    assert capfd.readouterr() == ("", "")


def test_a_program_of_ours_has_threads_that_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that spin take a core that others work on; a quota is no more threads; what a person has set stays."""
    monkeypatch.setattr("ferdata.console.terminal.run_program", lambda app: None)
    monkeypatch.setattr(openmp, "usable_cores", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for given, policy in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        monkeypatch.setattr(os, "environ", dict(given))
        console.main()
        assert os.environ == {"OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": "1"}


def _wait_for_a_service(task: int, beat: Beat) -> None:
    def ask() -> None:
        raise ConnectionResetError

    beat(1, 0, 0)
    usual_patience().persist(ask, f"service {task}")


def test_workers_that_wait_for_a_service_end_with_their_pool() -> None:
    """Ctrl-C would otherwise be answered once patience ends, minutes later."""

    def stop(accepted: int, rejected: int, num_bytes: int) -> None:
        if accepted == 2:
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_tasks(_wait_for_a_service, range(9), num_workers=2, on_result=print, on_tick=stop, where="here")
    assert time.monotonic() - start < 20


_A_SLOW_FORK = """
import os, signal, threading, time
from ferdata.parallel import process_pool

own, started, begin = os.getpid(), process_pool._CONTEXT.Value("i", 0), process_pool._start_worker

def stop(number, frame):
    if os.getpid() == own:
        raise KeyboardInterrupt
    os._exit(128 + number)

def begin_slowly(*arguments):
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    time.sleep(number)
    begin(*arguments)

def tasks():
    yield 0
    threading.Timer(0.3, os.killpg, (0, signal.SIGTERM)).start()
    time.sleep(30)

def work(task, beat):
    return task

process_pool._start_worker = begin_slowly
signal.signal(signal.SIGTERM, stop)
try:
    process_pool.run_tasks(work, tasks(), num_workers=2, on_result=str, on_tick=max, where="here")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_signal_to_all_ends_a_worker_that_is_still_being_forked() -> None:
    """The first worker dies as it holds the queue of tasks; the second, which heard of it too early, waited forever."""
    command = [sys.executable, "-c", _A_SLOW_FORK]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert child.communicate(timeout=20)[0].split() == ["stopped"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
