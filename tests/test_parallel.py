"""How many cores there are to use: one answer, and the quota of a container counts."""

import os
import warnings
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from ferdata.parallel import submit_quietly, usable_cores

ALL = len(os.sched_getaffinity(0))


def system(root: Path, group: str, files: dict[str, str]) -> Path:
    """A system whose control groups are these."""
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
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
        ("4:cpu,cpuacct:/docker/x\n0::/\n", {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
    ],
)
def test_a_container_s_quota_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, files: dict[str, str], cores: int
) -> None:
    """A machine of 64 cores of which a container gets two is a machine of two: more processes only wait for each other."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))

    assert usable_cores(system(tmp_path, group, files)) == cores


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALL


class _Forking(Executor):
    """Warns as Python 3.12 and later do where a pool forks beside threads."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
        warnings.warn("This process is multi-threaded, use of fork() may lead to deadlocks in the child.", DeprecationWarning, stacklevel=2)
        (future := Future[Any]()).set_result(function(*arguments))
        return future


@pytest.mark.parametrize("path", ["ferdata/ingest/pool.py", "ferdata/sources/pool.py", "ferdata/synth/trees/draw.py"])
def test_a_pool_that_forks_beside_a_progress_bar_warns_nobody(path: str) -> None:
    """The workers touch no lock of that thread, and a user can do nothing about it; here warnings are errors."""
    assert submit_quietly(_Forking(), max, 1, 2).result() == 2
    assert "executor.submit(" not in (Path(__file__).parent.parent / path).read_text()
