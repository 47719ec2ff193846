"""A loader with a cache: what was fetched once is not asked for again, by anybody on the machine, and stays right."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import expected_pixels, make_dataset
from webserver import WebServer, serve

from ferdata.cache import PARTIAL, use_cache
from ferdata.errors import StoreError
from ferdata.format.kernels.native import load
from ferdata.stream import Loader, ShardBatches, ShardDataset
from ferdata.stream.fetch.fetcher import Fetcher
from ferdata.stream.fetch.memory import piece_memory
from ferdata.stream.order.windows import Window
from ferdata.stream.sets import open_split

SIZE, SAMPLES = 24, 100


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of five shards of each codec, some 35 kB each."""
    folder = tmp_path_factory.mktemp("origin")
    samples = {"train": SAMPLES, "val": 12}
    for codec in ("raw", "zstd", "compact"):
        make_dataset(folder / codec, codec=codec, size=SIZE, samples=samples, samples_per_shard=20)
    return folder


@pytest.fixture
def web(origin: Path) -> Iterator[WebServer]:
    """A server of it."""
    with serve(origin) as server:
        yield server


def epoch(loader: Loader) -> list[int]:
    """Read an epoch, check every pixel, and return the indices in their order."""
    seen: list[int] = []
    for batch in loader:
        for image, number in zip(batch.images.numpy(), batch.indices.tolist(), strict=True):
            assert np.array_equal(image, expected_pixels(number, SIZE))
            seen.append(number)
    return seen


def options(cache: Path, **more: Any) -> dict[str, Any]:
    return {"batch_size": 10, "fields": ("images", "indices"), "cache": cache, "seed": 5, "drop_last": False} | more


@pytest.mark.parametrize(
    ("codec", "workers"),
    [
        ("raw", {"num_workers": 0}),
        ("zstd", {"num_workers": 2, "workers": "thread"}),
        ("compact", {"num_workers": 2}),
    ],
)
def test_the_second_epoch_makes_no_request(
    tmp_path: Path, origin: Path, web: WebServer, codec: str, workers: dict[str, Any]
) -> None:
    """Whoever rents a machine pays for the bucket once."""
    with Loader(origin / codec, **options(tmp_path), **workers) as loader:
        expected = [epoch(loader) for _ in range(3)]
    with Loader(f"{web.url}/{codec}", **options(tmp_path), **workers) as loader:
        orders = [epoch(loader)]
        assert web.of_shards()
        orders += [epoch(loader) for _ in range(2)]
        assert not web.asked
    assert orders == expected
    with Loader(f"{web.url}/{codec}", **options(tmp_path), **workers) as loader:
        assert epoch(loader) == expected[0]
    assert [path for _, path, _ in web.asked] == [f"/{codec}/index.json"]


@pytest.mark.skipif(load() is None, reason="files are mapped for the kernels alone")
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="no list of mappings here")
def test_a_shard_that_is_whole_is_read_on_through_the_mapping_it_came_with(
    tmp_path: Path, origin: Path, web: WebServer
) -> None:
    """Another mapping of it would cost as many page faults again."""
    with Loader(f"{web.url}/raw", **options(tmp_path), num_workers=1, workers="thread") as loader:
        for _ in range(2):
            epoch(loader)
        lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = Counter(line.rpartition("/")[2] for line in lines if str(tmp_path) in line and ".tar" in line)

    assert mapped == {path.name: 1 for path in (origin / "raw").glob("train-*")}


def bytes_asked(web: WebServer) -> Counter[str]:
    """Return how many bytes of each shard were asked for since the last call."""
    counted: Counter[str] = Counter()
    for _, path, asked in web.of_shards():
        first, last = asked.removeprefix("bytes=").split("-")
        counted[path] += int(last) + 1 - int(first)
    return counted


def read_rank(url: str, cache: Path, rank: int, start: Any) -> None:
    start.wait()
    with Loader(url, **options(cache), num_workers=1, rank=rank, world_size=2) as loader:
        epoch(loader)
        epoch(loader)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no locks that two share")
def test_two_ranks_fetch_each_byte_once(tmp_path: Path, origin: Path, web: WebServer) -> None:
    """Eight ranks of one machine are not to ask a bucket for eight times the data."""
    methods = multiprocessing.get_context("fork")
    start = methods.Event()
    ranks = [methods.Process(target=read_rank, args=(f"{web.url}/compact", tmp_path, rank, start)) for rank in range(2)]
    [rank.start() for rank in ranks]
    start.set()
    [rank.join(60) for rank in ranks]

    assert [rank.exitcode for rank in ranks] == [0, 0]
    shards = sorted((origin / "compact").glob("train-*"))
    assert bytes_asked(web) == {f"/compact/{shard.name}": shard.stat().st_size for shard in shards}


