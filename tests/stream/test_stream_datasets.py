"""Plain datasets: for any DataLoader, sampler or framework, the same samples as the loader's own."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_dataset import expected_key, expected_record, make_dataset
from streams import SPLITS, Truth, make_truth, open_files
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Subset, WeightedRandomSampler, random_split

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.stream import IterableShardDataset, Loader, ShardDataset

FIELDS = ("images", "labels", "indices")
TOTAL = SPLITS["train"]


@pytest.fixture(scope="module", params=["raw", "zstd"])
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp(request.param), codec=request.param)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_data_loader_over_the_map_reads_every_sample(truth: Truth, num_workers: int) -> None:
    """Batches of default_collate have the loader's own field names, through worker queues too."""
    dataset = ShardDataset(truth.root, fields=FIELDS)
    numbers: list[int] = []
    for batch in DataLoader(dataset, batch_size=16, shuffle=True, num_workers=num_workers):
        assert batch._fields == FIELDS
        assert batch.images.dtype == torch.uint8 and batch.labels.dtype == torch.int64
        numbers += truth.assert_true(batch)
    assert sorted(numbers) == list(range(TOTAL)) and numbers != sorted(numbers)


@pytest.mark.parametrize("codec", ["zstd", "compact"])
def test_threads_may_read_one_dataset_at_once(tmp_path: Path, codec: str) -> None:
    """Servers and prefetchers do; decoders have scratch memory, which two threads must not share."""
    truth = make_truth(tmp_path, codec=codec, size=32)
    dataset = ShardDataset(truth.root, fields=FIELDS)

    def read(seed: int) -> int:
        numbers = np.random.default_rng(seed).integers(TOTAL, size=300).tolist()
        return sum(not np.array_equal(dataset[number].images, truth.pixels[number]) for number in numbers)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(8))) == [0] * 8


def test_workers_that_persist_learn_of_a_new_epoch(truth: Truth) -> None:
    """They hold copies of the dataset: an epoch that stays with the parent gives the same order for ever."""
    dataset = IterableShardDataset(truth.root, shuffle=True, fields=FIELDS)
    read = []
    loader = DataLoader(dataset, batch_size=16, num_workers=2, persistent_workers=True)
    for epoch in range(3):
        dataset.set_epoch(epoch % 2)
        read.append([number for batch in loader for number in truth.assert_true(batch)])
    assert read[0] == read[2] != read[1] and sorted(read[0]) == sorted(read[1]) == list(range(TOTAL))


def test_one_sample_is_what_its_number_says(truth: Truth) -> None:
    """Indexing from both ends, like a list."""
    dataset = ShardDataset(
        truth.root, split="val", fields=("images", "labels", "keys", "valence", "arousal", "indices", "mask")
    )
    for number in (0, 22, 23, 49, -1, -50, np.int64(7)):
        sample, real = dataset[number], int(number) % 50 + 300
        assert np.array_equal(sample.images.numpy(), truth.pixels[real])
        assert (sample.labels, sample.keys, sample.indices, sample.mask) == (
            int(truth.labels[real]),
            expected_key(real),
            real - 300,
            True,
        )
        assert isinstance(sample.labels, int) and isinstance(sample.valence, float)
        expected = expected_record(real)["valence"]
        assert sample.valence == pytest.approx(expected) if expected is not None else np.isnan(sample.valence)
    assert len(dataset) == 50 and dataset.classes[1] == "Happy"
    for number in (50, -51):
        with pytest.raises(IndexError, match=f"sample {number} of 50"):
            dataset[number]


def test_iterating_the_map_by_index_ends(truth: Truth) -> None:
    """``for sample in dataset`` works by IndexError alone."""
    assert sum(1 for _ in ShardDataset(truth.root, split="val")) == 50


