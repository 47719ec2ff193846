"""A cached set: each byte is fetched once, what is damaged is fetched again, and what has no room is not kept."""

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from make_dataset import make_dataset

from ferdata import lock
from ferdata.cache import PARTIAL, CachedSet, cache_options, claims, open_cached_set, use_cache
from ferdata.dataset.verify import verify
from ferdata.errors import OptionError, ShardCorruptError, StoreError
from ferdata.format import INDEX_NAME, read_index
from ferdata.store import Store

SHARD = "train-000000.tar"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of three shards of train and one of val."""
    folder = tmp_path_factory.mktemp("origin") / "faces"
    make_dataset(folder, codec="raw", size=16, samples={"train": 60, "val": 12}, samples_per_shard=20)
    return folder


class Line:
    """The way to an origin, which counts what is asked for, and flips bits if it is told to."""

    def __init__(self, origin: Path) -> None:
        self.store, self.asked, self.flips = Store(origin), list[tuple[str, int, int, bool]](), 0

    def __call__(self, name: str, start: int, stop: int, is_fresh: bool) -> bytes:
        self.asked.append((name, start, stop, is_fresh))
        data = bytearray(self.store.read_range(name, start, stop))
        if self.flips:
            self.flips -= 1
            data[len(data) // 2] ^= 1
        return bytes(data)

    def num_bytes(self) -> Counter[str]:
        """Return how many bytes of each file were asked for."""
        counted: Counter[str] = Counter()
        for name, start, stop, _ in self.asked:
            counted[name] += stop - start
        return counted


def fetch_all(cached: CachedSet, line: Line) -> None:
    for number in range(cached.num_files):
        assert cached.fetch_whole(number, line, step=4096)


def test_a_full_cache_is_a_data_set(tmp_path: Path, origin: Path) -> None:
    """Whoever copies the folder to another machine has the set; what is not complete does not look like one."""
    cached = open_cached_set(tmp_path, Store(origin))
    line = Line(origin)

    assert cached.fetch_whole(0, line)
    assert not os.path.exists(cached.path(0).replace("samples.parquet", INDEX_NAME))
    fetch_all(cached, line)

    assert read_index(cached.folder) == read_index(origin)
    assert verify(cached.folder, deep=True).ok
    assert line.num_bytes() == {info.name: info.num_bytes for info in (*cached.index.files, *cached.index.shards)}
    again = open_cached_set(tmp_path, Store(origin))
    assert all(again.ensure(number, 0, 10, line) for number in range(again.num_files))
    assert sum(line.num_bytes().values()) == cached.counts.fetched_bytes


def test_threads_of_two_readers_fetch_each_byte_once(tmp_path: Path, origin: Path) -> None:
    """Neighbouring requests overlap, and two trainings on one machine ask for the same bytes."""
    sets = [open_cached_set(tmp_path, Store(origin)) for _ in range(2)]
    line = Line(origin)

    def read(seed: int) -> None:
        draw, cached = random.Random(seed), sets[seed % 2]
        for _ in range(40):
            number = draw.randrange(cached.num_files)
            num_bytes = cached.num_bytes(number)
            start = draw.randrange(num_bytes)
            stop = min(num_bytes, start + draw.randrange(1, 9000))
            assert cached.ensure(number, start, stop, line)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    fetch_all(sets[0], line)

    assert line.num_bytes() == {name: os.path.getsize(origin / name) for name in line.num_bytes()}
    assert verify(sets[1].folder, deep=True).ok


def test_another_index_is_another_set(tmp_path: Path, origin: Path) -> None:
    """Half of an old set and half of its successor would pass every checksum of samples."""
    make_dataset(tmp_path / "faces", codec="raw", size=16, samples={"train": 40}, samples_per_shard=20)
    first = open_cached_set(tmp_path / "cache", Store(tmp_path / "faces"))
    first.fetch_whole(first.number(SHARD))
    make_dataset(tmp_path / "faces", codec="raw", size=16, samples={"train": 60}, samples_per_shard=20)
    second = open_cached_set(tmp_path / "cache", Store(tmp_path / "faces"))

    assert first.folder != second.folder
    assert not second.holds(second.number(SHARD), 0, 1)


@pytest.mark.parametrize("when", ["partial", "whole"])
def test_damage_is_fetched_again(tmp_path: Path, origin: Path, when: str) -> None:
    """A cache lies on a disk that nobody backs up."""
    cached, line = open_cached_set(tmp_path, Store(origin)), Line(origin)
    number = cached.number(SHARD)
    if when == "whole":
        cached.fetch_whole(number, line)
    cached.ensure(number, 2000, 3000, line)
    path = Path(cached.path(number) + ("" if when == "whole" else PARTIAL))
    data = bytearray(path.read_bytes())
    data[2500] ^= 1
    path.write_bytes(data)

    assert cached.repair(number, 2000, 3000, line, seen=path.stat())
    cached.fetch_whole(number, line)

    assert Path(cached.path(number)).read_bytes() == (origin / SHARD).read_bytes()
    assert cached.counts.repaired == 1


def test_a_bit_that_flips_on_the_way_is_found_before_a_shard_gets_its_name(tmp_path: Path, origin: Path) -> None:
    """Heads have no reader that would notice; the whole file's XXH64 does."""
    cached, line = open_cached_set(tmp_path, Store(origin)), Line(origin)
    number, line.flips = cached.number(SHARD), 1

    assert cached.fetch_whole(number, line, step=8192)

    assert Path(cached.path(number)).read_bytes() == (origin / SHARD).read_bytes()
    assert any(is_fresh for *_, is_fresh in line.asked)


