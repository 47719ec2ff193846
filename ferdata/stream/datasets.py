"""Plain datasets over the same shards, for those who bring their own ``DataLoader``, sampler or framework.

In: a data set folder. Out: one sample at a time. Any sample can be read alone at the cost of decoding just that one; batches
built from these cost what every ``DataLoader`` costs, so use :class:`ferdata.stream.Loader` where speed matters.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ferdata.errors import OptionError
from ferdata.format import read_index
from ferdata.store import Store
from ferdata.stream.batch import SampleTable, batch_type
from ferdata.stream.order import OrderOptions, rank_sequence
from ferdata.stream.ranks import find_rank
from ferdata.stream.worker import ShardPool

__all__ = ["IterableShardDataset", "ShardDataset"]


class ShardDataset(Dataset[Any]):
    """Map-style: ``dataset[number]`` is a named tuple of ``fields``, images uint8 ``[3, H, W]``, labels int.

    Works with any sampler; ``dataset.labels`` (int64 ``[N]``) is there for weighted ones.

    Args:
        root: Folder or URL of a data set.
        split: ``train``, ``val`` or ``test``.
        fields: As for :class:`ferdata.stream.Loader`.
    """

    def __init__(self, root: str | os.PathLike[str], *, split: str = "train", fields: Sequence[str] = ("images", "labels")) -> None:
        store = Store(root)
        self.index = read_index(store)
        if split not in self.index.splits:
            raise OptionError(f"split: {split!r} found, expected one of {', '.join(self.index.splits)} ({store})")
        self.split = split
        self.fields = tuple(fields)
        batch_type(self.fields)
        self._root = store.root
        self._table = SampleTable(store, self.index, split, self.fields)
        self._pools: dict[int, ShardPool] = {}

    @property
    def labels(self) -> torch.Tensor:
        """int64 ``[N]``, the label of every sample."""
        return self._table.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.index.classes

    def __len__(self) -> int:
        return len(self._table)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pools": {}}

    def __getitem__(self, number: int) -> Any:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Return several samples, read in the order they stand on the disk; torch calls this for a whole batch."""
        wanted = np.asarray(numbers, np.int64)
        outside = wanted[(wanted < -len(self)) | (wanted >= len(self))]
        if len(outside):
            raise IndexError(f"sample {outside[0]} of {len(self)}")
        wanted = wanted % len(self)
        order = np.argsort(wanted, kind="stable")
        pixels = np.empty((len(wanted), self.index.spec.num_bytes), np.uint8)
        self._pool().read_rows(wanted[order], pixels, order, verify=True)
        images = torch.from_numpy(pixels).view(-1, *self.index.spec.shape)
        values = self._table.values(self.fields, wanted)
        kind = batch_type(self.fields)
        return [kind(*(_one(images[row] if name == "images" else values[name][row]) for name in self.fields)) for row in range(len(wanted))]

    def _pool(self) -> ShardPool:
        """Return this process's own open shards: a file position is never shared over a fork."""
        pool = self._pools.get(os.getpid())
        if pool is None:
            self._pools = {os.getpid(): ShardPool(Store(self._root), self.index, self.split)}
            pool = self._pools[os.getpid()]
        return pool


class IterableShardDataset(IterableDataset[Any]):
    """Iterable: samples in the loader's own order, dealt to ranks and to ``DataLoader`` workers so that each comes once.

    Args:
        root: Folder or URL of a data set.
        split: ``train``, ``val`` or ``test``.
        shuffle: ``"window"``, ``"full"`` or ``"none"``.
        seed: Seed of the order.
        fields: As for :class:`ferdata.stream.Loader`.
        window_samples: Samples mixed together.
        rank: This rank; None: found as the loader finds it.
        world_size: Number of ranks.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: str = "train",
        shuffle: str = "window",
        seed: int = 0,
        fields: Sequence[str] = ("images", "labels"),
        window_samples: int = 2048,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._samples = ShardDataset(root, split=split, fields=fields)
        self._order = OrderOptions(shuffle=shuffle, seed=seed, batch_size=1, window_samples=window_samples)
        self._rank, self._world_size = find_rank(rank, world_size)
        self._sizes = np.array([info.samples for info in self._samples.index.shards if info.split == split], np.int64)
        self.epoch = 0

    def __len__(self) -> int:
        return int(self._sizes.sum()) // self._world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; iterating does not move it on, since workers are copies."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        sequence = rank_sequence(
            self._sizes, self._samples.labels.numpy(), self._order, epoch=self.epoch, rank=self._rank, world_size=self._world_size
        )
        info = get_worker_info()
        blocks = range(0, len(sequence), _READ_SAMPLES)
        for start in blocks if info is None else blocks[info.id :: info.num_workers]:
            yield from self._samples.__getitems__(sequence[start : start + _READ_SAMPLES].tolist())


_READ_SAMPLES = 64
"""Samples an iterating worker reads at a time."""


def _one(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.ndim == 0 else value
