"""What is streamed, in which order, and to which rank: all that a loader and a data set of batches have in common.

In: a data set folder and the options of an order. Out: a rank's partition, columns, and batches made of images and
values. Costs the columns of the sample table; no shard is opened.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.mixing import Roots, split_weights
from ferdata.store import StrPath
from ferdata.stream.batch import SampleTable, batch_maker, check_fields
from ferdata.stream.fitting import REFUSE
from ferdata.stream.memory.resident import SplitReader
from ferdata.stream.memory.ring import window_batches_within
from ferdata.stream.mix import check_drawable, set_draws
from ferdata.stream.order.partition import Partition
from ferdata.stream.order.ranks import find_rank
from ferdata.stream.order.sequence import check_whole_number, order_options
from ferdata.stream.order.weights import class_weights
from ferdata.stream.sets import open_split
from ferdata.stream.state import Identity, Position
from ferdata.stream.transforms import BatchContext, BatchTransform, as_batch_transform, check_transformed
from ferdata.stream.where import find_extent

__all__ = ["BatchSource"]

_MANY = 1000
"""Samples left out that are worth a sentence, if they are a hundredth of all."""


class BatchSource:
    """The batches of one split on one rank.

    Attributes:
        opened: The split in its data set, or in several.
        index: Its index.
        split: Its name.
        resize: How images of other sizes were asked to be read.
        fields: What a batch holds.
        table: The split's columns.
        order: Options of the order.
        partition: What this rank reads.
        identity: What a state belongs to.
        cache: Where what lies behind URLs is kept.
        cache_gb: Most gigabytes of it.
        verify_always: Whether raw pixels are verified at every read.
    """

    def __init__(
        self,
        root: Roots | Mapping[str, float],
        *,
        split: str = "train",
        indices: Sequence[int] | np.ndarray | None = None,
        where: str | None = None,
        batch_size: int = 128,
        shuffle: str | bool = "window",
        seed: int = 0,
        fields: Sequence[str] = ("images", "labels"),
        as_dict: bool = False,
        sampling: str | Mapping[str, float] = "uniform",
        draws: int | None = None,
        drop_last: bool | None = None,
        window_samples: int | None = None,
        memory_bytes: int = 1 << 30,
        rank: int | None = None,
        world_size: int | None = None,
        transform: BatchTransform | Callable[[torch.Tensor], torch.Tensor] | None = None,
        verify: str = "first",
        mix: str | None = None,
        resize: str | int = REFUSE,
        classes: Sequence[str] | None = None,
        patience: float | None = None,
        cache: StrPath | None = None,
        cache_gb: float | None = None,
    ) -> None:
        roots, set_weights = split_weights(root)
        self.opened = opened = open_split(
            roots, split, resize=resize, classes=classes, patience=patience, cache=cache, cache_gb=cache_gb
        )
        self.index, self.split, self.resize = opened.index, split, resize
        self.cache, self.cache_gb = cache, cache_gb
        batch_size, seed = check_whole_number("batch_size", batch_size), check_whole_number("seed", seed)
        if batch_size < 1:
            raise OptionError(f"batch_size: {batch_size} found, expected at least 1")
        if verify not in ("first", "always"):
            raise OptionError(f"verify: {verify!r} found, expected first or always")
        self.verify_always = verify == "always"
        self.fields, self._as_dict = check_fields(fields), as_dict
        self.table = SampleTable(opened, self.fields)
        extent = find_extent(opened, self.table, indices=indices, where=where)
        row_bytes = self.index.spec.num_bytes
        counts = set_draws(mix, set_weights, opened, extent, draws)
        weights = class_weights(sampling, self.index.classes, extent.class_counts.sum(0))
        if counts is not None and weights is not None:
            check_drawable(weights, opened, extent)
        self.order = order_options(
            shuffle=shuffle,
            seed=seed,
            batch_size=batch_size,
            weights=weights,
            draws=draws if counts is None else None,
            drop_last=drop_last,
            window_samples=window_samples,
            max_window_batches=window_batches_within(memory_bytes, batch_size=batch_size, row_bytes=row_bytes),
            stored_bytes=opened.stored_bytes,
            set_draws=counts,
        )
        self.given_rank = (rank, world_size)
        rank, world_size = find_rank(rank, world_size, early=True)
        self.partition = Partition(extent=extent, order=self.order, rank=rank, world_size=world_size)
        self._check_partition()
        self.identity = Identity(fingerprint=self.index.fingerprint + extent.digest, split=split, order=self.order)
        self.transform = None if transform is None else as_batch_transform(transform)

    def shards(self) -> SplitReader:
        """Return what reads all of the samples once."""
        return SplitReader(self.opened, self.partition.extent.indices, is_shown=self.partition.rank == 0)

    def join_ranks(self, *, early: bool) -> bool:
        """Look up the rank again, since many are made before the ranks are known; tell whether it is another."""
        rank, world_size = find_rank(*self.given_rank, early=early)
        if (rank, world_size) == (self.partition.rank, self.partition.world_size):
            return False
        self.partition = replace(self.partition, rank=rank, world_size=world_size)
        self._check_partition()
        return True

    def transformed(self, images: torch.Tensor, *, epoch: int, number: int) -> torch.Tensor:
        """Return the images of a batch by its number in the epoch as the transform makes them."""
        if self.transform is None:
            return images
        first = number * self.order.batch_size
        positions = np.arange(first, first + len(images))
        context = BatchContext(seed=self.order.seed, epoch=epoch, rank=self.partition.rank, positions=positions)
        return check_transformed(self.transform(images, context), len(positions))

    def batch(self, images: torch.Tensor, values: Mapping[str, Any]) -> Any:
        """Return a batch of its images and the values of its other fields."""
        make = batch_maker(self.fields, as_dict=self._as_dict)
        return make(*(images if name == "images" else values[name] for name in self.fields))

    def position(self, state: dict[str, Any]) -> Position:
        """Return the position that a state describes, for as many ranks as there are now; see :class:`Position`."""
        return Position.from_state(state, self.identity, self.partition.world_size)

    def _check_partition(self) -> None:
        """Refuse a partition without a batch; say how many samples are left out, once, if they are many."""
        if self.partition.num_batches() == 0:
            raise OptionError(
                f"{self.opened.where}: {self.partition.total} samples found, expected at least batch_size x world_size "
                f"= {self.order.batch_size} x {self.partition.world_size}; use a smaller batch_size or drop_last=False"
            )
        left_out, total = self.partition.left_out, self.partition.total
        if self.partition.rank == 0 and left_out >= max(_MANY, total / 100):
            warnings.warn(
                f"{self.opened.where}: {left_out:,} of {total:,} samples ({left_out / total:.1%}) do not fill a batch "
                f"of {self.order.batch_size} on each of {self.partition.world_size:,} ranks and are left out of every "
                "epoch, others each time; drop_last=False reads them too, and a smaller batch_size more of them",
                stacklevel=5,
            )
