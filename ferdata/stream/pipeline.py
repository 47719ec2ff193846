"""What stands behind a loader: the ring, the workers that fill it and the way to the device.

In: where an epoch begins, and this rank's partition. Out: filled batches in order. Memory: :data:`AHEAD_BYTES` of what
is being filled and what is ready, and the batches that a consumer may keep.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs.codec import image_shape
from ferdata.stream.device.transfer import Delivery, DeviceMover, PinnedRing
from ferdata.stream.fetch.fetcher import Fetcher
from ferdata.stream.fetch.memory import piece_memory
from ferdata.stream.memory.payloads import PayloadRing
from ferdata.stream.memory.resident import ResidentSplit
from ferdata.stream.memory.ring import HELD_BATCHES, Ring
from ferdata.stream.metrics import LoaderMetrics, Meter
from ferdata.stream.order.partition import Partition
from ferdata.stream.order.windows import Checked, Portion, Window, cut_portions, sort_samples
from ferdata.stream.source import BatchSource
from ferdata.stream.state import Position
from ferdata.stream.workers.job import SharedPlan
from ferdata.stream.workers.prefetch import Filling, Prefetcher
from ferdata.stream.workers.worker import ShardPool, Work
from ferdata.stream.workers.workers import ThreadWorkers, Workers

__all__ = ["Pipeline"]

AHEAD_BYTES = 160 << 20
"""Most bytes of batches that are being filled or are ready: enough for eight workers."""
PORTIONS_AHEAD = 2
"""Portions they come in: one is filled while another is consumed. Large ones have more neighbours, read together."""
JOBS_PER_WORKER = 2
"""Jobs that are in flight for each worker, at least."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is read at a time.

    Attributes:
        ahead: Batches that may be in the ring beside those that a consumer keeps.
        portion: Batches of a portion.
        job_samples: Most samples of a job.
    """

    ahead: int
    portion: int
    job_samples: int


def choose_sizes(window_batches: int, *, batch_size: int, row_bytes: int, num_workers: int) -> Sizes:
    """Return how much to read at a time: at most two windows ahead, and never more than a window at a time."""
    ahead = min(PORTIONS_AHEAD * window_batches, max(PORTIONS_AHEAD, AHEAD_BYTES // (batch_size * row_bytes)))
    portion = ahead // PORTIONS_AHEAD
    jobs = JOBS_PER_WORKER * max(1, num_workers)
    return Sizes(ahead, portion, min(portion * batch_size, max(1, ahead * batch_size // jobs)))


class Pipeline:
    """Fills the batches of one loader, an epoch at a time.

    Args:
        source: What is streamed.
        num_workers: Number of workers; at 0 the consumer decodes.
        kind: ``process`` or ``thread``.
        start_method: How processes start.
        persistent: Keep them from epoch to epoch.
        device: Where batches go.
        pin_memory: Page-lock the ring if they stay on the host.
        resident: The samples, if they are in memory; workers are then threads.
        payloads: int32 ``[N]``, bytes of every sample's payload, if these are to be decoded on the device.
    """

    def __init__(
        self,
        source: BatchSource,
        *,
        num_workers: int,
        kind: str,
        start_method: str | None,
        persistent: bool,
        device: torch.device,
        pin_memory: bool,
        resident: ResidentSplit | None = None,
        payloads: np.ndarray | None = None,
    ) -> None:
        index, order = source.index, source.order
        self._source, self._order, self.meter = source, order, Meter(source.opened.patience)
        row_bytes, is_shared = index.spec.num_bytes, num_workers > 0 and kind == "process"
        # of the longest epoch there may be: there may be fewer ranks when one begins
        most_batches = replace(source.partition, rank=0, world_size=1).num_batches()
        self._sizes = sizes = choose_sizes(
            min(order.window_samples // order.batch_size, most_batches),
            batch_size=order.batch_size,
            row_bytes=row_bytes,
            num_workers=num_workers,
        )
        slots: Any = {
            "num_slots": sizes.ahead + HELD_BATCHES,
            "batch_size": order.batch_size,
            "between_processes": is_shared,
        }
        self.ring = (
            Ring(row_bytes=row_bytes, **slots)
            if payloads is None
            else PayloadRing(sizes=payloads, spec=index.spec, **slots)
        )
        self._fetcher: Fetcher | None = None
        if resident is None and not source.opened.is_local:
            pieces = piece_memory(source.opened, order.window_samples, between_processes=is_shared)
            self._fetcher = Fetcher(source.opened, pieces, leaves_whole=True)
        plan = SharedPlan(
            region_samples=sizes.portion * order.batch_size,
            num_regions=4 * PORTIONS_AHEAD,  # those that end a window are short
            num_workers=max(1, num_workers),
            between_processes=is_shared,
            is_fetched=self._fetcher is not None,
        )
        work = Work(
            opened=source.opened,
            memory=self.ring.memory,
            plan=plan,
            resident=resident,
            are_payloads=payloads is not None,
            sources=None if self._fetcher is None else self._fetcher.memory.sources(),
        )
        options: Any = {"num_workers": num_workers, "persistent": persistent}
        self.workers: Workers
        if is_shared:
            from ferdata.stream.workers.processes import ProcessWorkers  # not on Windows

            self.workers = ProcessWorkers(work, start_method=start_method, **options)
        else:
            self.workers = (ThreadWorkers if num_workers else Workers)(work, **options)
        if self._fetcher is not None:
            self._fetcher.wake = self.workers.wake
        shape = None if payloads is None else image_shape(index.spec)
        self._mover: DeviceMover | None = None
        if device.type != "cpu" or shape is not None:
            self._mover = DeviceMover(device, self.ring, shape=shape, refuse=self._refuse, meter=self.meter)
        self._pinned = PinnedRing(self.ring) if pin_memory and device.type == "cpu" else None
        self._resident = resident
        self._records = ShardPool(source.opened)
        self._checked = Checked(len(source.table), always=source.verify_always)
        self._num_workers = num_workers
        self._persistent, self._reads_ahead = persistent and num_workers > 0, False
        self._prefetcher: Prefetcher | None = None
        self._prefetched_for: Position | None = None

    @property
    def ring_bytes(self) -> int:
        """Bytes of the ring."""
        return self.ring.memory.num_bytes

    @property
    def resident_bytes(self) -> int:
        """Bytes of samples that are in memory."""
        return 0 if self._resident is None else self._resident.num_bytes

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
        self._source.opened.patience.end()
        self._source.table.close()
        self.workers.close()
        if self._fetcher is not None:
            self._fetcher.close()
            self.workers.wake()
        self._records.close()
        if self._resident is not None:
            self._resident.close()
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
            if self._fetcher is not None:
                self._fetcher.begin(start.epoch)
                windows = self._fetcher.follow(windows)
            prefetcher = self._prefetcher = Prefetcher(
                self._portions(windows),
                self.ring,
                self.workers,
                job_samples=self._sizes.job_samples,
                verify=self._checked.needs,
                fetcher=self._fetcher,
            )
        else:
            self.workers.check_alive()
        batch_size = self._order.batch_size
        window: Window | None = None
        try:
            for filling in prefetcher.fillings(start.epoch):
                self._wait_for(filling, prefetcher)
                portion = filling.portion
                if portion.window is not window:
                    window = portion.window
                    # for the whole window at once: torch takes 20 µs a call, however small
                    values = self._source.table.values(self._source.fields, window.samples, self._records.read_records)
                for number in range(portion.first_batch, portion.first_batch + portion.num_batches):
                    rows = slice(number * batch_size, (number + 1) * batch_size)
                    images = self._images(filling.slots.popleft(), window.samples[rows])
                    columns = {name: column[rows] for name, column in values.items()}
                    yield Delivery(images, columns, window.first_batch + number, window.samples[rows])
                    del images
                    prefetcher.fill()
            self.workers.check_alive()  # the others may have done the work of a dead one
            if is_current() and self._reads_ahead:
                self._prefetched_for = Position(epoch=start.epoch + 1, world_size=partition.world_size)
            self._reads_ahead = self._persistent
        finally:
            if is_current():
                self.workers.finish()
                if self._fetcher is not None and self._prefetched_for is None:
                    self._fetcher.finish()

    def _portions(self, windows: Iterator[Window]) -> Iterator[Portion]:
        for window in windows:
            self._source.table.expect(window.samples)
            yield from cut_portions(window, batch_size=self._order.batch_size, batches=self._sizes.portion)

    def _wait_for(self, filling: Filling, prefetcher: Prefetcher) -> None:
        """Take acknowledgements until the oldest portion is filled; an error is raised with its portion, not before."""
        start = time.perf_counter()
        prefetcher.dispatch()
        while filling.missing and filling.error is None:
            for ack in self.workers.receive():
                prefetcher.acknowledge(ack)
            prefetcher.dispatch()
        if filling.error is not None:
            raise filling.error
        self._checked.note(filling.portion.samples)
        self.meter.consumer_wait_seconds += time.perf_counter() - start
        self.meter.bytes_read += filling.num_bytes
        self.meter.busy_seconds += filling.busy_ns / 1e9

    def _images(self, slot: int, samples: np.ndarray) -> torch.Tensor:
        """Return a filled slot's batch: the ring's own memory, or a copy if the consumer keeps too many."""
        filled = self.ring.complete(slot, samples)
        shape = filled.shape if filled.ndim == 1 else (len(samples), *self._source.index.spec.shape)
        if self.ring.num_leased < HELD_BATCHES:
            return torch.from_numpy(self.ring.lend(slot, shape))
        images = torch.from_numpy(filled.copy().reshape(shape))
        self.ring.give_back(slot)
        self.meter.copied_batches += 1
        return images

    def _refuse(self, samples: np.ndarray) -> NoReturn:
        """Raise the error for samples that could not be decoded on the device: what the reader finds when it tries."""
        ordered, rows = sort_samples(samples)
        self._records.read_rows(
            ordered, np.empty((len(samples), self._source.index.spec.num_bytes), np.uint8), rows, verify=True
        )
        raise ShardCorruptError(
            f"{self._source.opened.where}: samples {samples[:8].tolist()} were damaged on their way to "
            "the device, expected what their shards hold; load the last state, and test this machine's memory if it "
            "happens again"
        )
