"""The loader: right pixels under right labels in the same order for any number of workers, whatever the consumer does with them."""

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_dataset import expected_key, expected_record, make_dataset
from streams import SPLITS, Truth, make_truth, open_files, shm_bytes, small_jobs, wait_until, worker_pids

from ferdata.errors import OptionError, ShardMissingError, StateError, WorkerError
from ferdata.stream import BatchContext, Loader

FIELDS = ("images", "labels", "numbers")
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


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_image_and_label_is_the_samples_own(truth: Truth, num_workers: int) -> None:
    """The whole promise: uint8 [N, 3, H, W] and int64 [N], right for each sample, over epochs and codecs."""
    with Loader(truth.root, num_workers=num_workers, **SMALL) as loader:
        for _ in range(3):
            count = 0
            for batch in loader:
                truth.assert_true(batch)
                assert (batch.images.dtype, batch.images.shape) == (torch.uint8, (8, 3, 8, 8))
                assert (batch.labels.dtype, batch.labels.shape) == (torch.int64, (8,))
                assert batch.images.is_contiguous()
                count += 1
            assert count == len(loader) == SPLITS["train"] // 8


@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
def test_the_order_is_the_same_for_any_number_of_workers(zstd: Truth, shuffle: str) -> None:
    """A run must not change its result because a machine has more cores."""
    orders = []
    for num_workers in (0, 1, 2, 5):
        with Loader(zstd.root, num_workers=num_workers, shuffle=shuffle, **SMALL) as loader:
            orders.append([read_epoch(loader, zstd), read_epoch(loader, zstd)])

    assert orders[0] == orders[1] == orders[2] == orders[3]
    first, second = orders[0]
    assert (first == second) == (shuffle == "none")
    assert (first == sorted(first)) == (shuffle == "none")


def test_keys_come_in_the_order_of_the_images(zstd: Truth) -> None:
    """A key that belongs to another row would name the wrong file to whoever looks into an error."""
    with Loader(zstd.root, num_workers=2, **{**SMALL, "fields": ("images", "keys", "numbers")}) as loader:
        for batch in loader:
            assert batch.keys == [expected_key(number) for number in batch.numbers.tolist()]


@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
def test_every_sample_comes_exactly_once_an_epoch(zstd: Truth, shuffle: str) -> None:
    """Without drop_last nothing is left out and nothing comes twice; the last batch is short."""
    with Loader(zstd.root, num_workers=2, shuffle=shuffle, drop_last=False, **SMALL) as loader:
        for _ in range(2):
            batches = list(loader)
            numbers = [number for batch in batches for number in zstd.assert_true(batch)]
            assert sorted(numbers) == list(range(SPLITS["train"]))
            assert [len(batch.images) for batch in batches] == [8] * 37 + [4]
            assert len(loader) == 38


def test_drop_last_follows_the_shuffle_unless_it_is_given(zstd: Truth) -> None:
    """Training wants equal batches, evaluation every sample; both by default."""
    lengths = {
        (shuffle, drop_last): len(Loader(zstd.root, num_workers=0, shuffle=shuffle, drop_last=drop_last, **SMALL))
        for shuffle in (True, False)
        for drop_last in (None, True, False)
    }

    assert lengths == {(True, None): 37, (True, True): 37, (True, False): 38, (False, None): 38, (False, True): 37, (False, False): 38}


def test_every_split_has_its_own_samples(zstd: Truth) -> None:
    """Validation on training images is the costliest mistake a loader can make."""
    with Loader(zstd.root, split="val", num_workers=2, shuffle=False, **SMALL) as loader:
        assert read_epoch(loader, zstd, split="val") == list(range(SPLITS["val"]))
        assert loader.num_samples == SPLITS["val"]


def test_a_kept_epoch_is_byte_correct(zstd: Truth) -> None:
    """``list(loader)`` is what people write first; recycled memory must not change under them."""
    with Loader(zstd.root, num_workers=2, drop_last=False, **SMALL) as loader:
        kept = [list(loader) for _ in range(3)]

        for batches in kept:
            numbers = [number for batch in batches for number in zstd.assert_true(batch)]
            assert sorted(numbers) == list(range(SPLITS["train"]))
        assert loader.metrics().copied_batches == 38
        del batches, kept
        assert read_epoch(loader, zstd)
        assert loader.metrics().copied_batches == 0


