"""Faults: a killed worker or a damaged shard ends in an error of ours or a clean end within seconds."""

import faulthandler
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import make_dataset
from streams import (
    Truth,
    corrupt,
    first_error,
    limit_seconds,
    make_truth,
    open_files,
    shard_of,
    small_jobs,
    wait_until,
    worker_pids,
)

from ferdata.errors import FerdataError, ShardCorruptError, ShardMissingError, WorkerError
from ferdata.format import ShardReader
from ferdata.stream import Loader

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}


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
    # the rest of so small an epoch may be over before the kernel gets to it
    assert wait_until(lambda: pids[0] not in worker_pids())
    with pytest.raises(
        WorkerError,
        match=f"loader: a worker process died .pid {pids[0]} exited unexpectedly, exit code -9.*out-of-memory",
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
        assert time.monotonic() - start < limit_seconds()
        assert worker_pids() == []


@pytest.mark.parametrize(
    ("number", "advice"), [(signal.SIGBUS, "full shared memory"), (signal.SIGSEGV, "what it printed")]
)
def test_a_worker_that_a_signal_ended_is_said_to_be_ended_by_that_one(truth: Truth, number: int, advice: str) -> None:
    """Advice to look for the out-of-memory killer after a bus error sends people to buy memory."""
    faulthandler.disable()  # pytest's, which a forked worker inherits, would fill the screen
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        next(iter(loader))
        faulthandler.enable(sys.__stderr__)
        os.kill(worker_pids()[0], number)
        assert wait_until(lambda: len(worker_pids()) == 1)
        with pytest.raises(WorkerError, match=f"exit code -{number}.*look for {advice}") as caught:
            list(loader)
    assert "memory killer" not in str(caught.value)


def test_a_worker_s_death_names_the_shard_it_was_reading(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """One shard of a thousand may be what kills a worker (a driver, a file system): the next loader meets it again."""

    def die(self: ShardReader, *_: object, **__: object) -> int:
        if "000007" in self.info.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    monkeypatch.setattr(ShardReader, "read_rows", die)
    with Loader(truth.root, num_workers=2, start_method="fork", **SMALL) as loader:
        error = first_error(loader)
    assert "exit code -9 while it read train-000007.tar.zst" in str(error)


def test_a_killed_worker_is_seen_in_a_thread_as_well(truth: Truth) -> None:
    """Signal handlers run in the main thread only; a loader in another one must not wait for ever."""
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with Loader(truth.root, num_workers=2, **SMALL) as loader:
                next(iter(loader))
                os.kill(worker_pids()[0], signal.SIGKILL)
                wait_until(
                    lambda: len(worker_pids()) == 1
                )  # on a busy machine the other one may do five epochs before it dies
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


@pytest.mark.parametrize("at", ["next", "close"])
def test_the_death_of_every_worker_is_seen_and_cleaned_up(truth: Truth, at: str) -> None:
    """Nobody is left to read the line: writing to it must not be what fails, least of all in close()."""
    before = open_files()
    loader = Loader(truth.root, num_workers=1, **SMALL)
    batches = iter(loader)
    batch = next(batches)
    os.kill(worker_pids()[0], signal.SIGKILL)
    assert wait_until(lambda: worker_pids() == [])

    if at == "next":
        with pytest.raises(WorkerError, match="a worker process died"):
            list(batches)
    loader.close()

    del loader, batches, batch
    assert wait_until(lambda: open_files() <= before)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_death_is_seen_though_another_process_holds_the_sentinel(truth: Truth, num_workers: int) -> None:
    """A fork in another thread, just when a worker starts, hands on the pipe that tells of its end."""
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        batches = iter(loader)
        next(batches)
        workers = loader._pipeline.workers._team.processes  # type: ignore[attr-defined]
        held = [hold_sentinel(worker) for worker in workers]
        try:
            os.kill(workers[0].pid, signal.SIGKILL)
            assert wait_until(lambda: workers[0].pid not in worker_pids())
            with pytest.raises(WorkerError, match="a worker process died"):
                list(batches)
        finally:
            for fd in held:
                os.close(fd)


def hold_sentinel(worker: Any) -> int:
    """Open the worker's end of the pipe behind its sentinel."""
    pipe = os.readlink(f"/proc/self/fd/{worker.sentinel}")
    ends = [path for path in Path(f"/proc/{worker.pid}/fd").iterdir() if os.readlink(path) == pipe]
    return os.open(ends[0], os.O_WRONLY)


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


FAULTS: dict[str, tuple[Callable[[Path], None], type[FerdataError]]] = {
    "truncated": (truncate, ShardCorruptError),
    "grown": (grow, ShardCorruptError),
    "rewritten": (rewrite, ShardCorruptError),
}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_shard_that_changes_while_it_is_read_is_an_error_that_names_it(
    tmp_path: Path, fault: str, codec: str, num_workers: int
) -> None:
    """Somebody writes the data set anew under a running training: half old, half new is what nobody notices."""
    truth = make_truth(tmp_path, codec=codec)
    damage, kind = FAULTS[fault]
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        list(loader)
        damage(shard_of(truth))
        error = first_error(loader)
    assert type(error) is kind
    # a worker that had not met the shard before compares it with the index
    changed = "the file was changed while it was being read; write shards to a new"
    other = "[0-9,]+ bytes found, expected [0-9,]+ as index.json"
    assert re.match(f"{re.escape(str(shard_of(truth)))}: ({changed}|{other})", str(error))
    assert worker_pids() == []


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_corrupt_byte_in_the_midst_of_a_shard_is_an_error_that_names_it(
    tmp_path: Path, codec: str, num_workers: int
) -> None:
    """One flipped bit on a disk. The epoch before it is read is right, and the loader can still be closed."""
    truth = make_truth(tmp_path, codec=codec)
    path = shard_of(truth)
    corrupt(path, 12)
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
    assert re.match(
        rf"{re.escape(str(shard_of(truth)))}: [\d,]+ bytes found, expected [\d,]+ as index.json says", str(error)
    )


def test_an_error_keeps_the_batches_before_it_right(tmp_path: Path) -> None:
    """Portions before the damaged one are whole; the error comes when its own is asked for, not before."""
    truth = make_truth(tmp_path, samples={"train": 240}, samples_per_shard=48)
    corrupt(shard_of(truth, 3), 30)
    numbers: list[int] = []
    with (
        Loader(truth.root, num_workers=2, shuffle=False, **SMALL) as loader,
        pytest.raises(ShardCorruptError, match="train-000003"),
    ):
        for batch in loader:
            numbers += truth.assert_true(batch)
    assert numbers == list(range(144))


def test_the_data_of_these_tests_would_be_read_without_faults(tmp_path: Path) -> None:
    """The faults above are errors because of the fault alone."""
    make_dataset(tmp_path, samples={"train": 60}, size=8)
    with Loader(tmp_path, num_workers=0, **SMALL) as loader:
        assert np.concatenate([batch.indices for batch in loader]).size == 56


def test_a_bug_in_a_worker_comes_home_with_its_traceback(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of ours must neither hang the loader nor lose its place; the next epoch has new workers."""

    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(ShardReader, "read_rows", broken)
        loader = Loader(truth.root, num_workers=2, **SMALL)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            list(loader)
        assert worker_pids() == []
    for batch in loader:
        truth.assert_true(batch)
    loader.close()
