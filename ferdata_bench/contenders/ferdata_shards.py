"""What ferdata's own rows share: writing shards of one codec, the loader over them, and the decode ceiling of their frames.

In: the class-folder tree every contender gets. Out: batches of ``ferdata.Loader``, or steps of the ceiling. Uses public names only.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ferdata import read_index
from ferdata.format import ShardReader
from ferdata.ingest import IngestOptions, ingest
from ferdata.plan.ceilings import Job
from ferdata.store import Store
from ferdata_bench.contenders.common import list_source, read_pixels

if TYPE_CHECKING:
    from ferdata_bench.contenders import Batch

__all__ = ["SHUFFLE", "class_names", "decoding", "first_split", "open_loader", "write_shards"]

SHUFFLE = "runs of neighbours over the whole set, then windows of 2,048 samples"
STEP_BYTES = 4 << 20
"""About what the loader reads together: enough that a call costs nothing beside its work."""


def write_shards(source: Path, out: Path, *, codec: str) -> None:
    """Convert the tree as the ``shard`` verb does, at the size it has."""
    size = read_pixels(list_source(source)[0][0]).shape[0]
    ingest(IngestOptions(source="folder", src=str(source), out=str(out), size=size, codec=codec))


def open_loader(out: Path, *, batch_size: int, num_workers: int, seed: int) -> "Iterable[Batch]":
    """Return ferdata's loader in its default settings, the last batch kept, so that every sample comes."""
    from ferdata import Loader

    return Loader(out, split=first_split(out), batch_size=batch_size, num_workers=num_workers, seed=seed, drop_last=False)


def class_names(out: Path) -> tuple[str, ...]:
    """Return the class names by label."""
    return tuple(read_index(Store(out)).classes)


def first_split(out: Path) -> str:
    """Return ``train``, or the only split there is."""
    splits = list(read_index(Store(out)).splits)
    return "train" if "train" in splits else splits[0]


def decoding(out: Path) -> Job:
    """Return the ceiling's job: each process decodes its share of the samples, over and over, into one small private buffer."""
    split = first_split(out)

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        store = Store(out)
        index = read_index(store)
        readers = [ShardReader(store, info, index) for info in index.shards if info.split == split]
        count = max(1, STEP_BYTES // index.spec.num_bytes)
        runs = [(reader, at) for reader in readers for at in range(0, len(reader), count)]
        mine = runs[rank % len(runs) :: num_processes]
        buffer, rows = np.empty((count, index.spec.num_bytes), np.uint8), np.arange(count)
        state = {"step": 0}

        def step() -> float:
            reader, at = mine[state["step"] % len(mine)]
            positions = np.arange(at, min(at + count, len(reader)))
            reader.read_rows(positions, buffer, rows[: len(positions)], verify=False)
            state["step"] += 1
            return float(len(positions))

        return step

    return job
