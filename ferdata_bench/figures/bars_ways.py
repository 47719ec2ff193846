"""What is timed for the bars: the machine's best copy, bare decoders, the loader, and a plain ``DataLoader``.

In: shards of one codec. Out: jobs for a :class:`ferdata.plan.ceilings.Team`, and loaders that give epochs. Ceilings
touch only bytes and bare libraries; ``compact`` has no library but ours, so its ceiling is our reader into one small
buffer.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import zstandard
from torch.utils.data import DataLoader

from ferdata import Loader, ShardDataset, read_index
from ferdata.format import ShardReader, scatter
from ferdata.plan.ceilings import Job
from ferdata.store import Store
from ferdata.stream.memory.ring import SharedBytes
from ferdata_bench.contenders.ferdata_shards import decoding

__all__ = ["COPIES", "DECODERS", "copying", "read_epoch", "start_loader", "start_plain"]

SLOTS = 18
"""Slots each copying process writes to: two have as much memory as the loader's ring; fewer would stay in the cache."""
STEP_SAMPLES = 16
"""Bodies a bare decoder works off between two looks at the clock."""

Move = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def _numpy_move(samples: np.ndarray, out: np.ndarray, rows: np.ndarray) -> None:
    out[rows[0] : rows[0] + len(rows)] = samples


COPIES: dict[str, Move] = {
    "NumPy": _numpy_move,
    "scatter": scatter,
    "scatter in cache": partial(scatter, streaming=False),
}
"""Ways to copy; the best of them is the ceiling."""


def copying(out: Path, *, move: Move, batch_size: int) -> Job:
    """Return the job that copies page-cached raw shards, a batch at a time, into slots like those of the loader."""

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        index = read_index(Store(out))
        row_bytes = index.spec.num_bytes
        files = [np.memmap(out / info.name, np.uint8, mode="r") for info in index.shards if info.num_bytes >= row_bytes]
        pieces = [file[: len(file) // row_bytes * row_bytes].reshape(-1, row_bytes) for file in files]
        batches = [piece[at : at + batch_size] for piece in pieces for at in range(0, len(piece), batch_size)]
        mine = batches[rank % len(batches) :: num_processes]
        slots = SharedBytes(SLOTS * batch_size * row_bytes).array().reshape(SLOTS * batch_size, row_bytes)
        slots[:] = 1
        for batch in mine:
            batch[:, ::4096].sum()
        rows = [np.arange(slot * batch_size, (slot + 1) * batch_size) for slot in range(SLOTS)]
        state = {"step": 0}

        def step() -> float:
            batch = mine[state["step"] % len(mine)]
            move(batch, slots, rows[state["step"] % SLOTS][: len(batch)])
            state["step"] += 1
            return float(len(batch))

        return step

    return job


def _bare(out: Path, make: Callable[[tuple[int, ...]], Callable[[memoryview], Any]]) -> Job:
    """Return a job that hands every stored body, over and over, to a bare library's decoder."""

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        store = Store(out)
        index = read_index(store)
        readers = [ShardReader(store, info, index) for info in index.shards]
        bodies = [memoryview(reader.read_body(position)) for reader in readers for position in range(len(reader))]
        mine = bodies[rank % len(bodies) :: num_processes]
        decode = make(index.spec.shape)
        state = {"at": 0}

        def step() -> float:
            at = state["at"]
            for body in mine[at : at + STEP_SAMPLES]:
                decode(body)
            done = min(STEP_SAMPLES, len(mine) - at)
            state["at"] = at + done if at + done < len(mine) else 0
            return float(done)

        return step

    return job


def _zstandard(shape: tuple[int, ...]) -> Callable[[memoryview], Any]:
    decompressor, pixels = zstandard.ZstdDecompressor(), np.empty(int(np.prod(shape)), np.uint8)
    return lambda body: decompressor.stream_reader(body).readinto(pixels)


def _libjpeg(shape: tuple[int, ...]) -> Callable[[memoryview], Any]:
    pixels = np.empty((*shape[1:], 3), np.uint8)
    return lambda body: simplejpeg.decode_jpeg(body, colorspace="RGB", buffer=pixels)


DECODERS: dict[str, dict[str, Callable[[Path], Job]]] = {
    "raw": {},
    "zstd": {"bare zstandard": lambda out: _bare(out, _zstandard), "our reader": decoding},
    "compact": {"our reader": decoding},
    "jpeg": {"bare libjpeg-turbo": lambda out: _bare(out, _libjpeg)},
}
"""Codec -> ways to decode; the best of them is the ceiling. ``raw`` has nothing to decode."""


def start_loader(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Loader:
    """Return the loader in its default settings, the last batch kept."""
    return Loader(out, batch_size=batch_size, num_workers=num_workers, seed=seed, drop_last=False)


def start_plain(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Any]:
    """Return a plain ``DataLoader`` over the same shards with torch's default collate."""
    return DataLoader(
        ShardDataset(out),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=True,
        generator=torch.Generator().manual_seed(seed),
    )


def read_epoch(batches: Iterable[Any]) -> tuple[int, int, int]:
    """Iterate once, reading one byte of every image; return images, the sum of those bytes and of the labels."""
    images, bytes_sum, labels_sum = 0, 0, 0
    for pixels, labels in batches:
        bytes_sum += int(pixels[:, 0, 0, 0].sum())
        labels_sum += int(labels.sum())
        images += len(pixels)
    return images, bytes_sum, labels_sum
