"""Many shards: each is opened once, few hold a descriptor, one that was put aside is the same when it is read again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from make_dataset import CODECS, expected_pixels, make_dataset
from streams import ENVIRONMENT
from webserver import serve

from ferdata.errors import ShardCorruptError
from ferdata.stream.sets import open_split
from ferdata.stream.workers.worker import ShardPool

SIZE, PER_SHARD = 16, 5


def pool_of(root: str, max_open: int = 2) -> ShardPool:
    return ShardPool(open_split(root, "train"), max_open=max_open)


def check(pool: ShardPool, samples: np.ndarray) -> None:
    """Read samples in any order and compare them with what they must be."""
    out = np.zeros((len(samples), 3 * SIZE * SIZE), np.uint8)
    order = np.argsort(samples)
    pool.read_rows(samples[order], out, order, verify=True)
    for row, number in zip(out, samples.tolist(), strict=True):
        assert np.array_equal(row.reshape(3, SIZE, SIZE), expected_pixels(number, SIZE))


@pytest.mark.parametrize("codec", CODECS)
def test_a_shard_is_opened_once_however_many_there_are(tmp_path: Path, codec: str) -> None:
    """Opening reads and checks tables, and maps pages that were mapped before, and AffectNet has 355 shards."""
    make_dataset(tmp_path, codec=codec, size=SIZE, samples={"train": 60}, samples_per_shard=PER_SHARD)
    pool = pool_of(str(tmp_path))
    readers = [pool.shard(number) for number in range(12)]

    for turn in range(3):
        check(pool, np.random.default_rng(turn).permutation(60))
        assert [pool.shard(number) for number in range(12)] == readers
    pool.close()


def test_shards_that_are_not_in_use_hold_no_descriptor_of_ours(tmp_path: Path) -> None:
    """Descriptors are few, and Python before 3.13 would keep one for each mapping."""
    make_dataset(tmp_path, codec="raw", size=SIZE, samples={"train": 60}, samples_per_shard=PER_SHARD)
    before = psutil.Process().num_fds()
    pool = pool_of(str(tmp_path))
    check(pool, np.arange(60))

    assert psutil.Process().num_fds() - before <= 2
    pool.close()
    del pool
    assert psutil.Process().num_fds() == before


SCRIPT = """
import resource, sys
import numpy as np
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
from test_shard_pool import check
from ferdata.stream.sets import open_split
from ferdata.stream.workers.worker import ShardPool
pool = ShardPool(open_split(sys.argv[1], "train"))
for turn in range(2):
    check(pool, np.random.default_rng(turn).permutation(200))
print("read")
"""


def test_more_shards_than_a_process_may_open_are_read(tmp_path: Path) -> None:
    """Many systems allow 1,024 files, and a data set is not bound by that."""
    make_dataset(tmp_path / "set", codec="zstd", size=SIZE, samples={"train": 200}, samples_per_shard=1)

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "set")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.stdout == "read\n", done.stderr


THREADS = """
import resource, sys
import ferdata
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
with ferdata.Loader(sys.argv[1], batch_size=20, num_workers=4, workers="thread") as loader:
    print(*[len(images) for _ in range(2) for images, _ in loader])
"""


def test_threads_share_what_their_process_may_open(tmp_path: Path) -> None:
    """Each has the shards open that it reads from, and AffectNet has 355."""
    make_dataset(tmp_path / "set", codec="raw", size=SIZE, samples={"train": 200}, samples_per_shard=1)

    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(tmp_path / "set")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.stdout.split() == ["20"] * 20, done.stderr


def test_a_shard_that_was_replaced_while_it_was_put_aside_is_opened_anew(tmp_path: Path) -> None:
    """Folders may be swapped while they are read; what stands there then is read only if it is the same shard."""
    make_dataset(tmp_path / "set", codec="raw", size=SIZE, samples={"train": 60}, samples_per_shard=PER_SHARD)
    pool = pool_of(str(tmp_path / "set"))
    check(pool, np.arange(60))
    first = pool.shard(0)
    pool.shard(5), pool.shard(6)
    copy = tmp_path / "copy"
    shutil.copy(tmp_path / "set/train-000000.tar", copy)
    os.replace(copy, tmp_path / "set/train-000000.tar")
    check(pool, np.arange(5))
    assert pool.shard(0) is not first

    pool.shard(5), pool.shard(6)
    shutil.copy(tmp_path / "set/train-000001.tar", copy)
    os.replace(copy, tmp_path / "set/train-000000.tar")
    with pytest.raises(ShardCorruptError, match=r"train-000000\.tar: its table is not the one"):
        check(pool, np.arange(5))
    pool.close()


def test_a_shard_that_was_changed_while_it_was_put_aside_is_refused(tmp_path: Path) -> None:
    """It is looked at when it is read again as if it had been open all the time."""
    make_dataset(tmp_path, codec="raw", size=SIZE, samples={"train": 60}, samples_per_shard=PER_SHARD)
    pool = pool_of(str(tmp_path))
    check(pool, np.arange(60))
    with (tmp_path / "train-000000.tar").open("r+b") as file:
        file.truncate(2000)

    with pytest.raises(ShardCorruptError, match=r"train-000000\.tar: the file was changed"):
        check(pool, np.arange(5))
    pool.close()


def test_shards_behind_a_url_are_asked_for_their_tables_once(tmp_path: Path) -> None:
    """Each opening was a HEAD and a GET or two before the first sample, again and again."""
    make_dataset(tmp_path / "set", codec="zstd", size=SIZE, samples={"train": 60}, samples_per_shard=PER_SHARD)
    with serve(tmp_path) as web:
        pool = pool_of(f"{web.url}/set")
        check(pool, np.arange(60))
        web.of_shards()
        check(pool, np.arange(60))

        asked = web.of_shards()
        assert len(asked) == 12 and {method for method, *_ in asked} == {"GET"}
        reader = pool.shard(0)
        sample = reader.read(3)
        assert np.array_equal(sample.pixels, expected_pixels(3, SIZE))
        assert len(web.of_shards()) == 1
        pool.close()
