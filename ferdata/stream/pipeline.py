"""What stands behind a loader: the ring, the workers that fill it and the way to the device.

In: where an epoch begins, and this rank's partition. Out: filled batches in order. Memory: two windows of batches and
a few more.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ferdata.format import DatasetIndex
from ferdata.store import Store
from ferdata.stream.batch import SampleTable
from ferdata.stream.device.transfer import Delivery, DeviceMover, PinnedRing
from ferdata.stream.memory.ring import HELD_BATCHES, Ring
from ferdata.stream.metrics import LoaderMetrics, Meter
from ferdata.stream.order.partition import Partition
from ferdata.stream.order.sequence import OrderOptions
from ferdata.stream.order.windows import Checked
from ferdata.stream.state import Position
from ferdata.stream.workers.prefetch import Filling, Prefetcher
from ferdata.stream.workers.processes import Workers
from ferdata.stream.workers.worker import ShardPool

__all__ = ["Pipeline"]

JOBS_PER_WORKER = 4
"""Jobs that each worker's part of a window is cut into: few, since each wakes the consumer's process, but enough that
workers end together.
"""


class Pipeline:
    """Fills the batches of one loader, an epoch at a time.

    Args:
        root: The data set's folder.
        index: Its index.
        split: The split.
        table: The split's columns.
        fields: What a batch holds.
        order: The order's options.
        most_batches: Batches of the longest epoch that this loader may read.
        num_workers: Worker processes; 0 decodes in this process.
        start_method: How they start.
        persistent: Keep them from epoch to epoch.
        verify_always: Verify raw pixels at every read.
        device: Where batches go.
        pin_memory: Page-lock the ring if they stay on the host.
    """

    def __init__(
        self,
        *,
        root: str,
        index: DatasetIndex,
        split: str,
        table: SampleTable,
        fields: Sequence[str],
        order: OrderOptions,
        most_batches: int,
        num_workers: int,
        start_method: str | None,
        persistent: bool,
        verify_always: bool,
        device: torch.device,
        pin_memory: bool,
    ) -> None:
        self._shape, self._table, self._fields, self._order = index.spec.shape, table, fields, order
        window_batches = min(order.window_samples // order.batch_size, most_batches)
        window_samples = window_batches * order.batch_size
        self.ring = Ring(
            num_slots=2 * window_batches + HELD_BATCHES, batch_size=order.batch_size, row_bytes=index.spec.num_bytes
        )
        self.workers = Workers(
            root=root,
            index=index,
            split=split,
            memory=self.ring.memory,
            num_workers=num_workers,
            window_samples=window_samples,
            job_samples=-(-window_samples // (JOBS_PER_WORKER * max(1, num_workers))),
            start_method=start_method,
            persistent=persistent,
        )
        self._mover = None if device.type == "cpu" else DeviceMover(device, self.ring)
        self._pinned = PinnedRing(self.ring) if pin_memory and self._mover is None else None
        self._records = ShardPool(Store(root), index, split)
        self._checked = Checked(len(table), always=verify_always)
        self.meter = Meter()
        self._num_workers = num_workers
        self._persistent, self._reads_ahead = persistent and num_workers > 0, False
        self._prefetcher: Prefetcher | None = None
        self._prefetched_for: Position | None = None

    def batches(self, start: Position, partition: Partition, is_current: Callable[[], bool]) -> Iterator[Delivery]:
        """Return the batches from ``start`` to the end of its epoch, as windows fill up, on the device they go to.

        Args:
            start: Where to begin.
            partition: This rank's part of every epoch.
            is_current: Tells whether nothing newer has been asked for.
        """
        self.meter.restart()
        deliveries = self._deliveries(start, partition, is_current)
        return deliveries if self._mover is None else self._mover.ahead(deliveries)

    def metrics(self) -> LoaderMetrics:
        """Return the figures of the current epoch."""
        return self.meter.snapshot(
            num_workers=self._num_workers,
            ring_slots=self.ring.num_slots,
            ring_free=self.ring.num_free,
            window_samples=self._order.window_samples,
        )

    def close(self) -> None:
        """Stop the workers and unlock the ring; batches that are still held stay valid."""
        self._prefetcher = self._prefetched_for = None
        self.workers.close()
        self._records.close()
        for memory in (self._mover, self._pinned):
            if memory is not None:
                memory.close()

    def _deliveries(self, start: Position, partition: Partition, is_current: Callable[[], bool]) -> Iterator[Delivery]:
        prefetcher = self._prefetcher if self._prefetched_for == start else None
        self._prefetched_for = None
        if prefetcher is None:
            self.ring.reclaim()
            self.workers.begin()
            windows = partition.windows(start, ahead=self._reads_ahead)
            prefetcher = self._prefetcher = Prefetcher(windows, self.ring, self.workers, verify=self._checked.needs)
        else:
            self.workers.check_alive()
        batch_size = self._order.batch_size
        try:
            for filling in prefetcher.windows(start.epoch):
                self._wait_for(filling, prefetcher)
                window = filling.window
                # for the whole window at once: torch takes 20 µs a call, however small
                values = self._table.values(self._fields, window.samples, self._records.read_records)
                for number in range(window.num_batches):
                    rows = slice(number * batch_size, (number + 1) * batch_size)
                    images = self._images(filling.slots.popleft(), window.samples[rows])
                    yield Delivery(
                        images, {name: column[rows] for name, column in values.items()}, window.first_batch + number
                    )
                    prefetcher.fill()
            self.workers.check_alive()  # the others may have done the work of a dead one
            if is_current() and self._reads_ahead:
                self._prefetched_for = Position(epoch=start.epoch + 1, world_size=partition.world_size)
            self._reads_ahead = self._persistent
        finally:
            if is_current():
                self.workers.finish()

    def _wait_for(self, filling: Filling, prefetcher: Prefetcher) -> None:
        """Take acknowledgements until the oldest window is filled; an error is raised with its window, not before."""
        start = time.perf_counter()
        while filling.missing and filling.error is None:
            for ack in self.workers.acknowledgements():
                prefetcher.acknowledge(ack)
        if filling.error is not None:
            raise filling.error
        self._checked.note(filling.window)
        self.meter.consumer_wait_seconds += time.perf_counter() - start
        self.meter.bytes_read += filling.num_bytes
        self.meter.busy_seconds += filling.busy_ns / 1e9

    def _images(self, slot: int, indices: np.ndarray) -> torch.Tensor:
        """Return a filled slot's batch: the ring's own memory, or a copy if the consumer keeps too many."""
        shape = (len(indices), *self._shape)
        first = slot * self._order.batch_size
        rows = self.ring.rows[first : first + len(indices)]
        if indices[-1] < 0:
            rows[indices < 0] = 0
        if self.ring.num_leased < HELD_BATCHES:
            return torch.from_numpy(self.ring.lend(slot, shape))
        images = torch.from_numpy(rows.copy().reshape(shape))
        self.ring.give_back(slot)
        self.meter.copied_batches += 1
        return images
