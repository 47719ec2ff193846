"""Plain datasets over the same shards, for those who bring their own ``DataLoader``, sampler or framework.

In: a data set folder. Out: one sample at a time. Any sample can be read alone at the cost of decoding just that one;
batches built from these cost what every ``DataLoader`` costs, so use :class:`ferdata.stream.Loader` if speed matters.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Unpack

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ferdata.mixing import Roots
from ferdata.store import StrPath
from ferdata.stream.batch import SampleTable, batch_maker, check_fields
from ferdata.stream.fitting import REFUSE
from ferdata.stream.options import SampleOptions, passing_on
from ferdata.stream.order.ranks import find_rank
from ferdata.stream.order.sequence import OrderOptions, check_whole_number, rank_order
from ferdata.stream.sets import open_split
from ferdata.stream.transforms import BatchContext, BatchTransform, takes_context
from ferdata.stream.where import find_extent
from ferdata.stream.workers.worker import ShardPool

__all__ = ["IterableShardDataset", "ShardDataset"]

_READ_SAMPLES = 64
"""Samples an iterating worker reads at a time."""


class ShardDataset(Dataset[Any]):
    """Map-style: ``dataset[number]`` is a named tuple of ``fields``, images uint8 ``[3, H, W]``, labels int.

    Works with any sampler, in any number of threads; ``dataset.labels`` (int64 ``[N]``) is there for weighted ones, and
    ``classes``, ``class_to_idx`` and ``targets`` are as in torchvision's ``ImageFolder``.

    Args:
        root: Folder or URL of a data set, or a list of them: every sample of every set, one set after the other.
        split: ``train``, ``val`` or ``test``.
        indices: Sample indices to hold instead of the whole split, each at most once; they are held in ascending order.
        where: Hold only samples for which this is true, as for :class:`ferdata.Loader`.
        fields: As for :class:`ferdata.Loader`.
        as_dict: Give each sample as a dict, as :class:`ferdata.Loader` gives batches.
        transform: Called with each image; its result takes the image's place. One that takes a
            :class:`ferdata.BatchContext` too, as ferdata's own and :class:`ferdata.PerSample` do, draws for each sample
            from (``seed``, epoch, sample index).
        seed: Seed of such transforms.
        resize: As for :class:`ferdata.Loader`.
        classes: Likewise.
        patience: Likewise.
        cache: Likewise.
        cache_gb: Likewise.

    Example:
        >>> dataset = ferdata.ShardDataset("shards/affectnet", split="val", transform=lambda image: image.float() / 255)
        >>> image, label = dataset[0]
        >>> image.dtype, len(dataset), dataset.class_to_idx["Happy"]
        (torch.float32, 32, 1)
        >>> batches = torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True, num_workers=0)
    """

    def __init__(
        self,
        root: Roots,
        *,
        split: str = "train",
        indices: Sequence[int] | np.ndarray | None = None,
        where: str | None = None,
        fields: Sequence[str] = ("images", "labels"),
        as_dict: bool = False,
        transform: BatchTransform | Callable[[torch.Tensor], Any] | None = None,
        seed: int = 0,
        resize: str | int = REFUSE,
        classes: Sequence[str] | None = None,
        patience: float | None = None,
        cache: StrPath | None = None,
        cache_gb: float | None = None,
    ) -> None:
        self._opened = opened = open_split(
            root, split, resize=resize, classes=classes, patience=patience, cache=cache, cache_gb=cache_gb
        )
        self.index, self.split = opened.index, split
        self.fields = check_fields(fields)
        self._as_dict, self._seed = as_dict, check_whole_number("seed", seed)
        self._table = SampleTable(opened, self.fields)
        self._table.complete()
        self._extent = find_extent(opened, self._table, indices=indices, where=where)
        self.transform: Any = transform
        self._takes_context = transform is not None and takes_context(transform)
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu")
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # persistent workers see it too
        self._own = threading.local()

    def __repr__(self) -> str:
        samples = f"{len(self):,} samples, {self.index.describe_samples()}"
        return f"ShardDataset({self._opened.root!r}, split={self.split!r}): {samples}"

    @cached_property
    def labels(self) -> torch.Tensor:
        """int64 ``[N]``, the label of every sample."""
        return torch.from_numpy(self._extent.labels.astype(np.int64))

    @property
    def targets(self) -> list[int]:
        """The label of every sample."""
        return [*self._extent.labels.tolist()]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.index.classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.classes)}

    @property
    def epoch(self) -> int:
        """The epoch that transforms draw for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that transforms draw for, in ``DataLoader`` workers too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._extent)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _own=threading.local())

    def __getitem__(self, number: int) -> Any:
        return self.__getitems__([number])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return several samples, read in disk order; torch calls this for a whole batch."""
        wanted = np.asarray(indices, np.int64)
        outside = wanted[(wanted < -len(self)) | (wanted >= len(self))]
        if len(outside):
            raise IndexError(f"sample {outside[0]} of {len(self)}")
        wanted = wanted % len(self) if self._extent.indices is None else self._extent.indices[wanted]
        order = np.argsort(wanted, kind="stable")
        pixels = np.empty((len(wanted), self.index.spec.num_bytes), np.uint8)
        self._pool().read_rows(wanted[order], pixels, order, verify=True)
        images: Any = torch.from_numpy(pixels).view(-1, *self.index.spec.shape)
        if self._takes_context:
            images = self.transform(images, BatchContext(seed=self._seed, epoch=self.epoch, rank=0, positions=wanted))
        elif self.transform is not None:
            images = [self.transform(image) for image in images]
        values = self._table.values(self.fields, wanted, lambda indices: self._pool().read_records(indices))
        make = batch_maker(self.fields, as_dict=self._as_dict)
        return [
            make(*(_one(images[row] if name == "images" else values[name][row]) for name in self.fields))
            for row in range(len(wanted))
        ]

    def _pool(self) -> ShardPool:
        """Return the open shards of this thread of this process: decoders have their own scratch memory."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.process = os.getpid()
            self._own.pool = ShardPool(self._opened)
        pool: ShardPool = self._own.pool
        return pool


