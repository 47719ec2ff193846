"""The partition of a split that one rank reads.

In: the split, the order, the rank. Out: orders, windows, exact batch counts. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import xxhash

from ferdata.errors import OptionError
from ferdata.stream.order.places import ClassPlaces
from ferdata.stream.order.sequence import PADDING, OrderOptions, Phase, rank_batches, rank_order, remaining_samples
from ferdata.stream.order.windows import Order, Window, cut_windows
from ferdata.stream.sets import OpenSplit
from ferdata.stream.state import Position

__all__ = ["Extent", "Partition"]


class Labelled(Protocol):
    """The columns of a split, as far as they matter here."""

    def labels(self) -> np.ndarray:
        """Return all labels, ``[N]`` of any integer type."""

    def gather(self, name: str, samples: np.ndarray, /) -> np.ndarray:
        """Return a column's values for samples, int64 ``[n]``."""


@dataclass(frozen=True)
class Extent:
    """The samples of a split that are read: all, or a subset, which takes the place of the split in every way.

    Attributes:
        opened: The split.
        table: Its columns.
        shard_sizes: int64 ``[shards]``, how many samples of each shard are read.
        indices: int64 ``[N]`` ascending, their sample indices in the split; None for the whole split.
    """

    opened: OpenSplit
    table: Labelled
    shard_sizes: np.ndarray
    indices: np.ndarray | None = None

    @classmethod
    def of(cls, opened: OpenSplit, table: Labelled, indices: Sequence[int] | np.ndarray | None) -> "Extent":
        """Return the extent of a whole split, or of a subset of it.

        Raises:
            OptionError: If ``indices`` are not sample indices of the split, each at most once.
        """
        sizes = opened.shard_sizes
        if indices is None:
            return cls(opened, table, sizes)
        given = np.asarray(indices)
        found = np.unique(given)
        if given.ndim != 1 or given.dtype.kind not in "iu" or not 0 < len(found) == len(given):
            raise OptionError(
                f"indices: {given.dtype} {list(given.shape)} with {len(found):,} different values found, expected a "
                "list of whole numbers, at least one, each once; np.flatnonzero(mask) makes them of a mask, "
                "np.unique(indices) drops repeats"
            )
        if found[0] < 0 or found[-1] >= opened.num_samples:
            raise OptionError(
                f"indices: {found[0]} to {found[-1]} found, expected 0 to {opened.num_samples - 1}, the sample indices "
                f"of split {opened.split}"
            )
        found = found.astype(np.int64)
        edges = np.searchsorted(found, np.concatenate([[0], np.cumsum(sizes)]))
        return cls(opened, table, np.diff(edges).astype(np.int64), found)

    def __len__(self) -> int:
        return self.opened.num_samples if self.indices is None else len(self.indices)

    @cached_property
    def labels(self) -> np.ndarray:
        """``[N]`` of any integer type, one per sample that is read; of all, it reads the whole column."""
        return self.table.labels() if self.indices is None else self.table.gather("labels", self.indices)

    @cached_property
    def places(self) -> tuple[ClassPlaces]:
        """Where the classes of what is read are."""
        return (ClassPlaces(self.labels, len(self.opened.index.classes)),)

    @cached_property
    def set_places(self) -> tuple[ClassPlaces, ...]:
        """Where those of each set are."""
        parts = np.split(self.labels, np.cumsum(self.set_sizes)[:-1])
        return tuple(ClassPlaces(labels, len(self.opened.index.classes)) for labels in parts)

    @cached_property
    def class_counts(self) -> np.ndarray:
        """int64 ``[sets, classes]``, samples that are read; of a whole split, the index tells."""
        num_classes = len(self.opened.index.classes)
        if self.indices is not None:
            parts = np.split(self.labels, np.cumsum(self.set_sizes)[:-1])
            return np.array([np.bincount(labels, minlength=num_classes) for labels in parts])
        counts = np.zeros((len(self.opened.sets), num_classes), np.int64)
        for row, one in zip(counts, self.opened.sets, strict=True):
            own = one.index.counts[one.split]
            row[one.union_labels(np.arange(len(own)))] = own
        return counts

    @property
    def set_shards(self) -> tuple[int, ...]:
        """How many of the shards are each set's."""
        return self.opened.set_shards

    @property
    def set_sizes(self) -> tuple[int, ...]:
        """How many samples of each set are read."""
        parts = np.split(self.shard_sizes, np.cumsum(self.set_shards)[:-1])
        return tuple(int(sizes.sum()) for sizes in parts)

    @property
    def digest(self) -> str:
        """Hex identity of a subset; empty for the whole split."""
        return "" if self.indices is None else xxhash.xxh64_hexdigest(self.indices.tobytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One rank's part of every epoch.

    Attributes:
        extent: Which samples of the split are read.
        order: Options of the order.
        rank: The rank, ``0 <= rank < world_size``.
        world_size: Number of ranks.
    """

    extent: Extent
    order: OrderOptions
    rank: int
    world_size: int

    @property
    def total(self) -> int:
        """Samples of an epoch over all ranks, padding left out."""
        if self.order.set_draws is not None:
            return sum(self.order.set_draws)
        return len(self.extent) if self.order.weights is None or self.order.draws is None else self.order.draws

    def class_counts(self, num_classes: int) -> list[float]:
        """Return how many samples of each class an epoch has over all ranks, on average, without class weights."""
        sizes, draws = self.extent.set_sizes, self.order.set_draws
        own = self.extent.class_counts[:, :num_classes]
        return [*(np.array([1.0] * len(sizes) if draws is None else np.divide(draws, sizes)) @ own).tolist()]

    def num_batches(self, phases: Sequence[Phase] = ()) -> int:
        """Return the batches of this rank in what ``phases`` have left of an epoch."""
        return rank_batches(remaining_samples(self.total, self.order, phases), self.order, world_size=self.world_size)

    @property
    def left_out(self) -> int:
        """Samples of an epoch that no rank reads, since they do not fill a batch on every rank."""
        return max(0, self.total - self.num_batches() * self.order.batch_size * self.world_size)

    def samples(self, epoch: int, phases: Sequence[Phase] = ()) -> Order:
        """Return what this rank reads of what ``phases`` left of an epoch, in order: int64 ``[n]``, -1 padding."""
        extent = self.extent
        order = rank_order(
            extent.shard_sizes,
            self.order,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
            phases=phases,
            set_shards=extent.set_shards,
            places=() if self.order.weights is None else extent.set_places if self.order.set_draws else extent.places,
        )
        return order if extent.indices is None else _SubsetOrder(order, extent.indices)

    def windows(self, position: Position, *, ahead: bool) -> Iterator[Window]:
        """Yield the windows from a position to the end of its epoch and, when reading ahead, of all epochs after it."""
        sizes = {"batch_size": self.order.batch_size, "window_samples": self.order.window_samples}
        while True:
            samples = self.samples(position.epoch, position.phases)
            yield from cut_windows(samples, start=position.consumed, epoch=position.epoch, **sizes)
            if not ahead:
                return
            position = Position(epoch=position.epoch + 1, world_size=self.world_size)


class _SubsetOrder:
    """A rank's order within a subset, translated to sample indices of the split as it is sliced."""

    def __init__(self, order: Order, indices: np.ndarray) -> None:
        self._order, self._indices = order, indices

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: slice) -> np.ndarray:
        samples = self._order[rows]
        return np.where(samples == PADDING, PADDING, self._indices[samples])
