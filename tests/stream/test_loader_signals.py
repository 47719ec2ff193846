"""Signals: Ctrl-C, a killed parent, a small /dev/shm and a script without a guard end cleanly within seconds."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from make_dataset import make_dataset
from streams import (
    ENVIRONMENT,
    Truth,
    is_running,
    limit_seconds,
    make_truth,
    run_script,
    small_jobs,
    wait_until,
    worker_pids,
)

from ferdata.stream import Loader

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return make_truth(tmp_path / "set")


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


LOOP = """
import os, sys, time
import ferdata.stream.pipeline
from ferdata.stream import Loader
ferdata.stream.pipeline.JOBS_PER_WORKER = 12

def main():
    persistent = sys.argv[3] == "True"
    options = dict(batch_size=8, num_workers=2, window_samples=48, start_method=sys.argv[2], persistent=persistent)
    loader = Loader(sys.argv[1], **options)
    told = False
    while True:
        for batch in loader:
            if not told:
                print("started", flush=True)
                told = True
            time.sleep(float(sys.argv[4]))

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def running(tmp_path: Path, truth: Truth) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a script that reads for ever, as a terminal would: in a process group of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(
        start_method: str = "fork", persistent: bool = True, pause: float = 0.0, wait_for: str = "started"
    ) -> subprocess.Popen[str]:
        script = tmp_path / "loop.py"
        script.write_text(LOOP)
        process = subprocess.Popen(
            [sys.executable, str(script), str(truth.root), start_method, str(persistent), str(pause)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        if wait_for:
            assert process.stdout.readline().strip() == wait_for
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return a process and all that came of it."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(is_running(process.pid) for process in processes)


@pytest.mark.parametrize(("persistent", "pause"), [(True, 0.2), (False, 0.0)])
def test_ctrl_c_ends_everything_with_one_traceback(
    running: Callable[..., subprocess.Popen[str]], persistent: bool, pause: float
) -> None:
    """A terminal sends Ctrl-C to every process at once; twenty tracebacks of workers hide what the user asked."""
    process = running(persistent=persistent, pause=pause)
    time.sleep(0.2)
    processes = family(process)
    assert len(processes) == 3 or not persistent

    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=30)

    assert time.monotonic() - start < limit_seconds()
    assert process.returncode == -signal.SIGINT
    assert wait_until(lambda: gone(processes))
    assert errors.count("Traceback") == 1
    assert errors.strip().endswith("KeyboardInterrupt")


def test_ctrl_c_while_workers_start_anew_ends_everything_with_one_traceback(
    running: Callable[..., subprocess.Popen[str]],
) -> None:
    """Under spawn the first seconds are imports of torch in every worker: that is when people notice a wrong option."""
    process = running(start_method="spawn", wait_for="")
    assert wait_until(lambda: len(family(process)) >= 3, seconds=60)
    time.sleep(0.3)
    processes = family(process)

    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=30)

    assert time.monotonic() - start < limit_seconds()
    assert wait_until(lambda: gone(processes))
    assert errors.count("Traceback") == 1, errors
    assert "\nKeyboardInterrupt\n" in errors, errors  # after it, Python's own resource tracker may speak of semaphores


def test_workers_survive_a_ctrl_c_that_the_program_catches(
    running: Callable[..., subprocess.Popen[str]], truth: Truth
) -> None:
    """A notebook interrupts a cell and goes on with the same loader, which must not have lost its workers."""
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        next(iter(loader))
        pids = worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
        numbers = [number for batch in loader for number in truth.assert_true(batch)]
        assert len(numbers) == 296
        assert worker_pids() == pids


INTERRUPTED = """
import os, random, signal, sys, threading
from pathlib import Path
import ferdata.stream.pipeline
from ferdata.stream import Loader
from streams import make_truth

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def main():
    ferdata.stream.pipeline.JOBS_PER_WORKER = 12
    truth = make_truth(Path(sys.argv[1]))
    choice = random.Random(int(sys.argv[2]))
    options = dict(batch_size=8, window_samples=48, fields=("images", "labels", "indices"))
    loader = Loader(sys.argv[1], num_workers=2, persistent=sys.argv[4] == "True", workers=sys.argv[5], **options)
    interrupts = 0
    for _ in range(int(sys.argv[3])):
        timer = threading.Timer(choice.random() * 0.08, interrupt)
        try:
            timer.start()
            while timer.is_alive():
                for batch in loader:
                    truth.assert_true(batch)
        except KeyboardInterrupt:
            interrupts += 1
        timer.join()
        signal.alarm(30)
        numbers = [number for batch in loader for number in truth.assert_true(batch)]
        signal.alarm(0)
        assert len(set(numbers)) == 296
        batch = None
        assert loader.metrics().ring_occupancy in (0, 6 / 16)
    print(interrupts)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("rounds", [pytest.param(10, id="10"), pytest.param(150, marks=pytest.mark.slow, id="150")])
@pytest.mark.parametrize("persistent", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("workers", ["process", "thread"])
def test_a_loader_goes_on_after_an_interrupt_at_any_moment(
    tmp_path: Path, workers: str, persistent: bool, rounds: int
) -> None:
    """A notebook stops a cell in the midst of anything: a message half read, a slot just taken. All is well next."""
    arguments = (str(tmp_path / "set"), str(rounds), str(rounds), str(persistent), workers)
    done = run_script(tmp_path / "script.py", INTERRUPTED, *arguments, timeout_seconds=500)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > rounds / 2


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_workers_end_when_their_parent_is_killed(
    running: Callable[..., subprocess.Popen[str]], start_method: str
) -> None:
    """A killed job must not leave processes that hold memory; under forkserver it is not their parent."""
    process = running(start_method=start_method)
    processes = family(process)
    assert len(processes) >= 3

    process.kill()

    assert wait_until(lambda: gone(processes))


IN_A_CONTAINER = """
import os, signal, sys
from ferdata.stream import Loader

loader = Loader(sys.argv[1], batch_size=8, num_workers=2, shuffle="none")
images = sum(len(batch.images) for _ in range(2) for batch in loader)
print(loader.metrics().ring_slots * 8 * 3 * 224 * 224, images, flush=True)
next(iter(loader))
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="the unshare program is not installed")
def test_a_small_dev_shm_is_enough_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    """A container gives 64 MB, which outlive the process: a larger ring must work, and leave nothing there."""
    make_dataset(tmp_path / "large", samples={"train": 240}, size=224, codec="raw")
    (tmp_path / "script.py").write_text(IN_A_CONTAINER)
    command = (
        f"mount -t tmpfs -o size=64m tmpfs /dev/shm && {sys.executable} script.py large; echo left: $(ls -A /dev/shm)"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.stderr.count("Traceback") == 1 and done.stderr.strip().endswith("KeyboardInterrupt")
    figures, left = done.stdout.strip().splitlines()
    ring_bytes, images = map(int, figures.split())
    assert (ring_bytes > 64 << 20, images, left) == (True, 480, "left:")


NO_GUARD = """
import sys
from ferdata.stream import Loader

loader = Loader(sys.argv[1], batch_size=8, num_workers=1, start_method="spawn")
for batch in loader:
    pass
"""


def test_a_script_without_a_guard_under_spawn_is_told_so(tmp_path: Path, truth: Truth) -> None:
    """The classic: every worker runs the script again. It must not hang, nor start processes without end."""
    done = run_script(tmp_path / "no_guard.py", NO_GUARD, str(truth.root))
    assert done.returncode == 1
    assert "expected the script's own code under `if __name__ == '__main__':`" in done.stderr
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("ferdata.errors.WorkerError: loader: a worker process died (pid ")
    )
