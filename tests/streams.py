"""What the tests of the loader share: data sets whose truth is a table, small jobs, counts of processes and files."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from make_dataset import expected_label, expected_pixels, make_dataset

from ferdata.errors import FerdataError
from ferdata.format import ShardReader, read_index
from ferdata.store import Store
from ferdata.stream import Loader

__all__ = [
    "ENVIRONMENT",
    "SPLITS",
    "Truth",
    "corrupt",
    "first_error",
    "is_running",
    "limit_seconds",
    "make_truth",
    "open_files",
    "run_script",
    "shard_of",
    "shm_bytes",
    "small_jobs",
    "wait_until",
    "worker_pids",
]

SPLITS: Mapping[str, int] = {"train": 300, "val": 50}
"""300 is no multiple of any batch or window that the tests use, so every epoch ends in a remainder."""

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)]),
}
"""For scripts that import ferdata and the tests' own modules from wherever they lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A data set and what every sample of it must be.

    Attributes:
        root: Its folder.
        pixels: uint8 ``[N, 3, S, S]`` of all splits, by number.
        labels: int64 ``[N]``.
        first: Number of each split's first sample.
    """

    root: Path
    pixels: np.ndarray
    labels: np.ndarray
    first: Mapping[str, int]

    def assert_true(self, batch: Any, *, split: str = "train") -> list[int]:
        """Check images, labels and indices of a batch against the table; return its sample indices, -1 for padding."""
        numbers = batch.indices.numpy()
        real, rows = numbers >= 0, numbers + self.first[split]
        assert np.array_equal(np.asarray(batch.images)[real], self.pixels[rows[real]])
        assert not np.asarray(batch.images)[~real].any()
        assert batch.labels.tolist() == np.where(real, self.labels[rows], -100).tolist()
        return list(numbers.tolist())


def limit_seconds() -> float:
    """Return the five seconds a fault may take, or more where the machine has more to do than it has cores."""
    return 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def make_truth(
    root: Path, *, codec: str = "zstd", size: int = 8, samples: Mapping[str, int] = SPLITS, samples_per_shard: int = 23
) -> Truth:
    """Write a data set below ``root`` and return it with its truth."""
    make_dataset(root, codec=codec, size=size, samples=samples, samples_per_shard=samples_per_shard)
    total = sum(samples.values())
    ends = np.cumsum(list(samples.values())).tolist()
    return Truth(
        root=root,
        pixels=np.stack([expected_pixels(number, size) for number in range(total)]),
        labels=np.array([expected_label(number) for number in range(total)]),
        first={split: end - count for (split, count), end in zip(samples.items(), ends, strict=True)},
    )


def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make jobs of a few samples, so that small data sets give workers as many of them as large ones do."""
    monkeypatch.setattr("ferdata.stream.pipeline.JOBS_PER_WORKER", 12)


def worker_pids() -> list[int]:
    """Return the running child processes of this process, which are workers wherever a test starts nothing else.

    Python's own helper processes of the start methods that are not fork are left out: they live as long as Python.
    """
    children = [child for child in psutil.Process().children(recursive=True) if is_running(child.pid)]
    return [child.pid for child in children if not _is_helper(child)]


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_helper(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())  # which what a fork server starts shares with it
        return "resource_tracker" in line or ("forkserver" in line and process.ppid() == os.getpid())
    except psutil.Error:  # it ended while we looked
        return True


def open_files() -> int:
    """Return the number of open file descriptors.

    What is garbage is collected first: the descriptors of earlier tests are not those of the code between two counts.
    """
    gc.collect()
    return psutil.Process().num_fds()


def shm_bytes() -> int:
    """Return the bytes of ``/dev/shm`` that this process and its children map; semaphores, a page each, left out."""
    pids = [os.getpid(), *worker_pids()]
    spans = [
        line.split()[0].split("-")
        for pid in pids
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if "/dev/shm/" in line and "/sem." not in line
    ]
    sizes = [int(stop, 16) - int(start, 16) for start, stop in spans]
    return sum(size for size in sizes if size > 4096)  # an open semaphore's file has lost its name by then


def wait_until(true: Callable[[], bool], *, seconds: float = 0.0) -> bool:
    """Return True as soon as ``true()`` is, or False when ``seconds`` and :func:`limit_seconds` are over."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > max(seconds, limit_seconds()):
            return False
        time.sleep(0.02)
    return True


def run_script(
    path: Path, text: str, *arguments: str, timeout_seconds: float = 100, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Write a script and run it as a user would; its output comes back as text."""
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        **options,
    )


def shard_of(truth: Truth, number: int = 7) -> Path:
    """Return one shard of the train split of a data set."""
    return sorted(truth.root.glob("train-*"))[number]


def corrupt(path: Path, position: int) -> None:
    """Flip one bit in the midst of a sample's stored pixels, and leave the file's times as they are."""
    store = Store(path.parent)
    index = read_index(store)
    with ShardReader(store, next(info for info in index.shards if info.name == path.name), index) as reader:
        body = bytes(reader.read_body(position))
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[data.index(body) + len(body) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=times)


def first_error(loader: Loader, *, epochs: int = 3) -> FerdataError:
    """Read until the loader raises, within the limit, and return the error, which must be of our own making."""
    start = time.monotonic()
    with pytest.raises(FerdataError) as caught:
        for _ in range(epochs):
            for _ in loader:
                pass
    assert time.monotonic() - start < limit_seconds()
    assert "Traceback" not in str(caught.value) and "DataLoader" not in str(caught.value)
    return caught.value
