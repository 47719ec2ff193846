"""A split in a device's memory: gathered and decoded there, in the order that every loader has.

In: what is streamed. Out: batches made on the device. Costs as much memory there as the samples take in ``compact``,
or as their pixels in any other codec; after loading, only sample indices and columns go to the device.
"""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ferdata.errors import WorkerError
from ferdata.format import ShardReader
from ferdata.format.codecs.codec import image_shape
from ferdata.parallel import available_memory
from ferdata.stream.device.decode import decode
from ferdata.stream.device.transfer import Delivery, check_device
from ferdata.stream.memory.resident import SplitReader
from ferdata.stream.metrics import LoaderMetrics, Meter
from ferdata.stream.order.partition import Partition
from ferdata.stream.source import BatchSource
from ferdata.stream.state import Position
from ferdata.stream.workers.worker import ShardPool

__all__ = ["DevicePipeline", "DeviceSplit", "decodes_itself", "free_bytes"]

_GATHER_BYTES = 32 << 20
"""Pixels that are decoded in one go: where each byte of their payloads comes from takes eight bytes for a moment."""


def decodes_itself(device: torch.device) -> bool:
    """Tell whether batches are decoded by tensor operations where they are: the kernels are for processors."""
    return device.type != "cpu"


def free_bytes(device: torch.device) -> int | None:
    """Return how much of a device's memory is free; None if nothing tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return available_memory() if device.type == "cpu" else None


class DeviceSplit:
    """The samples of a split, or of some of its indices, in the memory of a device: payloads, or pixels.

    Attributes:
        bytes_read: Bytes of the samples that batches were made from.

    Raises:
        OptionError: If they do not fit, or the device is not there.
        ShardMissingError, ShardCorruptError: If a shard is missing or damaged.
    """

    def __init__(self, shards: SplitReader, device: torch.device) -> None:
        check_device(device)
        self.device, self.numbers = device, shards.numbers
        self._spec, self._is_pixels = shards.index.spec, shards.codec.is_copy
        sizes = shards.sizes(ShardReader.payload_bytes, free_bytes(device))
        self._stops = np.cumsum(sizes)
        self._starts = self._stops - sizes
        self._memory = torch.empty(int(sizes.sum()), dtype=torch.uint8, device=device)
        self._lock = threading.Lock()
        self.bytes_read = 0
        shards.read(self._fill)

    @property
    def num_bytes(self) -> int:
        """Bytes of memory it takes."""
        return len(self._memory)

    def images(self, samples: np.ndarray) -> torch.Tensor:
        """Return the images of samples, uint8 ``[n, C, H, W]``; -1 is padding, which is zeros.

        Raises:
            ShardCorruptError: If one cannot be decoded, though its checksum fits.
        """
        numbers = self.numbers(np.maximum(samples, 0))
        self.bytes_read += int((self._stops[numbers] - self._starts[numbers]).sum())
        if self._is_pixels:
            rows = torch.from_numpy(np.ascontiguousarray(numbers)).to(self.device)
            images = self._memory.view(-1, *self._spec.shape).index_select(0, rows)
        else:
            images = torch.empty((len(samples), *self._spec.shape), dtype=torch.uint8, device=self.device)
            size = max(1, _GATHER_BYTES // self._spec.num_bytes)
            for first in range(0, len(samples), size):
                payloads, offsets = self._gathered(numbers[first : first + size])
                decode(payloads, offsets, image_shape(self._spec), out=images[first : first + size])
        if samples[-1] < 0:
            images[torch.from_numpy(samples < 0).to(self.device)] = 0
        return images

    def close(self) -> None:
        """Let go of the memory."""
        self._memory = torch.empty(0, dtype=torch.uint8, device=self.device)

    def _gathered(self, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return payloads one after the other, and int64 ``[n + 1]`` where each begins, both on the device."""
        starts = self._starts[numbers]
        offsets = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(self._stops[numbers] - starts, out=offsets[1:])
        moved = torch.from_numpy(np.concatenate((offsets, starts - offsets[:-1]))).to(self.device)
        begins, shifts = moved[: len(offsets)], moved[len(offsets) :]
        total = int(offsets[-1])
        places = torch.repeat_interleave(shifts, begins.diff(), output_size=total)
        places += torch.arange(total, device=self.device)
        return self._memory.index_select(0, places), begins

    def _fill(self, reader: ShardReader, numbers: slice, positions: np.ndarray) -> None:
        """Read a shard's samples and move them to the device together."""
        start, stop = int(self._starts[numbers.start]), int(self._stops[numbers.stop - 1])
        host = np.empty(stop - start, np.uint8)
        if self._is_pixels:
            reader.read_rows(positions, host.reshape(len(positions), -1), np.arange(len(positions)))
        else:
            reader.read_payloads(positions, host, self._starts[numbers] - start)
        with self._lock:
            self._memory[start:stop] = torch.from_numpy(host)


class DevicePipeline:
    """Makes the batches of one loader on a device; the counterpart of ``Pipeline``, without workers and without a ring.

    Args:
        source: What is streamed.
        split: Its samples.
    """

    ring_bytes = 0

    def __init__(self, source: BatchSource, split: DeviceSplit) -> None:
        self._source, self._split = source, split
        source.table.complete()
        self._records = ShardPool(source.opened)
        self._is_closed = False
        self.meter = Meter(source.opened.patience)

    @property
    def resident_bytes(self) -> int:
        """Bytes of samples that are in the device's memory."""
        return self._split.num_bytes

    def batches(self, start: Position, partition: Partition, is_current: Callable[[], bool]) -> Iterator[Delivery]:
        """Return the batches from ``start`` to the end of its epoch; see ``Pipeline.batches``."""
        if self._is_closed:
            raise WorkerError("loader: it was closed, expected an open one; make a new loader")
        self.meter.restart()
        self._split.bytes_read = 0
        return self._deliveries(start, partition)

    def metrics(self) -> LoaderMetrics:
        """Return the figures of the current epoch."""
        self.meter.bytes_read = self._split.bytes_read
        window_samples = self._source.order.window_samples
        return self.meter.snapshot(num_workers=0, ring_slots=0, ring_free=0, window_samples=window_samples)

    def close(self) -> None:
        """Let go of the split; batches that are still held stay valid."""
        self._is_closed = True
        self._records.close()
        self._split.close()

    def _deliveries(self, start: Position, partition: Partition) -> Iterator[Delivery]:
        source, device, batch_size = self._source, self._split.device, self._source.order.batch_size
        for window in partition.windows(start, ahead=False):
            values = source.table.values(source.fields, window.samples, self._records.read_records)
            moved = {name: one.to(device) if isinstance(one, torch.Tensor) else one for name, one in values.items()}
            for number in range(window.num_batches):
                began = time.perf_counter()
                rows = slice(number * batch_size, (number + 1) * batch_size)
                images = self._split.images(window.samples[rows])
                columns = {name: column[rows] for name, column in moved.items()}
                self.meter.consumer_wait_seconds += time.perf_counter() - began
                yield Delivery(images, columns, window.first_batch + number, window.samples[rows])
                del images, columns
