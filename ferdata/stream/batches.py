"""The loader's batches for those who bring their own ``DataLoader``: each of its workers makes every so-many-th batch.

In: a data set folder. Out: ready batches in the loader's own order, however many workers there are. Images without a
transform are not copied on their way: a worker builds them in memory that the consumer's process maps once.
"""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Unpack

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ferdata.errors import OptionError, StateError, WorkerError
from ferdata.format.table import BodyTable
from ferdata.mixing import Roots
from ferdata.stream.fetch.far_reader import FarReader
from ferdata.stream.fetch.memory import piece_memory
from ferdata.stream.memory.handoff import WorkerSlots, forget_ended
from ferdata.stream.options import StreamOptions, passing_on
from ferdata.stream.order.ranks import find_rank
from ferdata.stream.order.windows import Checked, Window, due, own_windows, sort_samples
from ferdata.stream.source import BatchSource
from ferdata.stream.state import Position
from ferdata.stream.workers.worker import ShardPool
from ferdata.stream.workers.workers import CAN_SHARE

__all__ = ["ShardBatches"]


@passing_on(BatchSource)
class ShardBatches(IterableDataset[Any]):
    """Iterable: the batches of a :class:`ferdata.Loader` for a ``DataLoader`` with ``batch_size=None``.

    The order and the options are the loader's; ``transform`` runs in the workers. Iterating does not move the epoch
    on, since workers are copies: call :meth:`set_epoch`. torchdata's ``StatefulDataLoader`` saves and resumes it within
    an epoch, with the same number of workers. A framework that distributes an iterable's items itself, as Accelerate
    does, must be given ``rank=0, world_size=1``.

    Example:
        >>> batches = ferdata.ShardBatches("shards/affectnet", batch_size=32, seed=1)
        >>> loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=2)
        >>> len(loader), sum(len(labels) for images, labels in loader)
        (6, 192)
    """

    def __init__(self, root: Roots | Mapping[str, float], **options: Unpack[StreamOptions]) -> None:
        self._source = BatchSource(root, **options)
        self._source.table.complete()
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu")
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # persistent workers see it too
        self._process = -1
        self._slots: WorkerSlots | None = None
        self._tables: dict[int, BodyTable] = {}
        weakref.finalize(self, forget_ended).atexit = False

    def __repr__(self) -> str:
        source, count = self._source, f"{len(self):,} batches"
        return f"ShardBatches({source.opened.root!r}, split={source.split!r}): {count}, shuffle {source.order.shuffle}"

    def __getstate__(self) -> dict[str, Any]:
        # Workers that are spawned or sent elsewhere cannot ask torch.distributed.
        self._source.given_rank = find_rank(*self._source.given_rank, early=True)
        return {**self.__dict__, "_process": -1, "_pool": None, "_checked": None, "_slots": None, "_tables": {}}

    def __len__(self) -> int:
        self._source.join_ranks(early=True)
        return self._source.partition.num_batches()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        return self._source.index.classes

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, in workers too.

        Raises:
            OptionError: If it is below 0.
        """
        if epoch < 0:
            raise OptionError(f"epoch: {epoch} found, expected 0 or more")
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Any]:
        self._source.join_ranks(early=False)
        if self._process != os.getpid():  # a forked worker reads with files and scratch memory of its own
            self._process = os.getpid()
            self._pool = ShardPool(self._source.opened)
            self._checked = Checked(len(self._source.table), always=self._source.verify_always)
            self._slots = None
        info = get_worker_info()
        if self._slots is None and info is not None and CAN_SHARE:
            with contextlib.suppress(WorkerError):  # without room for it, torch's own way will do
                self._slots = WorkerSlots(self._source.order.batch_size * self._source.index.spec.num_bytes)
        worker, num_workers = (0, 1) if info is None else (info.id, info.num_workers)
        far = None if self._source.opened.is_local else self._far_reader(num_workers)
        return _Iteration(self._source, self._read, self.epoch, worker, num_workers, far)

    def _far_reader(self, num_workers: int) -> FarReader:
        """Return what reads what lies behind a URL, a worker's part of each window ahead."""
        memory = piece_memory(self._source.opened, self._source.order.window_samples // num_workers)
        return FarReader(self._source.opened, memory, self._tables)

    def _read(
        self, samples: np.ndarray, epoch: int, window: Window | None, far: FarReader | None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return the images and the other fields of samples, int64 ``[n]``, of a window; -1 is padding."""
        source = self._source
        shape = (len(samples), *source.index.spec.shape)
        images = None if self._slots is None else self._slots.take(shape)
        if images is None:
            images = torch.empty(shape, dtype=torch.uint8, device="cpu")
        pixels = images.numpy().reshape(len(samples), -1)
        pixels[samples < 0] = 0
        ordered, rows = sort_samples(samples)
        verify = self._checked.needs(samples, epoch)
        parts = [(False, 0, len(ordered))]
        if far is not None and window is not None:
            order, parts = far.parts(window, ordered)
            ordered, rows = ordered[order], rows[order]
        for is_fetched, begin, end in parts:
            some, places = ordered[begin:end], rows[begin:end]
            if is_fetched and far is not None and window is not None:
                far.read_rows(window, some, pixels, places, verify=verify)
            else:
                self._pool.read_rows(some, pixels, places, verify=due(some, verify))
        self._checked.note(samples)
        return images, source.table.values(source.fields, samples, self._pool.read_records)


class _Iteration(Iterator[Any]):
    """One worker's batches of an epoch: every ``num_workers``-th, which a ``DataLoader`` puts in order again."""

    def __init__(
        self,
        source: BatchSource,
        read: Callable[[np.ndarray, int, Window | None, FarReader | None], tuple[torch.Tensor, dict[str, Any]]],
        epoch: int,
        worker: int,
        num_workers: int,
        far: FarReader | None,
    ) -> None:
        self._source, self._read, self._far = source, read, far
        if far is not None:
            weakref.finalize(self, far.close)
        self._worker, self._num_workers = worker, num_workers
        self._begin(epoch, worker)

    def _begin(self, epoch: int, number: int) -> None:
        self._epoch, self._number = epoch, number
        self._samples = self._source.partition.samples(epoch)
        order = self._source.order
        windows = own_windows(
            self._samples,
            batch_size=order.batch_size,
            window_samples=order.window_samples,
            first_batch=number,
            step=self._num_workers,
            epoch=epoch,
        )
        self._windows = iter(()) if self._far is None else self._far.begin(windows, epoch)
        self._window: Window | None = None
        self._left = 0

    def __next__(self) -> Any:
        batch_size = self._source.order.batch_size
        samples = self._samples[self._number * batch_size : (self._number + 1) * batch_size]
        if not len(samples):
            if self._far is not None:
                self._far.finish()
            raise StopIteration
        if not self._left:
            self._window = next(self._windows, None)
            self._left = 0 if self._window is None else self._window.num_batches
        self._left -= self._window is not None
        images, values = self._read(samples, self._epoch, self._window, self._far)
        images = self._source.transformed(images, epoch=self._epoch, number=self._number)
        self._number += self._num_workers
        return self._source.batch(images, values)

    def state_dict(self) -> dict[str, Any]:
        """Return where this worker is, in a few plain values."""
        consumed = self._number * self._source.order.batch_size
        position = Position(epoch=self._epoch, world_size=self._source.partition.world_size, consumed=consumed)
        return {**position.to_state(self._source.identity), "worker": [self._worker, self._num_workers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where this worker was.

        Raises:
            StateError: If the state is of another data set, order, worker or number of workers or ranks.
        """
        position = self._source.position(state)
        if position.phases or list(state.get("worker", ())) != [self._worker, self._num_workers]:
            raise StateError(
                f"batches state: world_size {state['world_size']}, worker {state.get('worker')} found, expected "
                f"{position.world_size}, {[self._worker, self._num_workers]}; resume with as many workers and ranks, "
                "or use ferdata.Loader, which takes any number of both"
            )
        self._begin(position.epoch, position.consumed // self._source.order.batch_size)
