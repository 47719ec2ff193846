"""Reading ahead: the next epoch begins before this one ends, and nobody can tell but by the clock."""

import os
from pathlib import Path
from typing import Any

import pytest
from streams import Truth, make_truth, small_jobs

from ferdata.errors import ShardCorruptError
from ferdata.stream import Loader

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("ahead"), codec="raw")


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


def read_epoch(loader: Loader, truth: Truth) -> list[int]:
    """Return the numbers of an epoch's samples in order, every batch checked against the truth as it comes."""
    return [number for batch in loader for number in truth.assert_true(batch)]


def epochs_of_one(truth: Truth, count: int, **options: Any) -> list[list[int]]:
    """Return each epoch as a loader gives it that reads nothing else, and nothing ahead."""
    epochs = []
    for epoch in range(count):
        with Loader(truth.root, num_workers=0, **{**SMALL, **options}) as loader:
            loader.set_epoch(epoch)
            epochs.append(read_epoch(loader, truth))
    return epochs


@pytest.mark.parametrize(
    "options", [{}, {"window_samples": 16}, {"window_samples": 4096}, {"drop_last": False}, {"shuffle": False}]
)
def test_epochs_follow_each_other_without_a_change(truth: Truth, options: dict[str, Any]) -> None:
    expected = epochs_of_one(truth, 5, **options)
    with Loader(truth.root, num_workers=2, **{**SMALL, **options}) as loader:
        assert [read_epoch(loader, truth) for _ in range(5)] == expected


def test_another_epoch_may_be_asked_for_than_the_one_that_was_begun(truth: Truth) -> None:
    """What was read ahead in vain must not be taken for what was asked for."""
    expected = epochs_of_one(truth, 7)
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        read = [read_epoch(loader, truth) for _ in range(3)]
        loader.set_epoch(6)
        read.append(read_epoch(loader, truth))
        loader.set_epoch(1)
        read += [read_epoch(loader, truth), read_epoch(loader, truth)]
    assert read == [*expected[:3], expected[6], expected[1], expected[2]]


def test_an_epoch_that_is_given_up_midway_is_followed_by_the_next_whole(truth: Truth) -> None:
    expected = epochs_of_one(truth, 6)
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        assert [read_epoch(loader, truth) for _ in range(3)] == expected[:3]
        batches = iter(loader)
        part = [number for _ in range(30) for number in truth.assert_true(next(batches))]
        assert part == expected[3][:240]
        assert [read_epoch(loader, truth) for _ in range(2)] == expected[4:6]


def test_a_state_between_epochs_begins_the_next_one(truth: Truth) -> None:
    """The state says where the consumer stands, whatever has been read ahead."""
    expected = epochs_of_one(truth, 4)
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        for _ in range(3):
            read_epoch(loader, truth)
        state = loader.state_dict()
        assert read_epoch(loader, truth) == expected[3]
        loader.load_state_dict(state)
        assert read_epoch(loader, truth) == expected[3]
    with Loader(truth.root, num_workers=1, **SMALL) as other:
        other.load_state_dict(state)
        assert read_epoch(other, truth) == expected[3]


def test_every_epoch_is_told_its_own_bytes(truth: Truth) -> None:
    """Work done ahead is counted where its batches are."""
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        read = []
        for _ in range(4):
            read_epoch(loader, truth)
            read.append(loader.metrics().bytes_read)
    row = 3 * 8 * 8
    assert all(296 * row <= num_bytes < 296 * (row + 4096) for num_bytes in read), read


def test_one_epoch_reads_nothing_ahead(truth: Truth) -> None:
    """Who reads a split once pays for it once."""
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        read_epoch(loader, truth)
        assert loader.metrics().ring_occupancy == 0


def test_a_shard_that_was_damaged_between_epochs_is_found(tmp_path: Path) -> None:
    """An error in what was read ahead comes when it is asked for at the latest."""
    truth = make_truth(tmp_path / "set")
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        for _ in range(3):
            read_epoch(loader, truth)
        for shard in truth.root.glob("train-*"):
            os.truncate(shard, shard.stat().st_size - 100)
        with pytest.raises(ShardCorruptError, match="the file was changed while it was being read"):
            read_epoch(loader, truth)
