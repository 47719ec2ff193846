"""The loader's life: workers, threads, sampling, metrics and what it refuses."""

import atexit
import gc
import json
import mmap
import multiprocessing
import os
import pickle
import re
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_dataset import make_dataset
from streams import SPLITS, Truth, make_truth, open_files, run_script, shm_bytes, small_jobs, wait_until, worker_pids

from ferdata.errors import OptionError, ShardMissingError, StateError, WorkerError
from ferdata.stream import BatchContext, Loader, ShardDataset

FIELDS = ("images", "labels", "indices")
SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": FIELDS, "seed": 3}


@pytest.fixture(scope="module", params=["raw", "zstd"])
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp(request.param), codec=request.param)


@pytest.fixture(scope="module")
def zstd(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("plain"))


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


def read_epoch(loader: Loader, truth: Truth, *, split: str = "train") -> list[int]:
    """Return the numbers of an epoch's samples in order, every batch checked against the truth as it comes."""
    return [number for batch in loader for number in truth.assert_true(batch, split=split)]


@pytest.mark.parametrize("persistent", [True, False])
def test_close_ends_the_workers_though_an_iterator_is_kept(zstd: Truth, persistent: bool) -> None:
    """``close`` means it: no process is left because somebody still has the iterator or a batch."""
    before = open_files()
    loader = Loader(zstd.root, num_workers=2, persistent=persistent, **SMALL)
    batches = iter(loader)
    batch = next(batches)
    assert len(worker_pids()) == 2

    loader.close()
    loader.close()

    assert worker_pids() == []
    zstd.assert_true(batch)
    with pytest.raises(StateError, match="ended by a newer one or by close"):
        next(batches)
    with pytest.raises(WorkerError, match="it was closed, expected an open one; make a new loader"):
        next(iter(loader))
    del loader, batches
    gc.collect()
    zstd.assert_true(batch)
    del batch
    assert open_files() <= before


def test_workers_that_do_not_persist_end_with_their_epoch(zstd: Truth) -> None:
    """Someone who asked for it wants the memory back between epochs."""
    with Loader(zstd.root, num_workers=2, persistent=False, **SMALL) as loader:
        for _ in range(2):
            read_epoch(loader, zstd)
            assert worker_pids() == []


def test_workers_that_persist_are_the_same_processes(zstd: Truth) -> None:
    """Starting processes costs seconds under spawn: once is enough."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        seen = set()
        for _ in range(3):
            read_epoch(loader, zstd)
            seen.add(tuple(worker_pids()))
    assert len(seen) == 1


@pytest.mark.parametrize("midway", [True, False])
def test_a_loader_that_is_forgotten_leaves_no_process_and_no_file(zstd: Truth, midway: bool) -> None:
    """Notebooks make a loader per cell and close none."""
    before = open_files()
    for _ in range(3):
        loader = Loader(zstd.root, num_workers=2, **SMALL)
        iterator = iter(loader)
        next(iterator)
        if not midway:
            list(iterator)
        del loader, iterator
        gc.collect()

    assert worker_pids() == []
    assert open_files() <= before


def test_a_loader_works_in_any_thread(zstd: Truth) -> None:
    """Servers and prefetchers iterate in threads, where signal handlers cannot be set."""
    read: list[list[int]] = []

    def work() -> None:
        with Loader(zstd.root, num_workers=2, **SMALL) as loader:
            read.extend([read_epoch(loader, zstd), read_epoch(loader, zstd)])

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(read) == 4 and {len(numbers) for numbers in read} == {296}
    assert sorted(read)[0] == sorted(read)[1] and sorted(read)[2] == sorted(read)[3]
    assert wait_until(lambda: worker_pids() == [])


def test_the_trainings_random_stream_is_left_alone(zstd: Truth) -> None:
    """A DataLoader draws from torch's generator each epoch, so that a resumed run has other dropout than the first."""
    torch.manual_seed(5)
    expected = torch.random.get_rng_state()
    for num_workers in (0, 2):
        with Loader(zstd.root, num_workers=num_workers, **SMALL) as loader:
            read_epoch(loader, zstd)
            read_epoch(loader, zstd)
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_a_transform_gets_the_batch_and_where_it_stands(zstd: Truth) -> None:
    """Seeded augmentation needs epoch and position; the loader's pixels stay as they are for whoever keeps them."""
    seen: list[tuple[int, int, int, list[int]]] = []

    def halve(images: torch.Tensor, context: BatchContext) -> torch.Tensor:
        seen.append((context.seed, context.epoch, context.rank, context.positions.tolist()))
        return images.float() / 2

    with Loader(zstd.root, num_workers=2, transform=halve, drop_last=False, **SMALL) as loader:
        for _ in range(2):
            for batch in loader:
                assert np.array_equal(batch.images.numpy(), zstd.pixels[batch.indices.numpy()] / np.float32(2))

    assert [entry[:3] for entry in seen] == [(3, 0, 0)] * 38 + [(3, 1, 0)] * 38
    assert [position for entry in seen[:38] for position in entry[3]] == list(range(300))


