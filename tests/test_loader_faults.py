"""Faults: a killed worker, a damaged shard, Ctrl-C and a killed parent end in an error of ours or a clean end within seconds."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from make_dataset import make_dataset
from streams import ENVIRONMENT, Truth, make_truth, open_files, run_script, small_jobs, wait_until, worker_pids

from ferdata.errors import FerdataError, ShardCorruptError, ShardMissingError, WorkerError
from ferdata.format import ShardReader, read_index
from ferdata.store import Store
from ferdata.stream import Loader

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "numbers"), "seed": 3}


def limit_seconds() -> float:
    """Return the five seconds a fault may take, or more where the machine has more to do than it has cores."""
    return 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return make_truth(tmp_path / "set")


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("busy", [True, False])
def test_a_killed_worker_is_an_error_of_ours_at_the_next_batches(truth: Truth, persistent: bool, busy: bool) -> None:
    """The kernel's out-of-memory killer takes workers first. The training's own code is never interrupted for it."""
    before = open_files()
    loader = Loader(truth.root, num_workers=2, persistent=persistent, **SMALL)
    batches = iter(loader)
    batch = next(batches)
    pids = worker_pids()

    os.kill(pids[0], signal.SIGKILL)
    start = time.monotonic()
    if busy:
        time.sleep(0.3)
    with pytest.raises(
        WorkerError, match=f"loader: a worker process died .pid {pids[0]} exited unexpectedly, exit code -9.*out-of-memory"
    ) as caught:
        for _ in range(5):
            for batch in batches:
                truth.assert_true(batch)
            batches = iter(loader)

    assert time.monotonic() - start < limit_seconds()
    assert worker_pids() == []
    with pytest.raises(WorkerError, match="it was closed"):
        next(iter(loader))
    del loader, batches, batch, caught
    assert wait_until(lambda: open_files() <= before)


def test_a_worker_killed_between_epochs_is_found_when_the_next_begins(truth: Truth) -> None:
    """Validation may take minutes; what dies meanwhile is reported before anybody waits for it."""
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        list(loader)
        os.kill(worker_pids()[1], signal.SIGKILL)
        assert wait_until(lambda: len(worker_pids()) == 1)
        start = time.monotonic()
        with pytest.raises(WorkerError, match="a worker process died"):
            next(iter(loader))
        assert time.monotonic() - start < 1
        assert worker_pids() == []


def test_a_killed_worker_is_seen_in_a_thread_as_well(truth: Truth) -> None:
    """Signal handlers run in the main thread only; a loader in another one must not wait for ever."""
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with Loader(truth.root, num_workers=2, **SMALL) as loader:
                next(iter(loader))
                os.kill(worker_pids()[0], signal.SIGKILL)
                for _ in range(5):
                    list(loader)
        except FerdataError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    start = time.monotonic()
    thread.start()
    thread.join(60)

    assert [type(error) for error in caught] == [WorkerError]
    assert time.monotonic() - start < limit_seconds()
    assert worker_pids() == []


def test_a_run_goes_on_from_its_state_after_a_worker_died(truth: Truth) -> None:
    """The error says: make a new loader and load the last state. That must give the very rest of the epoch."""
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        expected = [truth.assert_true(batch) for batch in loader]
    read = []
    with pytest.raises(WorkerError), Loader(truth.root, num_workers=2, **SMALL) as loader:
        for number, batch in enumerate(loader):
            read.append(truth.assert_true(batch))
            state = loader.state_dict()
            if number == 9:
                os.kill(worker_pids()[0], signal.SIGKILL)
                assert wait_until(lambda: len(worker_pids()) == 1)
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        loader.load_state_dict(state)
        read += [truth.assert_true(batch) for batch in loader]
    assert read == expected


def shard_of(truth: Truth, number: int = 7) -> Path:
    """Return one shard of the train split."""
    return sorted(truth.root.glob("train-*"))[number]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    """Write other bytes of the same size, a moment later than the first."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))


