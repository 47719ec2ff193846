"""The loader: batches at memory speed, filled by worker processes or threads.

In: a data set folder. Out: named tuples of uint8 images and labels, in an order that is arithmetic. Workers decode
straight into recycled shared memory; what travels between processes is a few integers per job. Memory:
some 160 MB, and the four batches that a consumer may keep.
"""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, Unpack

import torch

from ferdata.errors import OptionError, StateError
from ferdata.mixing import Roots
from ferdata.parallel import check_workers, usable_cores
from ferdata.stream.datasets import ShardDataset
from ferdata.stream.device.resident import DevicePipeline, DeviceSplit, decodes_itself
from ferdata.stream.memory.payloads import decodes_payloads, payload_sizes
from ferdata.stream.memory.resident import ResidentSplit
from ferdata.stream.metrics import LoaderMetrics
from ferdata.stream.options import StreamOptions, passing_on
from ferdata.stream.order.sequence import check_whole_number
from ferdata.stream.pipeline import Pipeline
from ferdata.stream.source import BatchSource
from ferdata.stream.state import EpochState, Position
from ferdata.stream.workers.workers import choose_kind

__all__ = ["Loader"]


@passing_on(BatchSource)
class Loader:
    """Streams one split of a data set, batch by batch; iterate it once per epoch, like a ``DataLoader``.

    Each iteration is one epoch and moves on to the next. A batch is a named tuple of ``fields``; its memory is reused
    once nothing refers to it, so keeping batches is safe (beyond four of them they are copied to fresh memory). From
    the second epoch on, persistent workers read the next epoch's first window while one ends;
    reading a split once costs reading it once.

    Args:
        root: Folder or fsspec URL of a data set that ``shard`` has finished; a list of several, or a dict of several
            and their weights: ``{"shards/affectnet": 0.7, "shards/rafdb": 0.3}``. Their classes are united by name.
        split: ``train``, ``val`` or ``test``, which every set must have.
        indices: Sample indices to read instead of the whole split, each at most once; their order does not matter.
        where: Read only samples for which this is true: comparisons of columns of ``samples.parquet`` with numbers,
            texts or lists of them, joined by ``and``, ``or`` and ``not``; class names may stand for labels: ``"valence
            > 0 and label in ('Happy', 'Sad')"``. A sample without a value is left out, except by ``valence is None``.
            With ``indices``, both must hold. Labels stay the same.
        batch_size: Samples per batch, on this rank.
        num_workers: Workers of this rank; 0 decodes in the thread that iterates. None: one per core, at most 8.
        workers: ``"process"`` or ``"thread"``: what they are. Threads need no start and no shared memory, and slow down
            while the consumer's Python runs. None: processes wherever they can be had, so not on Windows, nor in a
            process that is a daemon.
        shuffle: ``"window"`` (or True): runs of neighbours are permuted over the whole split and the samples of each
            window are mixed; ``"full"``: an exact permutation; ``"none"`` (or False): reading order.
        seed: Seed of the order and of the batch transform.
        fields: What a batch holds, see :data:`ferdata.stream.FIELDS`.
        as_dict: Give batches as dicts of the fields, with images under ``pixel_values``, as Hugging Face's ``Trainer``
            takes them.
        sampling: ``"uniform"``, ``"balanced"`` over classes, or a weight per class name.
        draws: Samples per epoch under weighted sampling or mix ``"weights"``; None: as many as there are.
        mix: What an epoch of several sets is: ``"concat"``: every sample of every set once; ``"weights"``: ``draws``
            samples by the sets' weights; ``"smallest"`` or ``"largest"``: by weights, equal ones for a list, until the
            set that ends first or last was read once. None: ``"weights"`` for a dict, else ``"concat"``.
        resize: Height and width that all images are resized to as they are read, bilinear with antialiasing;
            ``"refuse"``: sets of different sizes are an error.
        classes: Names that labels are to be indices into, all of the sets' own among them, such as those of a network;
            None: those of the data set, or of all sets by name.
        drop_last: Leave out what does not fill a batch on every rank, other samples each epoch; False: the last batches
            are shorter, and the same number on every rank to one row, which is then padding. None: True when shuffling.
        window_samples: Samples that are mixed together; rounded to whole batches and bounded by ``memory_bytes``. None:
            as many as 32 runs of up to 8 MiB in a shard hold, at least 2,048 and at most 16,384.
        memory_bytes: Bounds windows: two of them and a few batches fit it, which bounds the ring and what is fetched
            ahead.
        rank: This process's rank; None: from ``torch.distributed``, else ``RANK``, else 0, looked up again when an
            epoch begins.
        world_size: Number of ranks; None: likewise from ``WORLD_SIZE``, else 1.
        transform: Called with uint8 images ``[N, 3, H, W]`` and, if it takes a second argument, a
            :class:`BatchContext`; returns a tensor.
        device: Where images and labels go; on ``cuda`` the ring is page-locked and copies run on a side stream.
        pin_memory: Page-lock the ring, for a consumer that copies to CUDA by itself.
        start_method: ``fork``, ``forkserver`` or ``spawn``; None: Python's own default.
        persistent: Keep workers from epoch to epoch.
        resident: Load the samples (all, or those of ``indices`` and ``where``; on every rank) into memory once, with
            every checksum verified: ``compact`` stays as it is stored, any other codec is decoded once, to pixels. With
            another ``device`` it is that one's memory, batches are decoded there, and there are no workers; else
            they are threads. Order, bits and state are those of any loader. Only the fields of records read shards.
        decode: Where images of ``compact`` are decoded. ``"host"``: by the workers. ``"device"``: on ``device``, which
            they reach as they are stored, in 0.4 to 0.5 of the bytes, through a ring of payloads in place of pixels;
            workers only copy and verify. Batches, order and state are the same. ``raw`` is decoded nowhere.
        verify: For ``raw`` and ``compact``, ``"first"`` verifies what this loader has not read before, and in every
            epoch another 64th, so that later changes are found within 64 epochs; ``"always"`` verifies everything.
            Other codecs are always verified.
        patience: How many seconds a service behind a URL may be gone before iterating fails; meanwhile it is asked
            again, with growing pauses. None: 120, or what ``--patience`` said.
        cache: A folder in which what lies behind a URL is kept, for later epochs, other processes and other runs.
        cache_gb: Most gigabytes of that folder; what nobody uses goes, least recently used first. None: no limit.

    Raises:
        OptionError: If an option is out of range, there are too few samples for one batch on every rank, or what is to
            be resident does not fit.
        ShardMissingError, ShardCorruptError: If the data set is missing or damaged; iterating raises them too.
        WorkerError, StateError: While iterating: a worker died or could not start; the loader was iterated anew,
            or is another process's.

    A loader and its batches belong to the process that made it: in a forked one it refuses to iterate, and a batch that
    is passed to a forked process must be copied first, since the ring is reused.

    Example:
        >>> options = {"batch_size": 32, "num_workers": 1, "where": "label != 'Contempt'"}
        >>> with ferdata.Loader("shards/affectnet", **options) as loader:
        ...     for images, labels in loader:
        ...         assert images.shape == (32, 3, 32, 32) and labels.max() < 7
        ...     state = loader.state_dict()
        >>> len(loader), state["epoch"]
        (6, 1)
    """

    def __init__(
        self,
        root: Roots | Mapping[str, float],
        *,
        num_workers: int | None = None,
        workers: str | None = None,
        device: str | torch.device | None = None,
        pin_memory: bool = False,
        start_method: str | None = None,
        persistent: bool = True,
        resident: bool = False,
        decode: str = "host",
        **options: Unpack[StreamOptions],
    ) -> None:
        if start_method is not None and start_method not in multiprocessing.get_all_start_methods():
            raise OptionError(
                f"start_method: {start_method!r} found, expected one of {multiprocessing.get_all_start_methods()}"
            )
        self.num_workers = (
            min(8, usable_cores()) if num_workers is None else check_whole_number("num_workers", num_workers)
        )
        check_workers(self.num_workers, least=0)
        if resident and workers == "process":
            raise OptionError("workers: 'process' found with resident, expected 'thread', which shares memory as it is")
        self.workers = "thread" if resident else choose_kind(workers)
        self._source = source = BatchSource(root, **options)
        self.index, self.split, self.fields, self.order = source.index, source.split, source.fields, source.order
        self.batch_size, self.drop_last = self.order.batch_size, self.order.drop_last
        target = torch.device("cpu" if device is None else device)
        self.decodes_on_device = decodes_payloads(decode, source.opened, resident=resident)
        self._pipeline: Pipeline | DevicePipeline
        if resident and decodes_itself(target):
            self.num_workers = 0
            self._pipeline = DevicePipeline(source, DeviceSplit(source.shards(), target))
        else:
            self._pipeline = Pipeline(
                source,
                num_workers=self.num_workers,
                kind=self.workers,
                start_method=start_method,
                persistent=persistent,
                device=target,
                pin_memory=pin_memory,
                resident=ResidentSplit(source.shards()) if resident else None,
                payloads=payload_sizes(source.shards(), len(source.table)) if self.decodes_on_device else None,
            )
        self._epoch = EpochState.at(Position(epoch=0, world_size=self.world_size))
        self._process = os.getpid()

    @property
    def rank(self) -> int:
        """This process's rank."""
        return self._source.partition.rank

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self._source.partition.world_size

    @property
    def has_workers(self) -> bool:
        """Whether workers fill its batches, or would if there were any: not if they are made on a device."""
        return isinstance(self._pipeline, Pipeline)

    batch_sampler = None  # frameworks look for it next to the sampler

    @property
    def sampler(self) -> Self:
        """This loader, for frameworks that call ``sampler.set_epoch`` when an epoch begins."""
        return self

    @property
    def epoch(self) -> int:
        """The epoch being iterated, or the one the next iteration will be; counted from 0."""
        return self._epoch.start.epoch

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        return self.index.classes

    @property
    def set_names(self) -> tuple[str, ...]:
        """What its data sets are called, by ``set_index``: the last part of each root if that tells them apart."""
        return self._source.opened.names

    @property
    def set_counts(self) -> tuple[int, ...]:
        """How many samples of each data set an epoch has, over all ranks."""
        return self.order.set_draws or self._source.partition.extent.set_sizes

    @cached_property
    def dataset(self) -> ShardDataset:
        """The samples it reads: code written for ``DataLoader`` asks for its length, classes and targets."""
        return ShardDataset(
            self._source.opened.roots,
            resize=self._source.resize,
            patience=self._source.opened.patience.seconds,
            cache=self._source.cache,
            cache_gb=self._source.cache_gb,
            classes=self.classes,
            split=self.split,
            indices=self._source.partition.extent.indices,
            fields=self.fields,
        )

    @property
    def num_samples(self) -> int:
        """How many samples of the split are read."""
        return len(self._source.partition.extent)

    def class_counts(self) -> list[float]:
        """Return how many samples of each class an epoch has over all ranks, on average, if ``sampling`` is uniform."""
        return self._source.partition.class_counts(len(self.classes))

    def __len__(self) -> int:
        """Return the number of batches of an epoch on this rank, exactly; after a resume, including those before it.

        Frameworks that resume within an epoch count like this: they know how many batches they have seen.
        """
        self._join_ranks()
        phases = self._epoch.start.phases
        before = sum(phase.consumed for phase in phases) // self.batch_size
        return before + self._source.partition.num_batches(phases)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the next epoch, which begins with its first batch: frameworks call this to probe."""
        return self._batches()

    def __enter__(self) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise StateError(
            "loader: it belongs to the process that made it and cannot be sent on; make a loader in each process"
        )

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration the given epoch, from its start or from where a resume left this very epoch.

        Raises:
            OptionError: If it is below 0.
        """
        if epoch < 0:
            raise OptionError(f"epoch: {epoch} found, expected 0 or more")
        if epoch != self.epoch or self._epoch.has_begun:
            self._epoch = EpochState.at(Position(epoch=epoch, world_size=self.world_size))

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, in a few plain values; valid after any batch, the same on every rank."""
        return self._epoch.position.to_state(self._source.identity)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume exactly where a state was taken, on the same or another number of workers or ranks.

        Raises:
            StateError: If the state is of another data set, split, seed or order.
        """
        self._join_ranks()
        position = self._source.position(state)
        if position.consumed > self._source.partition.num_batches(position.phases) * self.batch_size:
            raise StateError(
                f"loader state: consumed {position.consumed} found, expected at most an epoch; take it from "
                "state_dict() of this ferdata"
            )
        self._epoch = EpochState.at(position)

    def resume(self) -> Self:
        """Have the next iteration go on where the last one was left, in place of the next epoch; return the loader.

        For a loop that was interrupted: ``for batch in loader.resume():`` gives the batches that were not handed out.
        """
        self._epoch = EpochState.at(self._epoch.position)
        return self

    def metrics(self) -> LoaderMetrics:
        """Return images/s, waits, bytes and ring occupancy of the current epoch; may be called while iterating."""
        return self._pipeline.metrics()

    def describe(self) -> str:
        """Return one line on what is streamed and how far the shuffle reaches."""
        noun = "threads" if self.workers == "thread" else "workers"
        resident = self._pipeline.resident_bytes
        counts = self.set_counts
        sets = f" of {len(counts)} sets ({' + '.join(f'{n:,}' for n in counts)} an epoch)" if len(counts) > 1 else ""
        codecs = ", ".join(dict.fromkeys(one.index.codec.name for one in self._source.opened.sets))
        held = f"resident {resident / 1e6:,.0f} MB, " if resident else ""
        held += "decoded on the device, " if self.decodes_on_device else ""
        span = min(self.order.window_samples, self.num_samples)
        reach = {
            "window": f"runs of {self.order.run_samples} permuted over all, {span:,} samples mixed at a time",
            "full": "an exact permutation of all",
            "none": "reading order",
        }
        return (
            f"{self.split}: {self.num_samples:,} samples{sets}, codec {codecs}, {self.num_workers} {noun}, "
            f"shuffle {self.order.shuffle} ({reach[self.order.shuffle]}), {held}ring "
            f"{self._pipeline.ring_bytes / 1e6:,.0f} MB"
        )

    def __repr__(self) -> str:
        rank = f"rank {self.rank} of {self.world_size}"
        return f"Loader({self._source.opened.root!r}): batches of {self.batch_size}, {rank}\n{self.describe()}"

    def close(self) -> None:
        """Stop the workers and unlock the ring; batches that are still held stay valid."""
        self._epoch = replace(self._epoch)
        self._pipeline.close()

    def _batches(self) -> Iterator[Any]:
        """Yield the batches of one epoch from the current position on, and keep the position."""
        self._check_process()
        if self._epoch.has_begun:
            self._epoch = EpochState.at(Position(epoch=self.epoch + 1, world_size=self.world_size))
        self._join_ranks(early=False)
        epoch = self._epoch = replace(self._epoch, has_begun=True)
        start = epoch.start
        try:
            for delivery in self._pipeline.batches(start, self._source.partition, lambda: epoch is self._epoch):
                images = self._source.transformed(delivery.images, epoch=start.epoch, number=delivery.number)
                position = replace(start, consumed=(delivery.number + 1) * self.batch_size)
                self._pipeline.meter.images += len(images)
                batch = self._source.batch(images, delivery.values)
                del delivery, images
                self._check_current(epoch)  # nobody filled what a thread waited for while another one closed the loader
                epoch.position = position  # last of all: no interrupt comes between this and handing the batch out
                yield batch
                del batch
                self._check_process()
                self._check_current(epoch)
        except Exception as error:
            if not isinstance(error, StateError):
                self._check_current(epoch, error)
            raise
        self._epoch = EpochState.at(Position(epoch=start.epoch + 1, world_size=self.world_size))

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise StateError(
                f"loader: it belongs to process {self._process} and this is {os.getpid()}, expected to be iterated "
                "where it was made; make a loader in each process"
            )

    def _check_current(self, epoch: EpochState, error: Exception | None = None) -> None:
        if epoch is not self._epoch:
            raise StateError(
                "this iteration was ended by a newer one or by close(), expected one iteration of a loader at a "
                "time; make two loaders"
            ) from error

    def _join_ranks(self, *, early: bool = True) -> None:
        """Look up the rank again, unless an epoch is in progress."""
        if not self._epoch.has_begun and self._source.join_ranks(early=early):
            state = self._epoch.position.to_state(self._source.identity)
            self._epoch = EpochState.at(self._source.position(state))
