"""Loaders of data sets behind a URL: what is fetched ahead, how often, and that batches are those of a local folder."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import make_dataset
from webserver import WebServer, serve

from ferdata.stream import Loader

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
