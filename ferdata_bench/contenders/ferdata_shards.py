"""ferdata's own rows: shards of one codec, the loader or a ``DataLoader`` over them, and their decode ceiling.

In: the class-folder tree every contender gets, converted once as ``ferdata shard`` does. Out: uint8 batches, of
``ferdata.Loader`` in recycled shared memory, of a ``DataLoader`` over ``ShardBatches``, or of a plain one with default
collate, one sample read at a time, with which both are compared; or steps of the ceiling. Uses public names only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferdata import read_index
from ferdata.format import ShardReader
from ferdata.format.codecs import CODECS
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.plan.ceilings import Job
from ferdata.store import Store
from ferdata_bench.contenders.common import list_source, open_whole_set, read_pixels

if TYPE_CHECKING:
    from ferdata_bench.contenders import Batch, Contender, Entry

__all__ = ["contender", "decoding", "first_split"]

STEP_BYTES = 4 << 20
"""About what the loader reads together: enough that a call costs nothing beside its work."""


@dataclass(slots=True, kw_only=True)
class _Shards:
    """One of ferdata's own contenders, see :class:`ferdata_bench.contenders.Contender`."""

    NAME: str
    CODEC: str
    SHUFFLE: str
    open: "Callable[..., Iterable[Batch]]"
    LOSSLESS: bool = True

    def ingest(self, source: Path, out: Path) -> None:
        """Convert the tree as the ``shard`` verb does, at the size it has."""
        size = read_pixels(list_source(source)[0][0]).shape[0]
        images, codec = TransformOptions(size=size), CODECS[self.CODEC]
        ingest(IngestOptions(source="folder", src=str(source), out=str(out), transform=images, codec=codec))

    def batches(self, out: Path, *, batch_size: int, num_workers: int, seed: int) -> "Iterable[Batch]":
        """Return one epoch each time it is iterated."""
        return self.open(out, batch_size=batch_size, num_workers=num_workers, seed=seed)

    def class_names(self, out: Path) -> tuple[str, ...]:
        """Return the class names by label."""
        return tuple(read_index(Store(out)).classes)


def contender(entry: "Entry") -> "Contender":
    """Return what an entry of the table names: the loader over its codec's shards, or another way over the same."""
    if "plain" in entry.name:
        return _Shards(NAME=entry.name, CODEC=entry.codec, SHUFFLE="whole set", open=_open_plain)
    shuffle = "runs of neighbours over the whole set, then windows of 2,048 samples"
    way: Callable[..., Iterable[Batch]] = _Epochs if entry.shares else _open_loader
    if "resident" in entry.name:
        way = partial(_open_loader, resident=True)
    if "device" in entry.name:
        way = partial(_open_loader, device="cuda", decode="device")
    return _Shards(NAME=entry.name, CODEC=entry.codec, SHUFFLE=shuffle, open=way)


def first_split(out: Path) -> str:
    """Return ``train``, or the only split there is."""
    splits = list(read_index(Store(out)).splits)
    return "train" if "train" in splits else splits[0]


def decoding(out: Path) -> Job:
    """Return the ceiling's job: each process decodes its share of the samples, over and over, into a small buffer."""
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


def _open_loader(out: Path, *, batch_size: int, num_workers: int, seed: int, **way: Any) -> "Iterable[Batch]":
    """Return ferdata's loader in its default settings, the last batch kept, so that every sample comes."""
    from ferdata import Loader

    settings: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers, "seed": seed}
    return Loader(out, split=first_split(out), drop_last=False, **settings, **way)


class _Epochs:
    """A ``DataLoader`` over ``ferdata.ShardBatches``, whose epochs are counted here; its workers live on in between."""

    def __init__(self, out: Path, *, batch_size: int, num_workers: int, seed: int) -> None:
        from torch.utils.data import DataLoader

        from ferdata import ShardBatches

        self._batches = ShardBatches(out, split=first_split(out), batch_size=batch_size, seed=seed, drop_last=False)
        self._loader: DataLoader[Batch] = DataLoader(
            self._batches, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0
        )

    def __iter__(self) -> "Iterator[Batch]":
        yield from self._loader
        self._batches.set_epoch(self._batches.epoch + 1)


def _open_plain(out: Path, *, batch_size: int, num_workers: int, seed: int) -> "Iterable[Batch]":
    """Return a ``DataLoader`` over ``ferdata.ShardDataset``."""
    from ferdata import ShardDataset

    return open_whole_set(
        ShardDataset(out, split=first_split(out)), batch_size=batch_size, num_workers=num_workers, seed=seed
    )
