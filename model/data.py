"""What a step is fed with: each rank's rows of the global batch, and where they stand in the epoch.

In: options and ranks. Out: :class:`StepBatch` after :class:`StepBatch`, and loaders for evaluation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.format import DatasetIndex, read_index
from ferdata.randomness import Stream
from ferdata.store import Store
from ferdata.strata import draw_stratified
from ferdata.stream import Loader
from ferdata.stream.batch import SampleTable
from ferdata.stream.device.resident import decodes_itself, free_bytes
from ferdata.stream.fitting import REFUSE
from ferdata.stream.memory.resident import LEFT_TO_OTHERS, resident_bytes
from ferdata.stream.sets import OpenSplit, open_split
from ferdata.training.cover import Cover, common_indices
from ferdata.training.options import TrainOptions
from ferdata.training.run.process_group import Ranks

__all__ = ["StepBatch", "TrainData", "held_splits", "open_evaluation", "resize_of", "roots_with"]


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

    def micro_batches(self, count: int) -> "list[StepBatch]":
        """Return ``count`` equal micro-batches; number k of all ranks together is number k of one process."""
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
    """The train split, assigned to ranks.

    With ``assign="rows"`` every rank streams the whole global batch and takes its rows, so that the steps are those of
    one process. With ``assign="windows"`` each rank streams windows of its own, which costs each less and makes other
    (equally random) batches.

    Args:
        options: The run's settings.
        ranks: This process among those of the run.

    Raises:
        OptionError: If the batch does not divide among ranks and micro-batches, is larger than the split or the limit,
            or no sample has the values a second head is asked for.
    """

    def __init__(self, options: TrainOptions, ranks: Ranks) -> None:
        share = ranks.world_size * options.accumulate
        if options.batch_size % share:
            raise OptionError(
                f"batch_size: {options.batch_size} found, expected a multiple of {ranks.world_size} ranks x "
                f"{options.accumulate} micro-batches, since it counts the samples of a whole step; "
                f"use {max(1, options.batch_size // share) * share}"
            )
        if options.limit is not None and options.limit < options.batch_size:
            raise OptionError(
                f"limit: {options.limit} found, expected at least the {options.batch_size} samples of a batch; "
                f"use a larger limit=, or batch_size={max(1, options.limit // share) * share}"
            )
        self.resize = resize_of(options)
        opened = open_split(options.roots, "train", resize=self.resize)
        index = opened.index
        samples = index.num_samples("train")
        if 0 < samples < options.batch_size:
            raise OptionError(
                f"{opened.where}: {samples} samples found, expected at least batch_size={options.batch_size} "
                f"for one step; use batch_size={max(1, samples // share) * share} or less"
            )
        self.covers = _read_covers(options, index)
        self.indices = common_indices([self.covers.get("train")])
        left = samples if self.indices is None else len(self.indices)
        if options.limit is not None and options.limit < left:
            usable = np.arange(samples) if self.indices is None else self.indices
            labels = SampleTable(opened, ()).labels()[usable]
            self.indices = usable[draw_stratified(labels, options.limit, Stream.TRAINING_LIMIT.seed(options.seed))]
        if options.valence_arousal and samples:
            _require_values(opened, self.indices)
        self._limit, self._samples = options.limit, left
        self._splits = [one.index.splits for one in opened.sets]
        self._by_rows = options.assign == "rows"
        self._accumulate = options.accumulate
        self._ranks = ranks
        self._batch_size = options.batch_size
        self.rank_samples = options.batch_size // ranks.world_size
        self.micro_batch_size = self.rank_samples // options.accumulate
        values = ("valence", "arousal") if options.valence_arousal else ()
        self._fields = ("images", "labels", *values, *(("indices",) if self.covers else ()))
        num_samples = samples if self.indices is None else len(self.indices)
        self.held = held_splits(options.resident, index, num_samples, ranks.device)
        self.loader = Loader(
            options.sets,
            split="train",
            mix=options.mix,
            resize=self.resize,
            indices=self.indices,
            batch_size=options.batch_size if self._by_rows else self.rank_samples,
            num_workers=options.num_workers,
            seed=options.seed,
            fields=self._fields,
            sampling=options.sampling or "balanced",
            memory_bytes=options.memory_bytes,
            resident="train" in self.held,
            decode="host" if self.held else options.decode,
            rank=0 if self._by_rows else ranks.rank,
            world_size=1 if self._by_rows else ranks.world_size,
            device=ranks.device,
        )
        self.class_counts = self.loader.class_counts()
        self.steps_per_epoch = len(self.loader)

    def describe(self) -> Iterator[str | None]:
        """Yield a sentence on each thing that is unlike all samples of one data set, streamed."""
        yield self._describe_sets()
        yield from (each.describe(split) for split, each in self.covers.items())
        yield from (self._describe_limit(), self._describe_held())

    def _describe_limit(self) -> str | None:
        """Return one sentence on what a limit takes, or None without one."""
        if self._limit is None:
            return None
        if self.indices is None or self._limit >= self._samples:
            return f"limit {self._limit:,}: train holds {self._samples:,} samples, so all of it is trained on"
        return (
            f"trained on {len(self.indices):,} of {self._samples:,} train samples, "
            "stratified by class and the same in every epoch"
        )

    def _describe_sets(self) -> str | None:
        """Return one sentence on what is mixed, or None for one data set."""
        counts, index = self.loader.set_counts, self.loader.index
        if len(counts) == 1:
            return None
        names = self.loader.set_names
        parts = [f"{count / sum(counts):.0%} of {name}" for name, count in zip(names, counts, strict=True)]
        lacking = [name for name, splits in zip(names, self._splits, strict=True) if "val" not in splits]
        note = f"; val is measured without {' and '.join(lacking)}" if lacking and "val" in index.splits else ""
        return f"{len(counts)} data sets: an epoch is {sum(counts):,} samples, {', '.join(parts)}{note}"

    def _describe_held(self) -> str | None:
        """Return one sentence on what is held in the device's memory, or None if nothing is."""
        if not self.held:
            return None
        if "val" in self.held:
            return f"resident: train and val are held in memory ({self._ranks.device})"
        streamed = "; val is streamed" if "val" in self.loader.index.splits else ""
        return f"resident: train is held in memory ({self._ranks.device}){streamed}"

    def epoch(self, epoch: int, first_step: int) -> Iterator[StepBatch]:
        """Yield the batches of an epoch from ``first_step`` on; what a loaded state has left of it is what is read."""
        self.loader.set_epoch(epoch)
        for step, batch in enumerate(self.loader, first_step):
            yield self._own_part(batch, step, epoch)

    def _own_part(self, batch: Any, step: int, epoch: int) -> StepBatch:
        values = torch.stack([batch.valence, batch.arousal], 1) if "valence" in self._fields else None
        positions = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        images = self._own_rows(batch.images) if self._by_rows else batch.images
        if self.covers:
            images = self.covers["train"](images, self._own_rows(batch.indices) if self._by_rows else batch.indices)
        return StepBatch(
            images=images,
            labels=self._own_rows(batch.labels) if self._by_rows else batch.labels,
            values=self._own_rows(values) if self._by_rows and values is not None else values,
            positions=self._own_rows(positions),
            epoch=epoch,
        )

    def _own_rows(self, rows: Any) -> Any:
        """Return this rank's rows of every micro-batch of a global batch, see :meth:`StepBatch.micro_batches`."""
        if self._ranks.world_size == 1:
            return rows
        parts = rows.reshape(self._accumulate, self._ranks.world_size, self.micro_batch_size, *rows.shape[1:])
        return parts[:, self._ranks.rank].reshape(self.rank_samples, *rows.shape[1:])