@pytest.mark.parametrize("numbers", [[], [5, 5, 5], [299, 0, 150, 0], [-1, 3]])
def test_several_at_once_come_in_the_order_they_were_asked_for(truth: Truth, numbers: list[int]) -> None:
    """A weighted sampler asks for the same sample twice, and torch fetches a batch with one call."""
    samples = ShardDataset(truth.root, fields=FIELDS).__getitems__(numbers)
    assert [sample.indices for sample in samples] == [number % TOTAL for number in numbers]
    for sample in samples:
        assert np.array_equal(sample.images.numpy(), truth.pixels[sample.indices])


def test_samplers_subsets_and_splits_of_torch_work(truth: Truth) -> None:
    """Whoever brings a sampler brings it for a map-style dataset."""
    dataset = ShardDataset(truth.root, fields=FIELDS)
    weights = 1.0 / torch.bincount(dataset.labels)[dataset.labels]
    generator = torch.Generator().manual_seed(1)
    drawn = [
        number
        for batch in DataLoader(
            dataset, batch_size=50, sampler=WeightedRandomSampler(weights.tolist(), 2000, generator=generator)
        )
        for number in truth.assert_true(batch)
    ]
    assert np.bincount(truth.labels[drawn], minlength=8).min() > 190
    ranks = [DistributedSampler(dataset, num_replicas=3, rank=rank, seed=4) for rank in range(3)]
    assert sorted(number for sampler in ranks for number in sampler) == list(range(TOTAL))
    parts = random_split(dataset, [0.9, 0.1], generator=generator)
    read = [number for part in parts for batch in DataLoader(part, batch_size=7) for number in truth.assert_true(batch)]
    assert sorted(read) == list(range(TOTAL))
    assert [truth.assert_true(batch) for batch in DataLoader(Subset(dataset, [4, 2, 9]), batch_size=2)] == [[4, 2], [9]]
    assert len(list(DataLoader(dataset, sampler=RandomSampler(dataset, num_samples=30), batch_size=10))) == 3


def test_a_sample_out_of_range_is_an_error_also_in_a_batch(truth: Truth) -> None:
    """A sampler made for another data set."""
    with pytest.raises(IndexError, match="sample 300 of 300"):
        ShardDataset(truth.root).__getitems__([0, 300])


def test_workers_do_not_share_file_positions_with_the_parent(truth: Truth) -> None:
    """A dataset that was read before the workers fork must not hand them its open files' state."""
    dataset = ShardDataset(truth.root, fields=FIELDS)
    truth.assert_true(next(iter(DataLoader(dataset, batch_size=300))))
    loader = DataLoader(dataset, batch_size=4, num_workers=2)
    for batch in loader:
        truth.assert_true(batch)
        sample = dataset[int(batch.indices[0])]
        assert np.array_equal(sample.images.numpy(), batch.images[0].numpy())


def test_pickles_carry_no_open_file(truth: Truth) -> None:
    """spawn sends the dataset to its workers; batches travel back."""
    dataset = ShardDataset(truth.root, fields=FIELDS)
    sample = dataset[3]
    before = open_files()
    copy = pickle.loads(pickle.dumps(dataset))
    assert open_files() == before
    assert torch.equal(copy[3].images, sample.images)
    with Loader(truth.root, num_workers=0, batch_size=8, fields=FIELDS) as loader:
        batch = next(iter(loader))
    again = pickle.loads(pickle.dumps(batch))
    assert type(again) is type(batch) and truth.assert_true(again) == truth.assert_true(batch)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
def test_the_iterable_gives_every_sample_once_to_any_number_of_workers(
    truth: Truth, shuffle: str, num_workers: int
) -> None:
    """An iterable that forgets its worker's number gives every sample once per worker."""
    dataset = IterableShardDataset(truth.root, shuffle=shuffle, fields=FIELDS, window_samples=60)
    batches = list(DataLoader(dataset, batch_size=10, num_workers=num_workers))
    numbers = [number for batch in batches for number in truth.assert_true(batch)]
    assert sorted(numbers) == list(range(TOTAL)) and len(dataset) == TOTAL
    assert (numbers == sorted(numbers)) == (shuffle == "none" and num_workers < 2)