def test_an_origin_that_is_damaged_is_named(tmp_path: Path, origin: Path) -> None:
    """Fetching it for ever would help nobody; its samples can still be read, each by its own checksum."""
    cached, line = open_cached_set(tmp_path, Store(origin)), Line(origin)
    number, line.flips = cached.number(SHARD), 1 << 30

    with pytest.raises(ShardCorruptError, match=f"{SHARD}: fetched twice, and its XXH64 was not"):
        cached.fetch_whole(number, line)

    assert cached.ensure(number, 0, cached.num_bytes(number), line)
    assert not cached.is_whole(number)


def test_what_was_cut_or_torn_is_not_believed(tmp_path: Path, origin: Path) -> None:
    """A machine that loses power leaves anything."""
    cached, line = open_cached_set(tmp_path, Store(origin)), Line(origin)
    number = cached.number(SHARD)
    cached.ensure(number, 0, 4096, line)
    cached.ensure(number, 8192, 9000, line)
    partial = Path(cached.path(number) + PARTIAL)
    data = bytearray(partial.read_bytes())
    data[-30] ^= 1  # in the second record
    partial.write_bytes(data[:-1])
    again = open_cached_set(tmp_path, Store(origin))

    assert again.holds(number, 0, 4096)
    assert not again.holds(number, 8192, 9000)
    again.fetch_whole(number, line)
    whole = Path(again.path(number))
    whole.write_bytes(whole.read_bytes()[:-5])
    last = open_cached_set(tmp_path, Store(origin))
    assert not last.holds(number, 0, 1)
    assert last.fetch_whole(number, line)
    assert whole.read_bytes() == (origin / SHARD).read_bytes()


def test_a_kill_between_cut_and_name_loses_nothing(tmp_path: Path, origin: Path) -> None:
    """The last step of a shard is three calls, between each of which a machine may stop."""
    cached, line = open_cached_set(tmp_path, Store(origin)), Line(origin)
    number = cached.number(SHARD)
    cached.fetch_whole(number, line)
    os.rename(cached.path(number), cached.path(number) + PARTIAL)
    line.asked.clear()
    again = open_cached_set(tmp_path, Store(origin))

    assert again.ensure(number, 0, 100, line)
    assert again.is_whole(number)
    assert not line.asked


def test_the_bound_holds_and_what_fits_stays(tmp_path: Path, origin: Path) -> None:
    """A cyclic scan under strict LRU would drop each shard just before it is needed again."""
    index = read_index(origin)
    most = 2 * max(info.num_bytes for info in index.shards) + sum(info.num_bytes for info in index.files) + 5000
    cached = open_cached_set(tmp_path, Store(origin), max_bytes=most)
    cached.use(cached.numbers())
    line = Line(origin)
    with pytest.warns(UserWarning, match=f"the cache is full, {most:,} bytes"):
        kept = [cached.fetch_whole(number, line) for number in range(cached.num_files)]
    line.asked.clear()

    assert 1 < sum(kept) < len(kept)
    assert kept == [cached.ensure(number, 0, 50, line) for number in range(cached.num_files)]
    assert not line.asked
    assert sum(each.stat().st_size for each in tmp_path.rglob("*") if each.is_file()) <= most