@passing_on(ShardDataset)
class IterableShardDataset(IterableDataset[Any]):
    """Iterable: samples in the loader's own order, assigned to ranks and ``DataLoader`` workers, each once.

    A framework that distributes an iterable's samples itself, as Accelerate does,
    must be given ``rank=0, world_size=1``.

    Args:
        root: Folder or URL of a data set, or a list of them.
        split: ``train``, ``val`` or ``test``.
        shuffle: ``"window"`` (or True), ``"full"`` or ``"none"`` (or False).
        seed: Seed of the order, and of transforms that take a context.
        indices: As for :class:`ShardDataset`.
        where: Likewise.
        fields: Likewise.
        as_dict: Likewise.
        transform: Likewise.
        window_samples: Samples mixed together.
        rank: This rank; None: found when an epoch begins, as the loader finds it.
        world_size: Number of ranks.
        resize: As for :class:`ferdata.Loader`.
        classes: Likewise.
        patience: Likewise.
        cache: Likewise.
        cache_gb: Likewise.

    Example:
        >>> dataset = ferdata.IterableShardDataset("shards/affectnet", seed=1)
        >>> batches = torch.utils.data.DataLoader(dataset, batch_size=16)
        >>> sum(len(labels) for images, labels in batches)
        208
    """

    def __init__(
        self,
        root: Roots,
        *,
        shuffle: str | bool = "window",
        seed: int = 0,
        transform: BatchTransform | Callable[[torch.Tensor], Any] | None = None,
        window_samples: int = 2048,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Unpack[SampleOptions],
    ) -> None:
        self._samples = ShardDataset(root, transform=transform, seed=seed, **options)
        if isinstance(shuffle, bool):
            shuffle = "window" if shuffle else "none"
        self._order = OrderOptions(
            shuffle=shuffle, seed=check_whole_number("seed", seed), batch_size=1, window_samples=window_samples
        )
        self._given = (rank, world_size)
        find_rank(rank, world_size, early=True)
        self._sizes = self._samples._extent.shard_sizes

    def __repr__(self) -> str:
        return f"Iterable{self._samples!r}, shuffle {self._order.shuffle}"

    def __getstate__(self) -> dict[str, Any]:
        # Workers that are spawned or sent elsewhere cannot ask torch.distributed.
        return {**self.__dict__, "_given": find_rank(*self._given, early=True)}

    def __len__(self) -> int:
        return int(self._sizes.sum()) // find_rank(*self._given, early=True)[1]

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._samples.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; iterating does not move it on, since workers are copies."""
        self._samples.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        rank, world_size = find_rank(*self._given)
        sequence = rank_order(self._sizes, self._order, epoch=self.epoch, rank=rank, world_size=world_size)
        info = get_worker_info()
        stretches = range(0, len(sequence), _READ_SAMPLES)
        for start in stretches if info is None else stretches[info.id :: info.num_workers]:
            yield from self._samples.__getitems__(sequence[start : start + _READ_SAMPLES].tolist())


def _one(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.ndim == 0 else value
