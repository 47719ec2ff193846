"""Loaders of data sets behind a URL: what is fetched ahead, how often, and that batches are those of a local folder."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import make_dataset
from torch.utils.data import DataLoader
from webserver import WebServer, serve

from ferdata.errors import ShardCorruptError, ShardMissingError
from ferdata.format import INDEX_NAME, SAMPLES_NAME, read_index
from ferdata.stream import Loader, ShardBatches

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}
KINDS: list[dict[str, Any]] = [
    {"num_workers": 0},
    {"num_workers": 2},
    {"num_workers": 2, "persistent": False},
    {"num_workers": 2, "workers": "thread"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("far")
    for codec in ("raw", "zstd", "compact"):
        make_dataset(folder / codec, codec=codec, size=24, samples={"train": 100}, samples_per_shard=20)
    return folder


@pytest.fixture
def web(folder: Path) -> Iterator[WebServer]:
    with serve(folder) as server:
        yield server


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("ferdata")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("codec", ["raw", "zstd", "compact"])
def test_batches_are_those_of_a_local_folder(folder: Path, web: WebServer, codec: str, kind: dict[str, Any]) -> None:
    """Order, bits and labels of every epoch, whoever decodes; and nothing stays behind."""
    with Loader(f"{web.url}/{codec}", **SMALL, **kind) as far, Loader(folder / codec, **SMALL, **kind) as near:
        for _ in range(2):
            for one, other in zip(far, near, strict=True):
                assert np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)
                assert np.array_equal(one.indices, other.indices)
    assert not threads()


def test_a_window_costs_a_request_for_each_of_its_runs_and_a_table_one_for_each_shard(web: WebServer) -> None:
    """Sizes come from the index, tables are asked for once, and neighbours travel together, whatever the workers."""
    with Loader(f"{web.url}/raw", **SMALL, num_workers=2, shuffle=False) as loader:
        list(loader)
        asked = web.of_shards()
        assert {method for method, *_ in asked} == {"GET"}
        assert len(asked) <= 5 + 2 * 3 + 5  # tables, and pieces of windows that end within a shard
        list(loader)
        assert len(web.of_shards()) <= 2 * 3 + 5 + 4


@pytest.mark.parametrize(
    "kind",
    [
        {"resident": True},
        {"resident": True, "num_workers": 2, "indices": range(3, 90, 4)},
        {"decode": "device", "device": "cpu", "num_workers": 2},
        {"decode": "device", "device": "cpu", "num_workers": 0},
    ],
    ids=str,
)
def test_what_is_resident_or_decoded_elsewhere_is_that_of_a_local_folder(
    folder: Path, web: WebServer, kind: dict[str, Any]
) -> None:
    """A split is fetched once, tables before samples; payloads travel as they are stored."""
    with Loader(f"{web.url}/compact", **SMALL, **kind) as far, Loader(folder / "compact", **SMALL, **kind) as near:
        for _ in range(2):
            for one, other in zip(far, near, strict=True):
                assert np.array_equal(one.images, other.images) and np.array_equal(one.indices, other.indices)
    if "resident" in kind:
        assert len([each for each in web.of_shards() if each[0] == "GET"]) == 2 * 5
    assert not threads()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("codec", ["raw", "compact"])
def test_batches_for_a_data_loader_are_fetched_ahead_too(
    folder: Path, web: WebServer, codec: str, num_workers: int
) -> None:
    """Each worker fetches what its own batches need of a window; the order stays the loader's."""
    far, near = ShardBatches(f"{web.url}/{codec}", **SMALL), Loader(folder / codec, num_workers=0, **SMALL)
    loader = DataLoader(far, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0)
    for epoch in range(2):
        far.set_epoch(epoch)
        for one, other in zip(loader, near, strict=True):
            assert np.array_equal(one.images, other.images) and np.array_equal(one.indices, other.indices)
    near.close()
    assert not threads()
    assert len(web.of_shards()) < 2 * 2 * 48


def test_sets_near_and_far_in_one_loader(folder: Path, web: WebServer) -> None:
    """Samples of local shards are read where they are, beside those that are fetched; images are fitted."""
    roots = [str(folder / "raw"), f"{web.url}/compact", f"{web.url}/zstd"]
    options = {**SMALL, "resize": 16, "num_workers": 2}
    with (
        Loader(roots, **options) as far,
        Loader([str(folder / c) for c in ("raw", "compact", "zstd")], **options) as near,
    ):
        for one, other in zip(far, near, strict=True):
            assert np.array_equal(one.images, other.images) and np.array_equal(one.indices, other.indices)
    assert {path.split("/")[1] for _, path, _ in web.of_shards()} == {"compact", "zstd"}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("codec", ["raw", "zstd", "compact"])