def test_what_nobody_uses_goes_first(tmp_path: Path, origin: Path) -> None:
    """A cache that is full of last month's set must take in this month's; one in use stays as it is."""
    make_dataset(tmp_path / "other", codec="raw", size=16, samples={"train": 40}, samples_per_shard=20)
    used, old = (open_cached_set(tmp_path / "cache", Store(origin)) for _ in range(2))
    del old
    used.fetch_whole(used.number(SHARD))
    used.use(used.numbers())
    most = used.num_bytes(used.number(SHARD)) + 30_000
    other = open_cached_set(tmp_path / "cache", Store(tmp_path / "other"), max_bytes=most)
    with pytest.warns(UserWarning, match="full"):
        assert not other.fetch_whole(other.number(SHARD))
    assert used.holds(used.number(SHARD), 0, 1)

    used.close()
    other = open_cached_set(tmp_path / "cache", Store(tmp_path / "other"), max_bytes=most)
    assert other.fetch_whole(other.number(SHARD))
    assert not os.path.exists(used.path(used.number(SHARD)))


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path, origin: Path) -> None:
    """A cache may be baked into an image; one that holds nothing and takes nothing is a mistake."""
    cached = open_cached_set(tmp_path / "cache", Store(origin))
    cached.fetch_whole(cached.number(SHARD))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="expected a folder to write to; choose another cache"):
        open_cached_set(tmp_path / "file", Store(origin))

    os.unlink(os.path.join(cached.folder, ".claims"))
    os.mkdir(os.path.join(cached.folder, ".claims"))  # root may write anywhere, but not to a folder
    with pytest.warns(UserWarning, match="what is in this cache is read, and nothing is added"):
        fixed = open_cached_set(tmp_path / "cache", Store(origin))
    assert fixed.ensure(fixed.number(SHARD), 0, 10)
    assert not fixed.ensure(0, 0, 10)


def test_without_locks_that_processes_share_one_fills_and_others_read(
    tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has none; the loaders of one process, of train and val, share what it has."""
    monkeypatch.setattr(claims, "fcntl", None)
    monkeypatch.setattr(lock, "_WAIT_SECONDS", 0.1)
    first, second = (open_cached_set(tmp_path, Store(origin)) for _ in range(2))
    assert first.fetch_whole(first.number(SHARD))
    assert second.fetch_whole(0)
    if (child := os.fork()) == 0:
        status = 1
        try:
            with pytest.warns(UserWarning, match="another process writes there"):
                other = open_cached_set(tmp_path, Store(origin))
            status = int(not other.ensure(other.number(SHARD), 0, 10) or other.ensure(1, 0, 10))
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_full_disk_ends_keeping_and_nothing_else(
    tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch must not end because a cache, which only makes it faster, has no room."""
    cached, line = open_cached_set(tmp_path, Store(origin)), Line(origin)

    def allocate(descriptor: int, start: int, num_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.warns(UserWarning, match="No space left on device, expected room"):
        assert not cached.ensure(cached.number(SHARD), 0, 100, line)
    assert not cached.ensure(cached.number(SHARD), 200, 300, line)
    assert not line.asked


def test_a_limit_is_a_number_above_zero(tmp_path: Path) -> None:
    """0 would be read as none or as no limit."""
    assert cache_options(tmp_path, None) == (tmp_path, None)
    assert cache_options(tmp_path, 1.5) == (tmp_path, 1_500_000_000)
    with pytest.raises(OptionError, match="cache_gb: 0 found"):
        cache_options(tmp_path, 0)
    with pytest.raises(OptionError, match="cache_gb: 3 found without a cache"):
        use_cache(None, 3)


def test_what_a_process_is_told_is_for_those_who_are_told_nothing(tmp_path: Path) -> None:
    """A verb has many loaders, and one --cache."""
    try:
        use_cache(tmp_path, 2)
        assert cache_options(None, None) == (tmp_path, 2 * 10**9)
        assert cache_options(tmp_path / "own", None) == (tmp_path / "own", None)
    finally:
        use_cache(None)
    assert cache_options(None, None) == (None, None)