def held_splits(choice: str, index: DatasetIndex, samples: int, device: torch.device) -> tuple[str, ...]:
    """Return which splits to hold in the device's memory: train, or so many samples of it, and val if both fit.

    With ``yes``, train is held in any case, or the loader says what would fit. With ``auto``, only where batches are
    decoded on the device itself, and the network is left half of its free memory.
    """
    if choice == "no" or (choice == "auto" and not decodes_itself(device)):
        return ()
    free = free_bytes(device)
    room = 0.0 if free is None else free * (1 - LEFT_TO_OTHERS if choice == "yes" else 0.5)
    train, val = (
        resident_bytes(index, split, count) for split, count in (("train", samples), ("val", index.num_samples("val")))
    )
    if train > room and choice == "auto":
        return ()
    return ("train", "val") if "val" in index.splits and train + val <= room else ("train",)


def _require_values(opened: OpenSplit, indices: np.ndarray | None) -> None:
    """Look whether there is anything to train a head for valence and arousal with."""
    table = opened.table(["valence", "arousal"])
    values = np.stack([table.column(name).to_numpy() for name in ("valence", "arousal")], 1)
    values = values if indices is None else values[indices]
    if not np.isfinite(values.astype(np.float64)).any():
        raise OptionError(
            f"valence_arousal: none of the {len(values):,} train samples of {opened.root} ({opened.index.source}) has "
            "values, expected some; leave valence_arousal= out, or shard a data set that has them (AffectNet)"
        )


def resize_of(options: TrainOptions) -> str | int:
    """Return how the loader is to read images: of sets of different sizes, at the size that the network is to see.

    Those of one size are resized on the device, a batch at a time.
    """
    if options.size is None or len(options.roots) == 1:
        return REFUSE
    sizes = {read_index(Store(root)).spec.shape[1:] for root in options.roots}
    return REFUSE if len(sizes) == 1 else options.size


def roots_with(options: TrainOptions, split: str) -> tuple[str, ...]:
    """Return the folders or URLs of the data sets that have a split."""
    roots = options.roots
    return roots if len(roots) == 1 else tuple(root for root in roots if split in read_index(Store(root)).splits)


def _read_covers(options: TrainOptions, index: DatasetIndex) -> dict[str, Cover]:
    """Return what covers each split, if anything is to be covered: what a split lacks is found before training."""
    if options.region is None:
        return {}
    opened = {split: open_split(roots_with(options, split), split, resize=resize_of(options)) for split in index.splits}
    return {split: Cover.read(options.region, each, index.mean) for split, each in opened.items()}


def open_evaluation(
    options: TrainOptions,
    ranks: Ranks,
    split: str,
    *,
    classes: Sequence[str],
    resize: str | int,
    batch_size: int,
    indices: np.ndarray | None = None,
    resident: bool = False,
) -> Loader:
    """Return a loader of a split in reading order: each sample on one rank, the last batches padded and masked.

    Of several sets, those that have the split are read one after the other; all of them know the same classes.
    """
    return Loader(
        roots_with(options, split),
        split=split,
        classes=classes,
        resize=resize,
        indices=indices,
        batch_size=batch_size,
        num_workers=options.num_workers,
        shuffle="none",
        fields=("images", "labels", "valence", "arousal", "mask", "keys", "set_index", "indices"),
        memory_bytes=options.memory_bytes,
        resident=resident,
        decode="host" if resident else options.decode,
        rank=ranks.rank,
        world_size=ranks.world_size,
        device=ranks.device,
    )
