"""Processes that fill a cache at once and are killed at any moment: never a wrong byte, and the rest goes on."""

import contextlib
import os
import random
import shutil
import signal
import time
import traceback
from pathlib import Path

import pytest
from make_dataset import make_dataset

from ferdata.cache import PARTIAL, CachedSet, open_cached_set
from ferdata.dataset.verify import verify
from ferdata.store import Store

MOMENTS, PROCESSES = 30, 3

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed by POSIX signals")


def fill(cache: Path, origin: Path, seed: int) -> int:
    """Start a process that asks for ranges of a set in an order of its own until all is there; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        draw, cached = random.Random(seed), open_cached_set(cache, Store(origin))
        ranges = [
            (number, start, min(cached.num_bytes(number), start + 3000))
            for number in range(cached.num_files)
            for start in range(0, cached.num_bytes(number), 3000)
        ]
        draw.shuffle(ranges)
        for number, start, stop in ranges:
            assert cached.ensure(number, start, stop)
            time.sleep(0.0002)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def check_bytes(cached: CachedSet, origin: Path) -> None:
    """See that whatever the cache says it holds is what the origin has."""
    for number in range(cached.num_files):
        expected = (origin / cached.info(number).name).read_bytes()
        for start in range(0, len(expected), 1000):
            stop = min(len(expected), start + 1000)
            if cached.holds(number, start, stop):
                assert stored(cached, number)[start:stop] == expected[start:stop]


def stored(cached: CachedSet, number: int) -> bytes:
    """Return what is stored of a file, which others may complete at any moment."""
    try:
        return Path(cached.path(number) + PARTIAL).read_bytes()
    except FileNotFoundError:
        return Path(cached.path(number)).read_bytes()


def test_thirty_kills_leave_no_wrong_byte(tmp_path: Path) -> None:
    """A preempted machine, an out-of-memory killer, an impatient person."""
    origin, draw = tmp_path / "faces", random.Random(11)
    make_dataset(origin, codec="raw", size=24, samples={"train": 120}, samples_per_shard=12)
    children = [fill(tmp_path / "cache", origin, seed) for seed in range(PROCESSES)]
    try:
        for moment in range(MOMENTS):
            time.sleep(draw.uniform(0.001, 0.08))
            victim = draw.randrange(PROCESSES)
            os.kill(children[victim], signal.SIGKILL)
            os.waitpid(children[victim], 0)
            cached = open_cached_set(tmp_path / "cache", Store(origin))
            check_bytes(cached, origin)
            if cached.finish() and moment % 2:
                shutil.rmtree(cached.folder, ignore_errors=True)  # and from the start, under the others' hands
            children[victim] = fill(tmp_path / "cache", origin, PROCESSES + moment)
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        children.clear()
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    cached = open_cached_set(tmp_path / "cache", Store(origin))
    assert all(cached.fetch_whole(number) for number in range(cached.num_files))

    assert verify(cached.folder, deep=True).ok
