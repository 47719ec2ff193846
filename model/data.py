"""What a step is fed with: each rank's rows of the global batch, and where they stand in the epoch.

In: options and ranks. Out: :class:`StepBatch` after :class:`StepBatch`, and loaders for evaluation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.stream import Loader
from model.distributed import Ranks
from model.options import TrainOptions

__all__ = ["StepBatch", "TrainData", "open_evaluation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatch:
    """One rank's part of one step.

    Attributes:
        images: uint8 ``[n, 3, H, W]``.
        labels: int64 ``[n]``.
        values: float ``[n, 2]`` valence and arousal, NaN where unknown; None where they are not trained.
        positions: int64 ``[n]``, places in the epoch's global order: the same for any number of ranks.
        epoch: Counted from 0.
    """

    images: torch.Tensor
    labels: torch.Tensor
    values: torch.Tensor | None
    positions: np.ndarray
    epoch: int

    def pieces(self, count: int) -> "list[StepBatch]":
        """Return the batch in ``count`` equal pieces."""
        size = len(self.images) // count
        return [self._rows(slice(first, first + size)) for first in range(0, size * count, size)]

    def _rows(self, rows: slice) -> "StepBatch":
        return StepBatch(
            images=self.images[rows],
            labels=self.labels[rows],
            values=None if self.values is None else self.values[rows],
            positions=self.positions[rows],
            epoch=self.epoch,
        )


class TrainData:
    """The train split, dealt to ranks.

    With ``deal="rows"`` every rank streams the whole global batch and takes its rows, so that the steps are those of one process.
    With ``deal="windows"`` each rank streams windows of its own, which costs each less and makes other (equally random) batches.

    Args:
        options: The run's settings.
        ranks: This process among those of the run.

    Raises:
        OptionError: If the batch does not divide among ranks and pieces.
    """

    def __init__(self, options: TrainOptions, ranks: Ranks) -> None:
        share = ranks.world_size * options.accumulate
        if options.batch_size % share:
            raise OptionError(
                f"batch_size: {options.batch_size} found, expected a multiple of {ranks.world_size} ranks x {options.accumulate} pieces, "
                f"since it counts the samples of a whole step; use {max(1, options.batch_size // share) * share}"
            )
        assert options.shards is not None
        self._by_rows = options.deal == "rows"
        self._ranks = ranks
        self._batch_size = options.batch_size
        self.rank_samples = options.batch_size // ranks.world_size
        self.piece_samples = self.rank_samples // options.accumulate
        self._fields = ("images", "labels", *(("valence", "arousal") if options.valence_arousal else ()))
        self.loader = Loader(
            options.shards,
            split="train",
            batch_size=options.batch_size if self._by_rows else self.rank_samples,
            num_workers=options.num_workers,
            seed=options.seed,
            fields=self._fields,
            sampling=options.sampling,
            memory_bytes=options.memory_bytes,
            rank=0 if self._by_rows else ranks.rank,
            world_size=1 if self._by_rows else ranks.world_size,
            device=ranks.device,
        )
        limit = len(self.loader) if options.limit is None else max(1, options.limit // options.batch_size)
        self.steps_per_epoch = min(len(self.loader), limit)

    def epoch(self, epoch: int, first_step: int) -> Iterator[StepBatch]:
        """Yield the batches of an epoch from ``first_step`` on; what a loaded state has left of it is what is read."""
        self.loader.set_epoch(epoch)
        steps_left = self.steps_per_epoch - first_step
        for step, batch in enumerate(islice(self.loader, steps_left), first_step):
            yield self._own_part(batch, step, epoch)

    def _own_part(self, batch: Any, step: int, epoch: int) -> StepBatch:
        first = self._ranks.rank * self.rank_samples
        rows = slice(first, first + self.rank_samples) if self._by_rows else slice(None)
        values = torch.stack([batch.valence, batch.arousal], 1)[rows] if "valence" in self._fields else None
        start = step * self._batch_size + first
        return StepBatch(
            images=batch.images[rows],
            labels=batch.labels[rows],
            values=values,
            positions=np.arange(start, start + self.rank_samples),
            epoch=epoch,
        )


def open_evaluation(options: TrainOptions, ranks: Ranks, split: str, *, batch_size: int) -> Loader:
    """Return a loader of a split in reading order, each sample on exactly one rank; the last batches are padded and masked."""
    assert options.shards is not None
    return Loader(
        options.shards,
        split=split,
        batch_size=batch_size,
        num_workers=options.num_workers,
        shuffle="none",
        fields=("images", "labels", "valence", "arousal", "mask", "keys"),
        memory_bytes=options.memory_bytes,
        rank=ranks.rank,
        world_size=ranks.world_size,
        device=ranks.device,
    )
