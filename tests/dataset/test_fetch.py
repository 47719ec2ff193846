"""``fetch``: a set from a web server, whole and verified, however often it had to begin."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from make_dataset import make_dataset
from verbs import run_verb
from webserver import WebServer, serve

import ferdata
from ferdata.cache import PARTIAL
from ferdata.dataset import fetch as module
from ferdata.errors import OptionError


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six shards of train and one of val, some 30 kB each."""
    folder = tmp_path_factory.mktemp("origin") / "faces"
    make_dataset(folder, codec="zstd", size=32, samples={"train": 60, "val": 12}, samples_per_shard=10)
    return folder


def bytes_asked(web: WebServer) -> Counter[str]:
    """Return how many bytes of each file were asked for by range since the last call."""
    counted: Counter[str] = Counter()
    for _, path, asked in web.asked:
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            counted[path.rpartition("/")[2]] += int(last) + 1 - int(first)
    web.asked.clear()
    return counted


def test_every_byte_is_fetched_once_and_the_folder_is_the_set(tmp_path: Path, origin: Path) -> None:
    """What was there before is verified and costs no request; what is damaged there is fetched again."""
    index = ferdata.read_index(origin)
    sizes = Counter({info.name: info.num_bytes for info in (*index.files, *index.shards)})
    told: list[tuple[int, int]] = []
    with serve(origin.parent) as web:
        report = ferdata.fetch(f"{web.url}/faces", tmp_path, progress=lambda *counted: told.append(counted))
        assert bytes_asked(web) == sizes
        assert ferdata.verify(report.folder, deep=True).ok
        assert (report.samples, report.num_bytes, report.is_whole) == (72, sizes.total(), True)
        assert told[-1] == (sizes.total() // 10**6,) * 2

        again = ferdata.fetch(f"{web.url}/faces", tmp_path)
        assert (again.folder, again.fetched_bytes) == (report.folder, 0)
        assert not bytes_asked(web)

        name = index.shards[2].name
        shard = Path(report.folder) / name
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 4
        shard.write_bytes(data)
        assert ferdata.fetch(f"{web.url}/faces", tmp_path).is_whole
        assert bytes_asked(web) == Counter({name: sizes[name]})
    assert shard.read_bytes() == (origin / name).read_bytes()


def test_one_split_is_fetched_and_the_rest_later(tmp_path: Path, origin: Path) -> None:
    """Whoever only evaluates needs a tenth of the bytes; the folder is no data set that lacks shards."""
    report = ferdata.fetch(origin, tmp_path, split="val")

    assert not report.is_whole
    assert not (Path(report.folder) / "index.json").exists()
    assert report.samples == 12
    rest = ferdata.fetch(origin, tmp_path)
    assert rest.is_whole
    assert rest.fetched_bytes == rest.num_bytes - report.num_bytes
    with pytest.raises(OptionError, match="split: 'test' found, expected one of train, val"):
        ferdata.fetch(origin, tmp_path, split="test")


def test_a_fetch_that_was_killed_goes_on(tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of downloading are not begun again."""
    monkeypatch.setattr(module, "PIECE_BYTES", 2000)
    monkeypatch.setattr(module, "CONNECTIONS", 2)
    if (child := os.fork()) == 0:
        plain = ferdata.store.Store.read_range

        def slowly(*args: object, **options: object) -> bytes:
            time.sleep(0.01)
            return plain(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(ferdata.store.Store, "read_range", slowly)
        try:
            ferdata.fetch(origin, tmp_path)
        finally:
            os._exit(0)
    while not any(path.stat().st_size for path in tmp_path.rglob(f"*.tar.zst{PARTIAL}")):
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    report = ferdata.fetch(origin, tmp_path)

    assert ferdata.verify(report.folder, deep=True).ok
    assert 0 < report.fetched_bytes < report.num_bytes


def test_what_will_not_fit_is_said_before_it_is_fetched(tmp_path: Path, origin: Path) -> None:
    """Not after an hour."""
    with pytest.raises(OptionError, match="cache_gb: 1e-05 found, expected at least 0"):
        ferdata.fetch(origin, tmp_path, cache_gb=1e-5)


def test_the_verb_says_where_the_set_is(tmp_path: Path, origin: Path) -> None:
    """It is what the next command needs."""
    said = run_verb("fetch", origin, tmp_path / "cache", "--split", "val")

    assert f"{tmp_path / 'cache'}/faces-" in said
    assert "2 shards of val, 12 samples" in said
    assert f"read it with --shards {origin} --cache {tmp_path / 'cache'}" in said
