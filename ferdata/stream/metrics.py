"""What a loader knows of its own speed, readable at any time from any thread.

In: counts that the loader keeps as it runs. Out: a frozen snapshot.
"""

import time
from dataclasses import dataclass

from ferdata.remote import Patience, RemoteCounts

__all__ = ["LoaderMetrics", "Meter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderMetrics:
    """A snapshot; all figures count from the start of the current epoch's iteration.

    Attributes:
        images: Images handed to the consumer.
        seconds: Time since the first batch was asked for.
        images_per_second: ``images / seconds``.
        consumer_wait_seconds: Time the consumer waited for batches.
        worker_wait_seconds: Time the workers had nothing to do, summed over workers.
        bytes_read: Bytes read from shards.
        ring_slots: Batches that the ring has room for.
        ring_occupancy: Fraction of the slots that are being filled, ready, or held by the consumer.
        window_samples: Samples that are mixed together: how far the shuffle reaches.
        copied_batches: Batches handed out in fresh memory because the consumer kept more than the ring allows.
        remote: What reading from behind URLs has met: requests, retries, seconds of outage.
    """

    images: int
    seconds: float
    images_per_second: float
    consumer_wait_seconds: float
    worker_wait_seconds: float
    bytes_read: int
    ring_slots: int
    ring_occupancy: float
    window_samples: int
    copied_batches: int
    remote: RemoteCounts


class Meter:
    """The running counts behind a :class:`LoaderMetrics`.

    Args:
        patience: What services behind URLs are read with.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        """Begin a new epoch's counts."""
        self.started = time.perf_counter()
        self.images = 0
        self.consumer_wait_seconds = 0.0
        self.busy_seconds = 0.0
        self.bytes_read = 0
        self.copied_batches = 0
        self._remote_before = self._patience.counts()

    def snapshot(self, *, num_workers: int, ring_slots: int, ring_free: int, window_samples: int) -> LoaderMetrics:
        """Return the current counts."""
        seconds = time.perf_counter() - self.started
        return LoaderMetrics(
            images=self.images,
            seconds=seconds,
            images_per_second=self.images / seconds if seconds > 0 else 0.0,
            consumer_wait_seconds=self.consumer_wait_seconds,
            worker_wait_seconds=max(0.0, num_workers * seconds - self.busy_seconds),
            bytes_read=self.bytes_read,
            ring_slots=ring_slots,
            ring_occupancy=1 - ring_free / ring_slots if ring_slots else 0.0,
            window_samples=window_samples,
            copied_batches=self.copied_batches,
            remote=self._patience.counts() - self._remote_before,
        )