def test_views_of_views_stay_true_while_the_ring_turns(zstd: Truth) -> None:
    """One kept row of a batch holds its memory; the rest of the epoch must go around it."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        kept: list[tuple[int, np.ndarray]] = []
        for number, batch in enumerate(loader):
            if number % 20 == 0:
                kept.append((int(batch.numbers[5]), batch.images[4:].numpy()[1].T[..., 0]))
        del batch
        assert len(kept) == 2 and loader.metrics().copied_batches == 0
        for _ in range(2):
            read_epoch(loader, zstd)
            for number, view in kept:
                assert np.array_equal(view, zstd.pixels[number].T[..., 0])


def test_slots_come_back_when_batches_are_dropped(zstd: Truth) -> None:
    """A slot that is lost for good makes the ring smaller until the loader stands still."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        for _ in range(2):
            held = []
            for batch in loader:
                held = [*held[-5:], batch]
            del held, batch
        gc.collect()
        assert loader.metrics().ring_occupancy == 0


def test_a_consumer_may_write_into_its_batch(zstd: Truth) -> None:
    """In-place augmentation spoils only what was handed out; later batches in the same memory are whole."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        for _ in range(2):
            for batch in loader:
                zstd.assert_true(batch)
                batch.images.zero_()


def test_optional_fields_are_the_samples_own(zstd: Truth) -> None:
    """Valence and arousal are NaN where the source has none, never 0, which is a valid value."""
    fields = ("valence", "images", "arousal", "mask", "numbers")
    with Loader(zstd.root, num_workers=0, **{**SMALL, "fields": fields}) as loader:
        batch = next(iter(loader))

    assert batch._fields == fields
    records = [expected_record(number) for number in batch.numbers.tolist()]
    for name in ("valence", "arousal"):
        expected = np.array([np.nan if record[name] is None else record[name] for record in records], np.float32)
        assert np.array_equal(getattr(batch, name).numpy(), expected, equal_nan=True)
        assert getattr(batch, name).dtype == torch.float32
    assert batch.mask.tolist() == [True] * 8


def test_more_workers_than_jobs_or_shards(tmp_path: Path) -> None:
    """A small validation split on a large machine: most workers have nothing to do, and none may wait for ever."""
    truth = make_truth(tmp_path, samples={"train": 20}, samples_per_shard=20)
    with Loader(tmp_path, num_workers=6, drop_last=False, **SMALL) as loader:
        for _ in range(3):
            assert sorted(read_epoch(loader, truth)) == list(range(20))


@pytest.mark.parametrize("drop_last", [True, False])
def test_a_batch_larger_than_the_split(tmp_path: Path, drop_last: bool) -> None:
    """One short batch, or an error that says what to change."""
    truth = make_truth(tmp_path, samples={"train": 5})
    if drop_last:
        with pytest.raises(OptionError, match=r"train: 5 samples found, expected at least batch_size x world_size = 8 x 1; use a smaller"):
            Loader(tmp_path, num_workers=0, drop_last=True, **SMALL)
    else:
        with Loader(tmp_path, num_workers=1, drop_last=False, **SMALL) as loader:
            assert len(loader) == 1
            assert sorted(read_epoch(loader, truth)) == [0, 1, 2, 3, 4]


def test_two_loaders_at_once_do_not_disturb_each_other(zstd: Truth) -> None:
    """Training with validation in its midst, or two data sets mixed."""
    with Loader(zstd.root, num_workers=2, **SMALL) as one, Loader(zstd.root, split="val", num_workers=1, **SMALL) as two:
        alone = read_epoch(one, zstd), read_epoch(two, zstd, split="val")
        one.set_epoch(0)
        two.set_epoch(0)
        numbers: tuple[list[int], list[int]] = ([], [])
        for batch, other in zip(one, two, strict=False):
            numbers[0].extend(zstd.assert_true(batch))
            numbers[1].extend(zstd.assert_true(other, split="val"))

    assert numbers[1] == alone[1]
    assert numbers[0] == alone[0][: len(numbers[0])]


@pytest.mark.parametrize("stop_after", [1, 6, 7, 11])
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_abandoned_midway_leaves_the_next_one_whole(zstd: Truth, num_workers: int, persistent: bool, stop_after: int) -> None:
    """Workers may still write for the old epoch; its slots must not be anybody's before they are done. Window edges are at 6."""
    with Loader(zstd.root, num_workers=num_workers, persistent=persistent, drop_last=False, **SMALL) as loader:
        for _ in range(3):
            old = iter(loader)
            for _ in range(stop_after):
                zstd.assert_true(next(old))
            numbers = read_epoch(loader, zstd)
            assert sorted(numbers) == list(range(SPLITS["train"]))
            with pytest.raises(StateError, match="this iteration was ended by a newer one or by close"):
                next(old)
            with pytest.raises(StopIteration):
                next(old)
        assert len(worker_pids()) == (num_workers if persistent else 0)


