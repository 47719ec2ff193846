"""The loader: right pixels and labels in one order for any number of workers, whatever the consumer does."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_dataset import expected_key, expected_record
from streams import SPLITS, Truth, make_truth, small_jobs, worker_pids

from ferdata.errors import OptionError, StateError
from ferdata.stream import Loader

pytestmark = pytest.mark.usefixtures("way")

FIELDS = ("images", "labels", "indices")
SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": FIELDS, "seed": 3}


@pytest.fixture(scope="module", params=["raw", "zstd", "compact"])
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
    with Loader(zstd.root, num_workers=2, **{**SMALL, "fields": ("images", "keys", "indices")}) as loader:
        for batch in loader:
            assert batch.keys == [expected_key(number) for number in batch.indices.tolist()]


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

    assert lengths == {
        (True, None): 37,
        (True, True): 37,
        (True, False): 38,
        (False, None): 38,
        (False, True): 37,
        (False, False): 38,
    }


def test_every_split_has_its_own_samples(zstd: Truth) -> None:
    """Validation on training images is the costliest mistake a loader can make."""
    with Loader(zstd.root, split="val", num_workers=2, shuffle=False, **SMALL) as loader:
        assert read_epoch(loader, zstd, split="val") == list(range(SPLITS["val"]))
        assert loader.num_samples == SPLITS["val"]


def test_a_kept_epoch_is_byte_correct(zstd: Truth, way: str) -> None:
    """``list(loader)`` is what people write first; recycled memory must not change under them."""
    with Loader(zstd.root, num_workers=2, drop_last=False, **SMALL) as loader:
        kept = [list(loader) for _ in range(3)]

        for batches in kept:
            numbers = [number for batch in batches for number in zstd.assert_true(batch)]
            assert sorted(numbers) == list(range(SPLITS["train"]))
        assert loader.metrics().copied_batches == (0 if way == "on a device" else 38)
        del batches, kept
        assert read_epoch(loader, zstd)
        assert loader.metrics().copied_batches == 0


def test_views_of_views_stay_true_while_the_ring_turns(zstd: Truth) -> None:
    """One kept row of a batch holds its memory; the rest of the epoch must go around it."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        kept: list[tuple[int, np.ndarray]] = []
        for number, batch in enumerate(loader):
            if number % 20 == 0:
                kept.append((int(batch.indices[5]), batch.images[4:].numpy()[1].T[..., 0]))
        del batch
        assert len(kept) == 2 and loader.metrics().copied_batches == 0
        for _ in range(2):
            read_epoch(loader, zstd)
            for number, view in kept:
                assert np.array_equal(view, zstd.pixels[number].T[..., 0])


def test_slots_come_back_when_batches_are_dropped(zstd: Truth, way: str) -> None:
    """A slot that is lost for good makes the ring smaller until the loader stands still."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        for _ in range(2):
            held = []
            for batch in loader:
                held = [*held[-5:], batch]
            del held, batch
        gc.collect()
        assert loader.metrics().ring_occupancy == (0 if way == "on a device" else 6 / 16), (
            "only the next epoch's first window of six batches is read ahead"
        )


def test_a_consumer_may_write_into_its_batch(zstd: Truth) -> None:
    """In-place augmentation spoils only what was handed out; later batches in the same memory are whole."""
    with Loader(zstd.root, num_workers=2, **SMALL) as loader:
        for _ in range(2):
            for batch in loader:
                zstd.assert_true(batch)
                batch.images.zero_()


def test_optional_fields_are_the_samples_own(zstd: Truth) -> None:
    """Valence and arousal are NaN where the source has none, never 0, which is a valid value."""
    fields = ("valence", "images", "arousal", "mask", "indices")
    with Loader(zstd.root, num_workers=0, **{**SMALL, "fields": fields}) as loader:
        batch = next(iter(loader))

    assert batch._fields == fields
    records = [expected_record(number) for number in batch.indices.tolist()]
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
        with pytest.raises(
            OptionError,
            match=r"train: 5 samples found, expected at least batch_size x world_size = 8 x 1; use a smaller",
        ):
            Loader(tmp_path, num_workers=0, drop_last=True, **SMALL)
    else:
        with Loader(tmp_path, num_workers=1, drop_last=False, **SMALL) as loader:
            assert len(loader) == 1
            assert sorted(read_epoch(loader, truth)) == [0, 1, 2, 3, 4]


def test_two_loaders_at_once_do_not_disturb_each_other(zstd: Truth) -> None:
    """Training with validation in its midst, or two data sets mixed."""
    with (
        Loader(zstd.root, num_workers=2, **SMALL) as one,
        Loader(zstd.root, split="val", num_workers=1, **SMALL) as two,
    ):
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
def test_an_epoch_abandoned_midway_leaves_the_next_one_whole(
    zstd: Truth, way: str, num_workers: int, persistent: bool, stop_after: int
) -> None:
    """Workers may still write for the old epoch; until then its slots are nobody's. Window edges are at 6."""
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
        assert len(worker_pids()) == (num_workers if persistent and way == "streamed" else 0)


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
    """``for batch in loader: break`` twice gives two different batches, as with a sampler's set_epoch."""
    with Loader(zstd.root, num_workers=0, **SMALL) as loader:
        firsts = [next(iter(loader)).indices.tolist() for _ in range(2)]
        assert (firsts[0] != firsts[1], loader.epoch) == (True, 1)
        loader.set_epoch(0)
        assert next(iter(loader)).indices.tolist() == firsts[0]


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
                numbers += batch.indices.tolist()
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