def test_the_iterable_is_dealt_to_ranks_and_moves_with_the_epoch(truth: Truth) -> None:
    """set_epoch chooses the order; ranks are disjoint and equal."""
    read: dict[int, list[int]] = {}
    for epoch in (0, 1):
        parts = []
        for rank in range(4):
            dataset = IterableShardDataset(truth.root, fields=FIELDS, rank=rank, world_size=4, seed=9)
            dataset.set_epoch(epoch)
            parts.append([sample.indices for sample in dataset])
            assert len(dataset) == len(parts[-1]) == 75
        read[epoch] = [number for part in parts for number in part]
        assert sorted(read[epoch]) == list(range(TOTAL))
    assert read[0] != read[1]


def test_reading_through_the_map_finds_damage(tmp_path: Path) -> None:
    """The slow way is as watchful as the fast one."""
    make_truth(tmp_path, codec="raw")
    dataset = ShardDataset(tmp_path)
    path = sorted(tmp_path.glob("train-*"))[2]
    data = bytearray(path.read_bytes())
    data[data.index(dataset[50].images.numpy().tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardCorruptError, match=r"train-000002.tar: the checksum of sample 4 does not fit"):
        ShardDataset(tmp_path)[50]


def test_a_data_set_behind_an_url() -> None:
    """One sample from an object store costs one range."""
    make_dataset("memory://plain", size=8)
    dataset = ShardDataset("memory://plain", fields=FIELDS)
    assert dataset[17].indices == 17


@pytest.mark.parametrize(
    ("options", "text"),
    [({"split": "test"}, "split: 'test' found, expected one of train, val"), ({"fields": ("labels",)}, "fields: ")],
)
def test_options_out_of_range_are_refused(truth: Truth, options: dict[str, Any], text: str) -> None:
    """The same words as the loader's."""
    for kind in (ShardDataset, IterableShardDataset):
        with pytest.raises(OptionError, match=text):
            kind(truth.root, **options)


def test_a_loader_and_a_dataset_have_what_training_loops_ask_for(tmp_path: Path) -> None:
    """``len(loader.dataset)`` and ``dataset.class_to_idx`` stand in most loops for DataLoader and ImageFolder."""
    truth = make_truth(tmp_path)
    with Loader(truth.root, batch_size=7, num_workers=0, shuffle=False) as loader:
        dataset = loader.dataset
        assert isinstance(dataset, ShardDataset) and dataset is loader.dataset
        assert len(dataset) == TOTAL and loader.drop_last is False
        assert dataset.targets == truth.labels[:TOTAL].tolist() and isinstance(dataset.targets[0], int)
        assert dataset.classes == loader.classes
        assert dataset.class_to_idx == {name: number for number, name in enumerate(loader.classes)}
        assert np.array_equal(dataset[3].images, truth.pixels[3])
    with Loader(truth.root, batch_size=7, num_workers=0) as loader:
        assert loader.drop_last is True

    some = [5, 250, 7]
    with Loader(truth.root, batch_size=2, num_workers=0, indices=some, fields=FIELDS) as loader:
        dataset = loader.dataset
        assert [sample.indices for sample in (dataset[0], dataset[-1])] == [5, 250]
        assert (len(dataset), dataset.targets) == (3, truth.labels[sorted(some)].tolist())
        assert len(pickle.loads(pickle.dumps(dataset))) == 3


@pytest.mark.parametrize("kind", [ShardDataset, IterableShardDataset])
def test_a_transform_of_a_dataset_is_called_with_each_image(tmp_path: Path, kind: Any) -> None:
    """As ImageFolder's: one image in, whatever the batch is to be made of out."""
    truth = make_truth(tmp_path)
    dataset = kind(truth.root, fields=FIELDS, transform=lambda image: image[0, :2, :3].float() / 255)
    for sample in list(dataset)[:20] if kind is IterableShardDataset else [dataset[number] for number in range(20)]:
        assert np.allclose(sample.images, truth.pixels[sample.indices, 0, :2, :3] / 255)
    with pytest.raises(OptionError, match=r"transform: str found, expected a callable of .images. or"):
        kind(truth.root, transform="flip")
