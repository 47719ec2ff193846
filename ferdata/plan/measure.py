"""What this machine can do, measured in seconds: decoding to shared memory, the loader's work, the disk, memory, a GPU.

In: sample sets and a folder. Out: rates. Processes are forked, so no threads may have been started; torch comes last.
"""

import contextlib
import mmap
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.format import DatasetIndex, ShardReader
from ferdata.parallel import usable_cores
from ferdata.plan.ceilings import Job, Team, drop_from_cache, read_job
from ferdata.plan.timing import now
from ferdata.plan.trial_sets import SampleSet
from ferdata.store import Store
from ferdata.stream.memory.ring import HELD_BATCHES
from ferdata.stream.order.sequence import LEAST_WINDOW_SAMPLES, default_window, run_within
from ferdata.stream.pipeline import choose_sizes

__all__ = [
    "decode_rate",
    "describe_gpu",
    "disk_rate",
    "loader_overhead",
    "make_ring",
    "nearest_folder",
    "ring_bytes",
]

BATCH_SIZE = 128
JOB_BYTES = 10 << 20
WINDOWS = 5
MAX_RING_BYTES = 384 << 20
DISK_BYTES = 512 << 20
DISK_SECONDS = 2.0
RANGE_BYTES = 4 << 20
GPU_COPY_BYTES = 64 << 20
SKIPPED_BATCHES = 64
"""Two windows: until then the worker is starting and the pipeline filling."""


def make_ring(row_bytes: int, *, memory_bytes: int) -> np.ndarray:
    """Return uint8 ``[rows, row_bytes]`` of warm shared memory, as large as the loader's own if there is room."""
    rows = max(2 * usable_cores(), min(ring_bytes(row_bytes), MAX_RING_BYTES, memory_bytes // 8) // row_bytes)
    shared = mmap.mmap(-1, rows * row_bytes)
    with contextlib.suppress(OSError, AttributeError):  # as the loader's ring: huge pages where the kernel has them
        shared.madvise(mmap.MADV_HUGEPAGE)
    ring = np.frombuffer(shared, np.uint8).reshape(rows, row_bytes)
    ring[:] = 1
    return ring


def ring_bytes(row_bytes: int) -> int:
    """Return what a loader with default settings keeps in memory for its ring."""
    window_batches = LEAST_WINDOW_SAMPLES // BATCH_SIZE
    sizes = choose_sizes(window_batches, batch_size=BATCH_SIZE, row_bytes=row_bytes, num_workers=1)
    return (sizes.ahead + HELD_BATCHES) * BATCH_SIZE * row_bytes


def decode_rate(sample: SampleSet, ring: np.ndarray, *, num_processes: int, seconds: float) -> float:
    """Return how many images per second these processes decode, runs of neighbours to rows all over the ring."""
    team = Team(_ring_job(sample.root, sample.index, ring), num_processes=num_processes)
    try:
        rates = [team.run(seconds / WINDOWS)[0] for _ in range(WINDOWS)]
    finally:
        team.close()
    return float(max(rates))  # in windows so short the machine's noise only ever slows down


def _ring_job(root: Path, index: DatasetIndex, ring: np.ndarray) -> Job:
    row_bytes = index.spec.num_bytes
    stored_bytes = max(1, index.shards.num_bytes // index.num_samples())
    run = run_within(default_window(stored_bytes), stored_bytes)
    job_runs = max(1, JOB_BYTES // row_bytes // run)

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        rng = np.random.default_rng((rank, num_processes))
        infos = {info.name: info for info in index.shards}
        readers = [ShardReader(Store(root), info, index) for info in infos.values()]
        runs = [(reader, at) for reader in readers for at in range(0, len(reader), run)]
        # zstd reads back what it has written: a row must have one writer at a time
        own = rng.permutation(np.arange(rank, len(ring), num_processes))
        state = {"row": 0}

        ring[own, :: mmap.PAGESIZE].sum()  # a page new to a process costs it a fault, which a worker has behind it

        def read(reader: ShardReader, at: int) -> int:
            positions = np.arange(at, min(at + run, len(reader)))
            if state["row"] + len(positions) > len(own):
                state["row"] = 0
            rows = own[state["row"] : state["row"] + len(positions)]
            state["row"] += len(rows)
            reader.read_rows(positions[: len(rows)], ring, rows, verify=False)
            return len(rows)

        for reader in readers:  # maps every page, as an epoch has done for a worker that lives on
            for position in range(len(reader)):
                reader.read_body(position)
        read(*runs[0])

        def step() -> float:
            return float(sum(read(*runs[number]) for number in rng.integers(0, len(runs), job_runs).tolist()))

        return step

    return job


def loader_overhead(sample: SampleSet, *, seconds: float) -> tuple[float, float]:
    """Return the processor seconds of the consumer's process, and the worker's seconds beside its jobs, both an image.

    Taken from one worker in the middle of an epoch of the loader itself.
    """
    from ferdata import Loader

    with Loader(sample.root, num_workers=1, batch_size=BATCH_SIZE, drop_last=False) as loader:
        batches = iter(loader)
        for _ in range(min(SKIPPED_BATCHES, len(loader) // 4)):
            next(batches)
        start, used, before = now(), time.process_time(), loader.metrics()
        for _ in batches:
            if now() - start > seconds:
                break
        used, after = time.process_time() - used, loader.metrics()
        del batches
    images = max(1, after.images - before.images)
    return used / images, max(0.0, after.worker_wait_seconds - before.worker_wait_seconds) / images


def disk_rate(store: Store, names: list[str], *, num_processes: int) -> float:
    """Return bytes a second of reading files that the page cache was asked to forget; behind a URL, of fetching."""
    if not store.is_local:
        return _fetch_rate(store, names, num_threads=2 * num_processes)
    chosen, total = [], 0
    for name in names:
        if total < DISK_BYTES:
            chosen.append(store.path(name))
            total += store.num_bytes(name)
    drop_from_cache([Path(path) for path in chosen])
    team = Team(read_job(chosen, bytes_per_image=1.0), num_processes=num_processes)
    try:
        rate, _ = team.run(DISK_SECONDS)
    finally:
        team.close()
    return max(rate, 1.0)


def _fetch_rate(store: Store, names: list[str], *, num_threads: int) -> float:
    ranges = [(name, at) for name in names for at in range(0, store.num_bytes(name), RANGE_BYTES)][
        : DISK_BYTES // RANGE_BYTES
    ]
    start = now()

    def fetch(place: tuple[str, int]) -> int:
        return len(store.read_range(place[0], place[1], place[1] + RANGE_BYTES)) if now() - start < DISK_SECONDS else 0

    with ThreadPoolExecutor(num_threads) as pool:
        fetched = sum(pool.map(fetch, ranges))
    return max(fetched / (now() - start), 1.0)


def describe_gpu() -> dict[str, Any] | None:
    """Return the GPU's name, memory and how fast it takes page-locked batches; None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    source = torch.empty(GPU_COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device="cuda")
    rates = []
    for _ in range(4):
        torch.cuda.synchronize()
        start = now()
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        rates.append(GPU_COPY_BYTES / (now() - start))
    return {
        "name": properties.name,
        "count": torch.cuda.device_count(),
        "memory_bytes": properties.total_memory,
        "copy_bytes_per_second": max(rates),
    }


def nearest_folder(path: str) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    folder = Path(os.path.abspath(path))
    while not folder.is_dir():
        folder = folder.parent
    return folder
