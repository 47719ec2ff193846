"""How long a run computes and how long it stands waiting for data, without making a GPU wait for the answer.

In: marks around each step. Out: seconds. On a GPU the wait is what the GPU idled between two steps, at most what this
process waited for the batch: a host that waits while the GPU is still busy costs nothing.
"""

import time

import torch

__all__ = ["WaitClock"]


class WaitClock:
    """Adds up the time of an epoch's steps.

    Attributes:
        images: Images of the steps so far, over all ranks.
        seconds: Time of the steps so far, waits included.
        wait_seconds: Time of it that was spent waiting for data.
        first_wait_seconds: The first wait: starting workers and filling the first window.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.images = 0
        self.seconds = 0.0
        self.wait_seconds = 0.0
        self.first_wait_seconds = 0.0
        self._last = time.perf_counter()
        self._host_wait = 0.0
        self._end: torch.cuda.Event | None = None
        self._idle: list[tuple[torch.cuda.Event, torch.cuda.Event, float]] = []

    @property
    def images_per_second(self) -> float:
        """Over the steps so far."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time that was spent waiting for data."""
        return self.wait_seconds / self.seconds if self.seconds > 0 else 0.0

    @property
    def steady_wait_share(self) -> float:
        """The same without the first wait."""
        steady = self.seconds - self.first_wait_seconds
        return max(0.0, self.wait_seconds - self.first_wait_seconds) / steady if steady > 0 else 0.0

    def skip(self) -> None:
        """Leave out the time since the last mark."""
        self._last = time.perf_counter()
        self._end = None

    def batch_arrived(self) -> None:
        """Mark the moment a batch is there."""
        self._host_wait = time.perf_counter() - self._last
        if self._device.type == "cuda" and self._end is not None:
            start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            self._idle.append((self._end, start, self._host_wait))
        else:
            self.wait_seconds += self._host_wait
        if self.first_wait_seconds == 0.0:
            self.first_wait_seconds = self._host_wait

    def step_done(self, images: int) -> None:
        """Mark the moment a step is given to the device."""
        self.images += images
        if self._device.type == "cuda":
            self._end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._end.record()
        now = time.perf_counter()
        self.seconds += now - self._last
        self._last = now

    def settle(self) -> None:
        """Add what the GPU idled; to be called where it has been waited for anyway."""
        now = time.perf_counter()
        self.seconds += now - self._last
        self._last = now
        if self._idle:
            self._idle[-1][1].synchronize()
        for end, start, host_wait in self._idle:
            self.wait_seconds += min(host_wait, end.elapsed_time(start) / 1000)
        self._idle.clear()
