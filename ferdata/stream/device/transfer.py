"""Moves batches to another device: on CUDA from page-locked memory, on a stream of their own, one batch ahead.

In: batches in the ring, or their payloads. Out: the same batches on the device, where payloads are decoded. If no
device is asked for, nothing here runs.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.stream.device.decode import undo
from ferdata.stream.memory.ring import Ring, SharedBytes
from ferdata.stream.metrics import Meter

__all__ = ["Delivery", "DeviceMover", "PinnedRing", "check_device"]


@dataclass(slots=True)
class Delivery:
    """A batch on its way to the consumer.

    Attributes:
        images: uint8 ``[N, 3, H, W]``; before they are decoded, the bytes of their slot in a ``PayloadRing``.
        values: The other fields.
        number: Number of the batch in the rank's epoch.
        samples: int64 ``[N]``, which of the split they are; -1 is padding.
    """

    images: torch.Tensor
    values: dict[str, Any]
    number: int
    samples: np.ndarray


class PinnedRing:
    """The ring's memory, page-locked so that the device can read it while the processor works."""

    def __init__(self, ring: Ring) -> None:
        if not torch.cuda.is_available():
            raise OptionError(
                "pin_memory: this torch sees no CUDA device, expected one; leave pin_memory off on this machine"
            )
        ring.memory.populate()  # what is locked can't be moved to huge pages any more
        if int(torch.cuda.cudart().cudaHostRegister(ring.address, ring.rows.nbytes, 0)):
            raise OptionError(
                f"pin_memory: {ring.rows.nbytes / 1e6:,.0f} MB could not be page-locked; "
                "raise the limit on locked memory or lower memory_bytes"
            )
        # Runs at the latest when nothing refers to this object: memory freed while locked could not be locked again.
        # Until then it keeps the memory alive.
        self.close = weakref.finalize(self, _unlock, ring.memory, ring.address)
        self.close.atexit = False  # the driver may be gone by then


class DeviceMover:
    """Moves batches to a device.

    Args:
        device: The target.
        ring: Where the batches are; page-locked for a CUDA device.
        shape: ``(C, H, W)`` of the images, if the ring holds payloads, which are then decoded on the device.
        refuse: Called with samples whose payloads can't be decoded; it raises the error.
        meter: Counts how long the consumer waits here.
    """

    def __init__(
        self,
        device: torch.device,
        ring: Ring,
        *,
        shape: tuple[int, int, int] | None = None,
        refuse: Callable[[np.ndarray], NoReturn],
        meter: Meter,
    ) -> None:
        check_device(device)
        self._device, self._shape, self._refuse, self._meter = device, shape, refuse, meter
        self._pinned = PinnedRing(ring) if device.type == "cuda" else None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._sources: deque[tuple[torch.cuda.Event, torch.Tensor]] = deque()

    def ahead(self, deliveries: Iterator[Delivery]) -> Iterator[Delivery]:
        """Yield the deliveries on the device; the next one's copy is always in progress."""
        waiting: tuple[Delivery, Callable[[], None]] | None = None
        error: Exception | None = None
        while True:
            try:
                delivery = next(deliveries, None)
            except Exception as raised:  # what came before it is handed out first
                delivery, error = None, raised
            began = time.perf_counter()
            moved = None if delivery is None else self._start(delivery)
            del delivery
            if waiting is not None:
                waiting[1]()
                self._meter.consumer_wait_seconds += time.perf_counter() - began
                yield waiting[0]
            if error is not None:
                raise error
            if moved is None:
                return
            waiting = moved

    def close(self) -> None:
        """Wait for copies in progress and unlock the ring."""
        if self._stream is not None:
            self._stream.synchronize()
        self._sources.clear()
        if self._pinned is not None:
            self._pinned.close()

    def _start(self, delivery: Delivery) -> tuple[Delivery, Callable[[], None]]:
        """Start a copy; the second value is a function that makes the consumer's stream wait for it.

        If payloads were decoded, that function waits itself until the device has told which of them are sound: the
        work was started a batch ago, and what comes after it in the stream is not waited for.
        """
        if self._stream is None:
            moved, sound = self._moved(delivery)
            return moved, partial(self._check, sound, delivery.samples)
        stream = self._stream
        while self._sources and self._sources[0][0].query():
            self._sources.popleft()
        with torch.cuda.stream(stream):
            moved, sound = self._moved(delivery)
            done = torch.cuda.Event(blocking=True)  # whoever waits for it leaves the core to workers
            done.record(stream)
        self._sources.append((done, delivery.images))

        def wait() -> None:
            consumer = torch.cuda.current_stream(self._device)
            consumer.wait_event(done)
            for value in (moved.images, *moved.values.values()):
                if isinstance(value, torch.Tensor):
                    value.record_stream(consumer)
            if sound is not None:
                done.synchronize()
            self._check(sound, moved.samples)

        return moved, wait

    def _moved(self, delivery: Delivery) -> tuple[Delivery, torch.Tensor | None]:
        """Return a delivery on the device; of payloads, which are sound, bool ``[N]`` on the host, as well.

        On CUDA neither is there before the stream's work is done; elsewhere copies are waited for, since nothing would
        tell when the memory they are made from may be used again.
        """
        is_async = self._stream is not None
        values = {
            name: value.to(self._device, non_blocking=is_async) if isinstance(value, torch.Tensor) else value
            for name, value in delivery.values.items()
        }
        images, sound = delivery.images.to(self._device, non_blocking=is_async), None
        if self._shape is not None:
            slot, count = images, len(delivery.samples)
            images = torch.empty((count, *self._shape), dtype=torch.uint8, device=self._device)
            table = slot[: 8 * (count + 1)].view(torch.int64)
            sound = undo(slot, table, self._shape, images).to("cpu", non_blocking=is_async)  # to page-locked memory
        return Delivery(images, values, delivery.number, delivery.samples), sound

    def _check(self, sound: torch.Tensor | None, samples: np.ndarray) -> None:
        if sound is not None and not sound.all():
            self._refuse(samples[~sound.numpy()])


def check_device(device: torch.device) -> None:
    """Raise OptionError if the device is one of CUDA's and there is none."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device: {device} found, but this torch sees no CUDA device; use device='cpu'")


def _unlock(_: SharedBytes, address: int) -> None:
    torch.cuda.cudart().cudaHostUnregister(address)