def corrupt(truth: Truth, path: Path, position: int) -> None:
    """Flip one bit in the midst of a sample's stored pixels, and leave the file's times as they are."""
    store, index = Store(truth.root), read_index(Store(truth.root))
    with ShardReader(store, next(info for info in index.shards if info.name == path.name), index) as reader:
        body = bytes(reader.read_body(position))
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[data.index(body) + len(body) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=times)


FAULTS: dict[str, tuple[Callable[[Path], None], type[FerdataError]]] = {
    "truncated": (truncate, ShardCorruptError),
    "grown": (grow, ShardCorruptError),
    "rewritten": (rewrite, ShardCorruptError),
}


def first_error(loader: Loader, *, epochs: int = 3) -> FerdataError:
    """Read until the loader raises, within the limit, and return the error, which must be of our own making."""
    start = time.monotonic()
    with pytest.raises(FerdataError) as caught:
        for _ in range(epochs):
            for _ in loader:
                pass
    assert time.monotonic() - start < limit_seconds()
    assert "Traceback" not in str(caught.value) and "DataLoader" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_shard_that_changes_while_it_is_read_is_an_error_that_names_it(tmp_path: Path, fault: str, codec: str, num_workers: int) -> None:
    """Somebody writes the data set again under a running training: half old, half new faces is what nobody would find out."""
    truth = make_truth(tmp_path, codec=codec)
    damage, kind = FAULTS[fault]
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        list(loader)
        damage(shard_of(truth))
        error = first_error(loader)
    assert type(error) is kind
    assert str(error).startswith(f"{shard_of(truth)}: the file was changed while it was being read; write shards to a new folder")
    assert worker_pids() == []


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_corrupt_byte_in_the_midst_of_a_shard_is_an_error_that_names_it(tmp_path: Path, codec: str, num_workers: int) -> None:
    """One flipped bit on a disk that nobody checks. The epoch before it is read is right, and the loader can still be closed."""
    truth = make_truth(tmp_path, codec=codec)
    path = shard_of(truth)
    corrupt(truth, path, 12)
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        error = first_error(loader)
        assert re.match(rf"{re.escape(str(path))}: .*copy or write the shard again", str(error))
        assert type(error) is ShardCorruptError
        error = first_error(loader)
        assert str(path) in str(error)
    assert worker_pids() == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_shard_that_is_missing_or_short_is_an_error_that_names_it(truth: Truth, num_workers: int) -> None:
    """A copy that was interrupted."""
    moved = shard_of(truth).rename(truth.root / "away")
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        error = first_error(loader)
    assert type(error) is ShardMissingError and str(shard_of(truth)) not in str(error)
    assert "train-000007" in str(error) and "index.json lists it" in str(error)
    moved.rename(truth.root / str(error).split(":")[0])
    truncate(shard_of(truth))
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        error = first_error(loader)
    assert re.match(rf"{re.escape(str(shard_of(truth)))}: [\d,]+ bytes found, expected [\d,]+ as index.json says", str(error))


def test_verify_first_checks_raw_bytes_in_the_first_epoch_and_always_in_each(tmp_path: Path) -> None:
    """Raw pixels carry no checksum of the codec's own: what is checked, and when, must be as the option says."""
    truth = make_truth(tmp_path, codec="raw")
    with Loader(truth.root, num_workers=0, **SMALL) as first, Loader(truth.root, num_workers=0, verify="always", **SMALL) as always:
        list(first)
        list(always)
        corrupt(truth, shard_of(truth), 9)
        list(first)
        error = first_error(always)
    assert "train-000007.tar: the checksum of sample 9 does not fit its bytes" in str(error)


