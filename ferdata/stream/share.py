"""What one rank reads of a split. In: the split, the order, the rank. Out: orders, windows, exact numbers of batches. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ferdata.stream.order import OrderOptions, Phase, RankOrder, rank_batches, rank_order, remaining_samples
from ferdata.stream.plan import Window, cut_windows
from ferdata.stream.state import Position

__all__ = ["Share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One rank's part of every epoch.

    Attributes:
        shard_sizes: int64 ``[shards]``, samples per shard of the split.
        labels: ``[N]``, of any width.
        order: The order's options.
        rank: The rank, ``0 <= rank < world_size``.
        world_size: Number of ranks.
    """

    shard_sizes: np.ndarray
    labels: np.ndarray
    order: OrderOptions
    rank: int
    world_size: int

    @property
    def total(self) -> int:
        """Samples of an epoch over all ranks, padding left out."""
        return len(self.labels) if self.order.weights is None or self.order.draws is None else self.order.draws

    def num_batches(self, phases: Sequence[Phase] = ()) -> int:
        """Return the batches of this rank in what ``phases`` have left of an epoch."""
        return rank_batches(remaining_samples(self.total, self.order, phases), self.order, world_size=self.world_size)

    def samples(self, epoch: int, phases: Sequence[Phase] = ()) -> RankOrder | np.ndarray:
        """Return what this rank reads of what ``phases`` have left of an epoch, in order; -1 is padding. Slices are int64 ``[n]``."""
        place = {"epoch": epoch, "rank": self.rank, "world_size": self.world_size}
        return rank_order(self.shard_sizes, self.labels, self.order, phases=phases, **place)

    def windows(self, position: Position, *, ahead: bool) -> Iterator[Window]:
        """Yield the windows from a position to the end of its epoch and, when reading ahead, of all epochs after it."""
        sizes = {"batch_size": self.order.batch_size, "window_samples": self.order.window_samples}
        while True:
            samples = self.samples(position.epoch, position.phases)
            yield from cut_windows(samples, start=position.consumed, epoch=position.epoch, **sizes)
            if not ahead:
                return
            position = Position(epoch=position.epoch + 1, world_size=self.world_size)