@pytest.mark.parametrize("codec", ["raw", "compact"])
@pytest.mark.parametrize("name", ["", PARTIAL])
def test_damage_in_the_cache_is_repaired(tmp_path: Path, origin: Path, web: WebServer, codec: str, name: str) -> None:
    """A disk that loses a bit costs a request, not a run."""
    first = {"indices": range(0, 60)} if name else {}  # of the fourth shard and the fifth, nothing
    with Loader(f"{web.url}/{codec}", **options(tmp_path, **first), num_workers=0) as loader:
        epoch(loader)
    shard = next(tmp_path.glob(f"{codec}-*/train-000001.tar*"))
    if name:
        shard = shard.rename(f"{shard}{PARTIAL}")
    data = bytearray(shard.read_bytes())
    for place in range(3000, len(data) - 3000, 1000):
        data[place] ^= 16
    shard.write_bytes(data)
    web.asked.clear()
    with Loader(f"{web.url}/{codec}", **options(tmp_path, **first), num_workers=1) as loader:
        epoch(loader)
        assert web.of_shards()
        epoch(loader)
    assert not web.of_shards()
    assert (
        next(tmp_path.glob(f"{codec}-*/train-000001.tar*")).read_bytes()
        == (origin / codec / shard.name.removesuffix(PARTIAL)).read_bytes()
    )


def test_only_shards_that_are_not_whole_in_the_cache_are_fetched(tmp_path: Path, origin: Path, web: WebServer) -> None:
    """One that is missing does not keep others from being read as local ones; one that is damaged there is fetched."""
    cached = [*range(20, 40), *range(60, 80)]  # the second shard and the fourth
    with Loader(f"{web.url}/raw", **options(tmp_path, indices=cached), num_workers=0) as loader:
        epoch(loader)
    opened = open_split([origin / "raw", f"{web.url}/raw"], "train", cache=tmp_path)
    numbers = np.arange(2 * SAMPLES)
    mixed = np.random.default_rng(0).permutation(numbers)
    *three, last = (Window(first_batch=batch, samples=mixed, num_batches=20) for batch in (0, 20, 40, 60))
    fetcher = Fetcher(opened, piece_memory(opened, len(mixed)), leaves_whole=True)

    fetcher.begin(0)
    windows = fetcher.follow(iter([*three, last]))
    # the next two are looked at with the first, the last when all that the first asked for is there
    for window, whole in (*((one, cached) for one in three), (last, [*range(20), *range(40, SAMPLES)])):
        assert next(windows) is window
        order, parts = fetcher.parts(window, numbers)
        near, kept, fetched = (order[start:stop].tolist() for _, start, stop in parts)
        assert [is_fetched for is_fetched, _, _ in parts] == [False, False, True]
        assert near == [*range(SAMPLES)]
        assert kept == [SAMPLES + number for number in whole]
        assert fetched == sorted({*range(SAMPLES, 2 * SAMPLES)}.difference(kept))
        fetcher.release(fetcher.wait_for(window, np.array(fetched)))
        if window is three[0]:
            assert fetcher.fetch_after_all(window, np.array(near[-3:])) is None
            alone = fetcher.fetch_after_all(window, np.array(kept[:7]))
            assert alone is not None
            fetcher.release(fetcher.wait_for(alone, alone.samples))
    assert next(windows, None) is None
    assert not fetcher._windows  # nor is anything kept of what was read
    fetcher.close()


@pytest.mark.parametrize("left", [5000, 0])
def test_a_file_that_is_cut_is_repaired(left: int, tmp_path: Path, origin: Path, web: WebServer) -> None:
    """Pages that are gone read as zeros, which are pixels too; later epochs verify only some."""
    with Loader(f"{web.url}/raw", **options(tmp_path), num_workers=1) as loader:
        epoch(loader)
        shard = next(tmp_path.glob("raw-*/train-000002.tar"))
        os.truncate(shard, left)
        epoch(loader)
    assert shard.read_bytes() == (origin / "raw" / shard.name).read_bytes()