def test_balanced_draws_give_every_class_the_same_share_and_read_no_more_than_they_use(truth: Truth) -> None:
    """Half the faces are of one class. Frames hold one sample each, so drawing unevenly decodes nothing in vain."""
    with Loader(truth.root, num_workers=2, sampling="balanced", draws=320, **SMALL) as loader:
        assert len(loader) == 40
        batches = list(loader)
        weighted = loader.metrics()
        again = [batch.indices.tolist() for batch in batches]
        loader.set_epoch(0)
        assert [batch.indices.tolist() for batch in loader] == again
    with Loader(truth.root, num_workers=2, draws=None, drop_last=False, **SMALL) as loader:
        list(loader)
        uniform = loader.metrics()

    labels = np.concatenate([batch.labels.numpy() for batch in batches])
    assert np.bincount(labels, minlength=8).tolist() == [40] * 8
    for batch in batches:
        truth.assert_true(batch)
    assert weighted.bytes_read / weighted.images <= 1.02 * uniform.bytes_read / uniform.images


def test_weights_by_name_set_the_shares(zstd: Truth) -> None:
    """Users say which class they want more of, by its name."""
    weights = {"Neutral": 1, "Contempt": 3}
    with Loader(zstd.root, num_workers=0, sampling=weights, draws=160, **SMALL) as loader:
        labels = np.concatenate([batch.labels.numpy() for batch in loader])
        counts = {
            loader.classes[label]: count
            for label, count in enumerate(np.bincount(labels, minlength=8).tolist())
            if count
        }

    assert counts == {"Neutral": 40, "Contempt": 120}


def test_metrics_can_be_read_at_any_time(zstd: Truth) -> None:
    """Figures that only come at the end help nobody who waits."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        assert loader.metrics().images == 0
        images = []
        for batch in loader:
            assert len(batch.images) == 8
            metrics = loader.metrics()
            images.append(metrics.images)
            assert 0 < metrics.ring_occupancy <= 1
            assert metrics.images_per_second > 0
        del batch

    assert images == [8 * number for number in range(1, 38)]
    assert metrics.window_samples == 48
    assert metrics.bytes_read > 0 and metrics.consumer_wait_seconds > 0 and metrics.worker_wait_seconds >= 0
    assert metrics.ring_slots == 2 * 6 + 4


def test_describe_says_how_far_the_shuffle_reaches(zstd: Truth) -> None:
    """The span decides how good a shuffle is, and a memory budget may have made it smaller than asked."""
    loader = Loader(zstd.root, num_workers=0, **SMALL)
    assert "300 samples, codec zstd" in loader.describe() and "48 samples mixed at a time" in loader.describe()
    tight = Loader(zstd.root, num_workers=0, memory_bytes=192 * 8 * 10, **SMALL)
    assert tight.order.window_samples == 24 and "24 samples mixed at a time" in tight.describe()
    assert "exact permutation" in Loader(zstd.root, num_workers=0, shuffle="full", **SMALL).describe()


def test_no_shared_memory_has_a_name(zstd: Truth) -> None:
    """/dev/shm is 64 MB in a container, and what lies there survives a crash."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        for _ in loader:
            assert shm_bytes() == 0