LOOP = """
import os, sys, time
import ferdata.stream.loader
from ferdata.stream import Loader
ferdata.stream.loader.JOBS_PER_WORKER = 12

def main():
    options = dict(batch_size=8, num_workers=2, start_method=sys.argv[2], persistent=sys.argv[3] == "True", window_samples=48)
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

    def start(start_method: str = "fork", persistent: bool = True, pause: float = 0.0, wait_for: str = "started") -> subprocess.Popen[str]:
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
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.parametrize(("persistent", "pause"), [(True, 0.2), (False, 0.0)])
def test_ctrl_c_ends_everything_with_one_traceback(running: Callable[..., subprocess.Popen[str]], persistent: bool, pause: float) -> None:
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
    assert gone(processes)
    assert errors.count("Traceback") == 1
    assert errors.strip().endswith("KeyboardInterrupt")


def test_ctrl_c_while_workers_start_anew_ends_everything_with_one_traceback(running: Callable[..., subprocess.Popen[str]]) -> None:
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
    assert errors.strip().endswith("KeyboardInterrupt")


def test_workers_survive_a_ctrl_c_that_the_program_catches(running: Callable[..., subprocess.Popen[str]], truth: Truth) -> None:
    """A notebook interrupts a cell and goes on with the same loader; workers that ended with the interrupt would be missed."""
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
import ferdata.stream.loader
from ferdata.stream import Loader
from streams import make_truth

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def main():
    ferdata.stream.loader.JOBS_PER_WORKER = 12
    truth = make_truth(Path(sys.argv[1]))
    choice = random.Random(int(sys.argv[2]))
    fields = ("images", "labels", "numbers")
    loader = Loader(sys.argv[1], num_workers=2, batch_size=8, window_samples=48, fields=fields, persistent=sys.argv[4] == "True")
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
        assert loader.metrics().ring_occupancy == 0
    print(interrupts)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("rounds", [pytest.param(10, id="10"), pytest.param(150, marks=pytest.mark.slow, id="150")])
@pytest.mark.parametrize("persistent", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_loader_goes_on_after_an_interrupt_at_any_moment(tmp_path: Path, persistent: bool, rounds: int) -> None:
    """A notebook stops a cell in the midst of anything: a message half read, a slot just taken. The next epoch must be whole."""
    arguments = (str(tmp_path / "set"), str(rounds), str(rounds), str(persistent))
    done = run_script(tmp_path / "script.py", INTERRUPTED, *arguments, timeout_seconds=500)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > rounds / 2


def test_workers_end_when_their_parent_is_killed(running: Callable[..., subprocess.Popen[str]]) -> None:
    """A job that the scheduler killed must not leave processes that hold the machine's memory."""
    process = running()
    processes = family(process)
    assert len(processes) == 3

    process.kill()

    assert wait_until(lambda: gone(processes), seconds=15)


IN_A_CONTAINER = """
import os, signal, sys
from ferdata.stream import Loader

loader = Loader(sys.argv[1], batch_size=8, num_workers=2, shuffle="none")
print(loader.metrics().ring_slots * 8 * 3 * 224 * 224, sum(len(batch.images) for _ in range(2) for batch in loader), flush=True)
next(iter(loader))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_small_dev_shm_is_enough_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    """A container gives 64 MB, which outlive the process: a ring larger than that must work, and Ctrl-C must leave nothing there."""
    make_dataset(tmp_path / "large", samples={"train": 240}, size=224, codec="raw")
    (tmp_path / "script.py").write_text(IN_A_CONTAINER)
    command = f"mount -t tmpfs -o size=64m tmpfs /dev/shm && {sys.executable} script.py large; echo left: $(ls -A /dev/shm)"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=90
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
    assert done.stderr.strip().splitlines()[-1].startswith("ferdata.errors.WorkerError: loader: a worker process died (pid ")


def test_an_error_keeps_the_batches_before_it_right(tmp_path: Path) -> None:
    """Windows before the damaged one are whole; the error comes when its own window is asked for, not before."""
    truth = make_truth(tmp_path, samples={"train": 240}, samples_per_shard=48)
    corrupt(truth, shard_of(truth, 3), 30)
    numbers: list[int] = []
    with Loader(truth.root, num_workers=2, shuffle=False, **SMALL) as loader, pytest.raises(ShardCorruptError, match="train-000003"):
        for batch in loader:
            numbers += truth.assert_true(batch)
    assert numbers == list(range(len(numbers))) and len(numbers) >= 48


def test_the_data_of_these_tests_would_be_read_without_faults(tmp_path: Path) -> None:
    """The faults above are errors because of the fault alone."""
    make_dataset(tmp_path, samples={"train": 60}, size=8)
    with Loader(tmp_path, num_workers=0, **SMALL) as loader:
        assert np.concatenate([batch.numbers for batch in loader]).size == 56
