"""Soaks: after many epochs memory, open files, processes and /dev/shm are where they were, and batches are right."""

import gc
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from streams import SPLITS, Truth, make_truth, open_files, shm_bytes, small_jobs, worker_pids

from ferdata.stream import Loader

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("soak"))


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What this process and its workers hold."""

    files: int
    worker_files: int
    processes: int
    shm_bytes: int
    own_bytes: int
    worker_bytes: int


def anonymous_bytes(pid: int) -> int:
    """Return the memory of a process that is no file's: neither the libraries it shares nor the ring."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def use() -> Use:
    """Return what is held now; memory is what processes have of their own, which others do not change."""
    gc.collect()
    workers = [psutil.Process(pid) for pid in worker_pids()]
    return Use(
        files=open_files(),
        worker_files=sum(worker.num_fds() for worker in workers),
        processes=len(workers),
        shm_bytes=shm_bytes(),
        own_bytes=anonymous_bytes(os.getpid()),
        worker_bytes=sum(anonymous_bytes(worker.pid) for worker in workers),
    )


def read_epochs(loader: Loader, truth: Truth, count: int) -> None:
    for _ in range(count):
        assert len({number for batch in loader for number in truth.assert_true(batch)}) == 296


def assert_no_growth(before: Use, after: Use, *, epochs: int) -> None:
    """What a leak of a kilobyte an epoch would add shows over 200 epochs; allocators need some room of their own."""
    assert (after.files, after.processes, after.shm_bytes) == (before.files, before.processes, before.shm_bytes)
    # which worker gets which job is chance, and so when one meets its last shard; a file an epoch would be twice this
    assert after.worker_files - before.worker_files < epochs / 2
    room = 2_000_000 + 5_000 * epochs
    assert after.own_bytes - before.own_bytes < room
    assert after.worker_bytes - before.worker_bytes < room


@pytest.mark.parametrize("epochs", [pytest.param(20, id="20"), pytest.param(200, marks=pytest.mark.slow, id="200")])
@pytest.mark.parametrize(("num_workers", "persistent"), [(0, True), (2, True), (2, False)])
def test_epochs_leave_everything_where_it_was(truth: Truth, num_workers: int, persistent: bool, epochs: int) -> None:
    """A training runs for days; a file or a few kilobytes an epoch end it in the night."""
    with Loader(truth.root, num_workers=num_workers, persistent=persistent, **SMALL) as loader:
        read_epochs(loader, truth, 8)
        before = use()
        read_epochs(loader, truth, epochs)
        assert_no_growth(before, use(), epochs=epochs)
        ahead = 6 if persistent and num_workers else 0  # batches of the next epoch's first window
        assert loader.metrics().ring_occupancy == ahead / 16


@pytest.mark.parametrize("count", [pytest.param(6, id="6"), pytest.param(60, marks=pytest.mark.slow, id="60")])
def test_loaders_leave_everything_where_it_was(truth: Truth, count: int) -> None:
    """A sweep makes hundreds of loaders in one process, and closes half of them."""

    def make(closed: bool) -> None:
        loader = Loader(truth.root, num_workers=2, **SMALL)
        truth.assert_true(next(iter(loader)))
        read_epochs(loader, truth, 1)
        if closed:
            loader.close()

    for number in range(4):
        make(number % 2 == 0)
    before = use()
    for number in range(count):
        make(number % 2 == 0)
    after = use()

    assert_no_growth(before, after, epochs=count)
    assert after.processes == 0


def misuse(loader: Loader, truth: Truth, choice: random.Random) -> Iterator[str]:
    """Do to a loader what people do, in random order, checking every batch that it gives; yield what was done."""
    kept: list[Any] = []
    abandoned: list[Any] = []
    while True:
        step = choice.choice(["whole", "part", "keep", "view", "resume", "set", "forget", "garbage"])
        if step == "whole":
            numbers = [number for batch in loader for number in truth.assert_true(batch) if number >= 0]
            assert len(numbers) == len(set(numbers))
        elif step in ("part", "keep", "view", "resume"):
            iterator = iter(loader)
            abandoned.append(iterator)
            for _, batch in zip(range(choice.randrange(1, 30)), iterator, strict=False):
                truth.assert_true(batch)
                if step == "keep":
                    kept.append((batch, batch.images.clone()))
                elif step == "view":
                    kept.append((batch.images[-1].numpy()[1:], batch.images[-1].numpy()[1:].copy()))
                elif step == "resume" and choice.random() < 0.2:
                    state = loader.state_dict()
                    rest = [truth.assert_true(later) for later in iterator]
                    loader.load_state_dict(state)
                    assert [truth.assert_true(later) for later in loader] == rest
                    break
        elif step == "set":
            loader.set_epoch(choice.randrange(5))
        elif step == "forget":
            kept = choice.sample(kept, len(kept) // 3)
            abandoned = abandoned[-2:]
        else:
            gc.collect()
        for one, copy in kept:
            images = one.images if hasattr(one, "images") else one
            assert (images == copy).all()
        yield step


@pytest.mark.parametrize("steps", [pytest.param(25, id="25"), pytest.param(400, marks=pytest.mark.slow, id="400")])
@pytest.mark.parametrize(
    ("num_workers", "workers", "persistent", "drop_last"),
    [
        (2, "process", True, False),
        (2, "process", False, True),
        (2, "thread", True, False),
        (2, "thread", False, True),
        (0, None, True, False),
    ],
)
def test_a_loader_bears_misuse(
    truth: Truth, num_workers: int, workers: str | None, persistent: bool, drop_last: bool, steps: int
) -> None:
    """Abandoned epochs, kept batches, resumes in any order: every batch is right, every slot comes back."""
    options = {**SMALL, "drop_last": drop_last}
    with Loader(truth.root, num_workers=num_workers, workers=workers, persistent=persistent, **options) as loader:
        seen = [step for step, _ in zip(misuse(loader, truth, random.Random(steps)), range(steps), strict=False)]
        assert len(set(seen)) == 8
        gc.collect()
        count = sum(len(batch.images) for batch in loader)
        assert count == SPLITS["train"] - (SPLITS["train"] % 8 if drop_last else 0)
    assert worker_pids() == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Beyond the table of samples, 100,000 images must cost the main process no more than 10,000."""
    held = {}
    for samples in (2_000, 20_000):
        truth = make_truth(
            tmp_path / str(samples), samples={"train": samples}, size=4, samples_per_shard=1000, codec="raw"
        )
        del truth
        gc.collect()
        before = anonymous_bytes(os.getpid())
        with Loader(tmp_path / str(samples), num_workers=2, batch_size=64, window_samples=512) as loader:
            for _ in range(3):
                assert sum(len(batch.images) for batch in loader) == samples // 64 * 64
            gc.collect()
            held[samples] = anonymous_bytes(os.getpid()) - before
    assert held[20_000] - held[2_000] < 18_000 * 32 + 3_000_000