def test_a_data_set_behind_an_url(tmp_path: Path) -> None:
    """Shards are read by ranges from object stores; a memory store stands for them, and file:// for a mounted one."""
    make_dataset("memory://streamed", size=8, samples=SPLITS, samples_per_shard=23)
    local = make_truth(tmp_path)
    with Loader("memory://streamed", num_workers=0, **SMALL) as loader:
        remote = read_epoch(loader, local)
    with Loader(f"file://{tmp_path}", num_workers=2, **SMALL) as loader:
        assert read_epoch(loader, local) == remote


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"split": "test"}, "split: 'test' found, expected one of train, val"),
        ({"batch_size": 0}, "batch_size: 0 found, expected at least 1"),
        ({"num_workers": -1}, "num_workers: -1 found, expected at least 0"),
        ({"shuffle": "yes"}, "shuffle: 'yes' found, expected window, full or none"),
        ({"seed": -1}, "seed: -1 found, expected 0 or more"),
        ({"fields": ("labels",)}, "fields: .* expected 'images' and others out of images, labels, valence"),
        ({"fields": ("images", "age")}, "expected 'images' and others"),
        ({"fields": ("images", "images")}, "each once"),
        ({"sampling": "even"}, "sampling: 'even' found, expected uniform, balanced"),
        ({"sampling": "balanced", "shuffle": "none"}, "no reading order"),
        ({"draws": 100}, "draws: 100 found, but every sample is drawn once"),
        ({"draws": 0, "sampling": "balanced"}, "draws: 0 found, expected at least 1"),
        ({"window_samples": 0}, "window_samples: 0 found, expected at least 1"),
        ({"memory_bytes": 100}, "memory_bytes: 100 found, expected at least 9,216 for batches of 8"),
        ({"verify": "never"}, "verify: 'never' found, expected first or always"),
        ({"start_method": "thread"}, "start_method: 'thread' found, expected one of"),
        ({"device": "cuda"}, "device: cuda found, but this torch sees no CUDA device; use device='cpu'"),
        ({"pin_memory": True}, "pin_memory: this torch sees no CUDA device"),
        ({"rank": 1}, "rank 1, world_size None: expected both or neither"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2: expected 0 <= rank < world_size"),
    ],
)
def test_options_out_of_range_are_refused_by_name(zstd: Truth, options: dict[str, Any], text: str) -> None:
    """An error at construction names the option; one from a worker an hour later does not."""
    if "CUDA" in text and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(OptionError, match=text):
        Loader(zstd.root, **{"num_workers": 0, **SMALL, **options})


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTFORK"), reason="only Linux keeps memory from forked processes")
def test_workers_fill_memory_that_a_driver_keeps_from_forked_processes(zstd: Truth) -> None:
    """Drivers that page-lock memory may take it out of what a fork hands on; a worker maps the ring for itself."""
    with Loader(zstd.root, num_workers=2, start_method="fork", **SMALL) as loader:
        loader._pipeline.ring.memory._mmap.madvise(mmap.MADV_DONTFORK)
        numbers = [number for batch in loader for number in zstd.assert_true(batch)]
    assert len(set(numbers)) == len(numbers) > 290