def test_one_loader_cannot_be_iterated_twice_at_once(zstd: Truth) -> None:
    """``zip(loader, loader)`` would mix two epochs over one ring."""
    with (
        Loader(zstd.root, num_workers=2, **SMALL) as loader,
        pytest.raises(StateError, match="expected one iteration of a loader at a time; make two loaders"),
    ):
        for one, two in zip(loader, loader, strict=True):
            zstd.assert_true(one)
            zstd.assert_true(two)


def test_asking_for_an_iterator_alone_changes_nothing(zstd: Truth) -> None:
    """Lightning calls iter() to see whether it may; an epoch must not be skipped, nor a running one ended for that."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        expected = read_epoch(loader, zstd)
        loader.set_epoch(0)
        unused = iter(loader), iter(loader)
        numbers: list[int] = []
        for batch in loader:
            iter(loader)
            numbers += zstd.assert_true(batch)
        assert numbers == expected
        assert (loader.epoch, len(unused)) == (1, 2)


def test_breaking_out_of_a_loop_moves_on_to_the_next_epoch(zstd: Truth) -> None:
    """``for batch in loader: break`` twice gives two different batches, as a DataLoader with a sampler's set_epoch would."""
    with Loader(zstd.root, num_workers=0, **SMALL) as loader:
        firsts = [next(iter(loader)).numbers.tolist() for _ in range(2)]
        assert (firsts[0] != firsts[1], loader.epoch) == (True, 1)
        loader.set_epoch(0)
        assert next(iter(loader)).numbers.tolist() == firsts[0]


def test_set_epoch_chooses_the_order_and_len_is_exact_throughout(zstd: Truth) -> None:
    """Loops call set_epoch before each epoch, as with a DistributedSampler; the count must hold at every moment."""
    with Loader(zstd.root, num_workers=0, **SMALL) as loader:
        free = [read_epoch(loader, zstd) for _ in range(3)]
        assert loader.epoch == 3
        for epoch in (2, 0, 1):
            loader.set_epoch(epoch)
            loader.set_epoch(epoch)
            assert (loader.epoch, len(loader)) == (epoch, 37)
            numbers: list[int] = []
            for batch in loader:
                numbers += batch.numbers.tolist()
                assert (loader.epoch, len(loader)) == (epoch, 37)
            assert numbers == free[epoch]
        with pytest.raises(OptionError, match="epoch: -1 found, expected 0 or more"):
            loader.set_epoch(-1)


def test_an_iteration_ends_when_the_epoch_is_set_in_its_midst(zstd: Truth) -> None:
    """Going on would mix two epochs under one number."""
    with Loader(zstd.root, num_workers=0, **SMALL) as loader:
        old = iter(loader)
        next(old)
        loader.set_epoch(5)
        with pytest.raises(StateError, match="this iteration was ended"):
            next(old)
        assert len(read_epoch(loader, zstd)) == 37 * 8


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
    assert open_files() == before


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
    assert open_files() == before


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
    """A DataLoader takes a number from torch's generator each epoch, so that a resumed run draws other dropout than the first."""
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
                assert np.array_equal(batch.images.numpy(), zstd.pixels[batch.numbers.numpy()] / np.float32(2))

    assert [entry[:3] for entry in seen] == [(3, 0, 0)] * 38 + [(3, 1, 0)] * 38
    assert [position for entry in seen[:38] for position in entry[3]] == list(range(300))


def test_balanced_draws_give_every_class_the_same_share_and_read_no_more_than_they_use(truth: Truth) -> None:
    """Half the faces are of one class. Frames hold one sample each, so drawing unevenly decodes nothing in vain."""
    with Loader(truth.root, num_workers=2, sampling="balanced", draws=320, **SMALL) as loader:
        assert len(loader) == 40
        batches = list(loader)
        weighted = loader.metrics()
        again = [batch.numbers.tolist() for batch in batches]
        loader.set_epoch(0)
        assert [batch.numbers.tolist() for batch in loader] == again
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
        counts = {loader.classes[label]: count for label, count in enumerate(np.bincount(labels, minlength=8).tolist()) if count}

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
        ({"num_workers": -1}, "num_workers: -1 found, expected 0 or more"),
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


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    """The usual first mistake: the source folder instead of the shards."""
    with pytest.raises(ShardMissingError, match=str(tmp_path)):
        Loader(tmp_path)