def test_a_sample_that_arrives_damaged_is_fetched_again_and_then_named(
    folder: Path, web: WebServer, codec: str, kind: dict[str, Any]
) -> None:
    """A bit that flips on the way costs a request; one that stays flipped is an error that names shard and sample."""
    with Loader(f"{web.url}/{codec}", **SMALL, **kind) as far, Loader(folder / codec, num_workers=0, **SMALL) as near:
        web.faults[:] = ["", "flip"] * 6
        for one, other in zip(far, near, strict=True):
            assert np.array_equal(one.images, other.images)
        assert not web.faults
        web.faults[:] = [*[""] * 4, *["flip"] * 400]
        with pytest.raises(ShardCorruptError, match=r"train-00000.*fetched 3 times"):
            list(far)
        web.faults.clear()
        assert len(list(far)) == 12  # the next epoch is whole
    assert not threads()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_leaving_an_epoch_or_closing_ends_what_is_being_fetched(web: WebServer, kind: dict[str, Any]) -> None:
    """Answers that stall must not keep a program that has what it wants."""
    for leave in (lambda loader, batches: batches.close(), lambda loader, batches: loader.close()):
        loader = Loader(f"{web.url}/raw", **SMALL, **kind)
        batches = iter(loader)
        next(batches)
        web.faults[:] = ["stall"] * 9
        begun = time.monotonic()
        leave(loader, batches)
        assert time.monotonic() - begun < 4
        loader.close()
        web.faults.clear()
        assert not threads()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_first_batch_waits_for_three_answers_one_after_the_other(
    folder: Path, web: WebServer, kind: dict[str, Any]
) -> None:
    """Index; table of samples and tables of shards; samples: what does not need the other is asked for with it."""
    sizes = {info.name: info.num_bytes for info in read_index(folder / "raw").shards}
    needed, asked, late = {"index": 1, "tables": 1 + 5, "samples": 3}, Counter[str](), list[str]()
    changed = threading.Condition()

    def hold(path: str, part: str) -> None:
        """Let nobody have an answer before all have asked who can without it."""
        name = path.rpartition("/")[2]
        is_end = part.endswith(f"-{sizes.get(name, 0) - 1}")
        which = "index" if name == INDEX_NAME else "tables" if is_end or name == SAMPLES_NAME else "samples"
        with changed:
            asked[which] += 1
            changed.notify_all()
            if not changed.wait_for(lambda: asked[which] >= needed[which], 10):
                late.append(which)

    web.gate = hold
    with Loader(f"{web.url}/raw", **SMALL, **kind, shuffle=False) as loader:
        batch = next(iter(loader))
        assert not late, f"{late} waited for each other"
        assert asked["index"] == 1 and asked["tables"] == 6
        assert batch.indices.tolist() == [*range(8)]
    assert not threads()


def test_a_table_that_is_wanting_is_told_by_whoever_needs_it_and_read_again(folder: Path, web: WebServer) -> None:
    """The loader is there before its table is: what is wrong with it is no less of an error."""
    web.failing, web.faults[:] = SAMPLES_NAME, ["404"] * 2
    with Loader(f"{web.url}/raw", **SMALL, num_workers=2) as loader:
        for _ in range(2):
            with pytest.raises(ShardMissingError, match=r"samples\.parquet: no such file"):
                next(iter(loader))
        assert len(list(loader)) == 12
    web.faults[:] = ["404"]
    with pytest.raises(ShardMissingError, match=r"samples\.parquet: no such file"):
        ShardBatches(f"{web.url}/raw", **SMALL)
    web.faults[:] = ["stall"] * 2
    Loader(f"{web.url}/raw", **SMALL, num_workers=2).close()
    assert not threads()
    with Loader(f"{web.url}/raw", **SMALL, num_workers=2) as loader:
        while web.faults:
            time.sleep(0.01)
        loader._source.opened.patience.interrupt()  # as an epoch that is left does
        assert len(list(loader)) == 12
    assert not threads()