def test_a_bit_that_flips_on_the_way_is_counted_and_not_kept(tmp_path: Path, origin: Path, web: WebServer) -> None:
    """Wherever it is: in pixels, in a table, or in a head, which no loader reads."""
    web.faults[:] = ["flip"]
    with Loader(f"{web.url}/compact", **options(tmp_path), num_workers=1) as loader:
        epoch(loader)
        assert loader.metrics().remote.refetched >= 1
        assert not web.faults
        web.asked.clear()
        epoch(loader)
    assert not web.asked
    for shard in tmp_path.glob("compact-*/train-*"):
        assert shard.read_bytes() == (origin / "compact" / shard.name).read_bytes()


def test_what_does_not_fit_is_fetched_every_time_and_the_rest_is_kept(
    tmp_path: Path, origin: Path, web: WebServer
) -> None:
    """A cache of half the set saves half of the requests, in every epoch."""
    sizes = [path.stat().st_size for path in (origin / "raw").glob("train-*")]
    most = (3 * max(sizes) + 20_000) / 1e9
    with Loader(f"{web.url}/raw", **options(tmp_path, cache_gb=most), num_workers=1) as loader:
        with pytest.warns(UserWarning, match="the cache is full"):
            epoch(loader)
        asked = []
        for _ in range(2):
            web.asked.clear()
            epoch(loader)
            asked.append({path for _, path, _ in web.of_shards()})
    assert 1 < len(asked[0]) < len(sizes)
    assert asked[0] == asked[1]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= most * 1e9


def test_another_data_set_at_the_same_address_is_not_mixed_with_the_old_one(tmp_path: Path) -> None:
    """Half of each would pass every checksum of a sample."""
    with serve(tmp_path) as web:
        for samples in (40, 60):
            make_dataset(tmp_path / "set", codec="raw", size=SIZE, samples={"train": samples}, samples_per_shard=20)
            with Loader(f"{web.url}/set", **options(tmp_path / "cache"), num_workers=0) as loader:
                assert sorted(epoch(loader)) == [*range(samples)]
    assert len([*(tmp_path / "cache").glob("set-*")]) == 2


def test_every_reader_takes_a_cache(tmp_path: Path, origin: Path, web: WebServer) -> None:
    """Map-style data sets and DataLoaders too, records, and what is loaded into memory."""
    url, kept = f"{web.url}/compact", {"cache": tmp_path}
    data = ShardDataset(url, **kept)
    assert [np.array_equal(data[number][0].numpy(), expected_pixels(number, SIZE)) for number in (3, 77)] == [True] * 2
    batches = ShardBatches(url, batch_size=10, fields=("images", "indices"), drop_last=False, **kept)
    for batch in batches:
        assert np.array_equal(batch.images[0].numpy(), expected_pixels(int(batch.indices[0]), SIZE))
    with Loader(url, **options(tmp_path), num_workers=1, resident=True) as loader:
        epoch(loader)
    web.asked.clear()
    with Loader(url, **options(tmp_path, fields=("images", "indices", "records")), num_workers=1) as loader:
        epoch(loader)
    assert not web.of_shards()
    assert len({path.name for path in tmp_path.glob("compact-*/train-*.tar.zst")}) == 5


@pytest.mark.filterwarnings("ignore:.*this server sends whole files")
def test_a_server_without_ranges_sends_each_shard_once(tmp_path: Path, origin: Path, web: WebServer) -> None:
    """Its whole shards are what a cache wants."""
    web.ranges = False
    with Loader(f"{web.url}/raw", **options(tmp_path), num_workers=2) as loader:
        epoch(loader)
        asked = Counter(path for _, path, _ in web.of_shards())
        epoch(loader)
    assert not web.of_shards()
    assert asked == {f"/raw/train-{number:06d}.tar": 1 for number in range(5)}


def test_loaders_keep_what_they_read_where_their_process_was_told(tmp_path: Path, web: WebServer) -> None:
    """A verb has one --cache and many loaders."""
    asked = options(tmp_path)
    del asked["cache"]
    try:
        use_cache(tmp_path)
        for _ in range(2):
            web.asked.clear()
            with Loader(f"{web.url}/zstd", num_workers=0, **asked) as loader:
                epoch(loader)
    finally:
        use_cache(None)
    assert not web.of_shards()


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, web: WebServer) -> None:
    """Before anything is fetched but the index."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="in it, expected a folder to write to; choose another cache"):
        Loader(f"{web.url}/raw", **options(tmp_path / "file"))