def test_a_forked_process_neither_uses_nor_ends_its_parents_loader(zstd: Truth) -> None:
    """A program forks for many reasons: the child's garbage, exit and mistakes are not the parent's business."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        batches = iter(loader)
        numbers = zstd.assert_true(next(batches))
        pids = worker_pids()
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()

        def use() -> None:
            try:
                list(loader)
            except StateError as error:
                queue.put(str(error))

        child = context.Process(target=use)
        child.start()
        assert re.match(
            rf"loader: it belongs to process {os.getpid()} and this is {child.pid}, expected .*make a loader in each",
            queue.get(),
        )
        child.join()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            if (pid := os.fork()) == 0:
                del batches, loader
                gc.collect()
                atexit._run_exitfuncs()
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

        assert worker_pids() == pids
        for batch in batches:
            numbers += zstd.assert_true(batch)
    assert len(set(numbers)) == 296


def test_a_loader_says_that_it_cannot_be_sent_to_another_process(zstd: Truth) -> None:
    """``spawn`` pickles what it hands on, and deepcopy does too."""
    loader = Loader(zstd.root, num_workers=0, **SMALL)
    with pytest.raises(
        StateError, match=r"loader: it belongs to the process that made it .* make a loader in each process"
    ):
        pickle.dumps(loader)


def test_the_default_device_of_a_program_is_not_the_loaders(zstd: Truth) -> None:
    """Whatever tensors the loader makes for itself belong on the processor."""
    torch.set_default_device("meta")
    try:
        with Loader(zstd.root, num_workers=2, **SMALL) as loader:
            assert len(read_epoch(loader, zstd)) == 296
    finally:
        torch.set_default_device(None)


def test_too_few_file_descriptors_are_an_error_that_says_so(zstd: Truth, tmp_path: Path) -> None:
    """Servers run with 64 of them; afterwards the program goes on."""
    script = (
        "import os, resource, sys\n"
        "from ferdata import Loader\n"
        "from ferdata.errors import WorkerError\n"
        "spare = len(os.listdir('/proc/self/fd'))\n"
        "loader = Loader(sys.argv[1], num_workers=2, batch_size=8)\n"
        "before = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "for room in (6, 12, 16):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + room, before[1]))\n"
        "    try:\n"
        "        list(loader)\n"
        "    except WorkerError as error:\n"
        "        print(error)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "print(len(list(loader)))\n"
        "try:\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))\n"
        "    Loader(sys.argv[1], num_workers=2, batch_size=8)\n"
        "finally:\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
    )
    done = run_script(tmp_path / "script.py", script, str(zstd.root))
    lines = done.stdout.splitlines()
    assert len(lines) >= 2 and lines[-1] == "37", done
    assert all(
        re.match(r"loader: 2 workers could not be started \(Too many open files\), expected .*ulimit -n", line)
        for line in lines[:-1]
    )


def test_wrong_types_are_refused_by_name(zstd: Truth) -> None:
    """A batch size out of a division is a float; NumPy's whole numbers are as good as Python's."""
    with pytest.raises(OptionError, match=r"batch_size: 16\.0 found, expected a whole number"):
        Loader(zstd.root, batch_size=16.0)  # type: ignore[arg-type]
    state = Loader(zstd.root, num_workers=0, seed=np.int64(3)).state_dict()  # type: ignore[arg-type]
    assert json.loads(json.dumps(state))["order"]["seed"] == 3


def test_a_relative_root_holds_wherever_the_program_goes(zstd: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frameworks change the working directory for each run."""
    monkeypatch.chdir(zstd.root.parent)
    loader, dataset = Loader(zstd.root.name, num_workers=0, **SMALL), ShardDataset(zstd.root.name)
    monkeypatch.chdir("/")
    assert len(read_epoch(loader, zstd)) == 296
    assert dataset[3].images.shape == (3, 8, 8)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    """The usual first mistake: the source folder instead of the shards."""
    with pytest.raises(ShardMissingError, match=str(tmp_path)):
        Loader(tmp_path)


def test_reading_tables_starts_no_threads_of_pyarrow(zstd: Truth, tmp_path: Path) -> None:
    """A short program with torch in it aborts where pyarrow's pool is still starting as it ends: 1 in 10 if busy."""
    script = (
        "import os, sys, torch, pyarrow.parquet, pyarrow.compute, pyarrow.acero, ferdata\n"
        "def count(): return len(os.listdir('/proc/self/task'))\n"
        "before = count()\n"
        "ferdata.open_dataset(sys.argv[1]).table()\n"
        "ferdata.ShardDataset(sys.argv[1], where='valence > 0')\n"
        "ferdata.Loader(sys.argv[1], num_workers=0, where='valence > 0', fields=('images', 'arousal'), batch_size=8)\n"
        "print(count() - before)\n"
    )
    assert run_script(tmp_path / "script.py", script, str(zstd.root)).stdout == "0\n"
