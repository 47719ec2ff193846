"""The ways of feeding a device: raw and compact, streamed by workers and decoded by them or there, or resident.

In: a job. Out: batches without an end, and how long their consumer has waited.
"""

from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import ferdata
from ferdata_bench.gpu.data import CODECS
from ferdata_bench.gpu.job import Job

__all__ = ["WORKERS", "Feed", "feeds"]

WORKERS = (1, 2, 8)


class Feed:
    """A loader's batches, epoch after epoch."""

    def __init__(self, loader: ferdata.Loader) -> None:
        self._loader = loader
        self._batches = self._endless()
        self._before = 0.0

    def __next__(self) -> Any:
        return next(self._batches)

    def close(self) -> None:
        """Close the loader."""
        self._batches.close()
        self._loader.close()

    @property
    def waited_seconds(self) -> float:
        """What the loader's metrics say of all epochs so far."""
        return self._before + self._loader.metrics().consumer_wait_seconds

    def _endless(self) -> Generator[Any, None, None]:
        while True:
            yield from self._loader
            self._before = self.waited_seconds


def feeds(job: Job, size: int, batch_size: int, workers: tuple[int, ...], stack: ExitStack) -> dict[str, Feed]:
    """Return every way of feeding the device by its name; ``stack`` closes them."""
    found = {}
    for codec in CODECS:
        options: dict[str, dict[str, Any]] = {f"streamed, workers: {each}": {"num_workers": each} for each in workers}
        if codec == "compact":
            options |= {
                f"streamed, decoded there, workers: {each}": {"num_workers": each, "decode": "device"}
                for each in workers
            }
        for name, option in (options | {"resident": {"resident": True}}).items():
            root = str(job.shards(size, codec))
            feed = Feed(ferdata.Loader(root, batch_size=batch_size, device=job.device, **option))
            stack.callback(feed.close)
            found[f"{codec} {name}"] = feed
    return found
