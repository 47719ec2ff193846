"""The worker processes: a ``DataLoader`` whose items are jobs and whose results are acknowledgements.

In: a feed of requests. Out: acknowledgements, or the worker's own error. Hides how workers start, die and stop.
"""

import contextlib
import multiprocessing
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from ferdata.errors import WorkerError
from ferdata.format import DatasetIndex
from ferdata.stream.feed import Feed
from ferdata.stream.ring import SharedBytes
from ferdata.stream.worker import Ack, JobFailed, JobReader

__all__ = ["Crew"]


class _FeedSampler(Sampler[Any]):
    """What the ``DataLoader`` takes its items from: the feed of the epoch that runs."""

    def __init__(self) -> None:
        self.feed: Feed | None = None

    def __iter__(self) -> Iterator[Any]:
        assert self.feed is not None
        return iter(self.feed)


class Crew:
    """Worker processes of one loader; with ``num_workers=0`` the work is done by whoever asks.

    Args:
        root: The data set's folder.
        index: Its index.
        split: The split.
        memory: The ring's memory.
        num_workers: Processes.
        jobs_ahead: Jobs that should be under way at any time: those of a window.
        start_method: How processes start; None for Python's default.
        persistent: Keep processes from epoch to epoch.
    """

    def __init__(
        self,
        *,
        root: str,
        index: DatasetIndex,
        split: str,
        memory: SharedBytes,
        num_workers: int,
        jobs_ahead: int,
        start_method: str | None,
        persistent: bool,
    ) -> None:
        self._reader = JobReader(root, index, split, memory)
        self._sampler = _FeedSampler()
        self._persistent = persistent and num_workers > 0
        processes: dict[str, Any] = {}
        if num_workers:
            processes = {
                "prefetch_factor": max(2, -(-jobs_ahead // num_workers)),
                "persistent_workers": self._persistent,
                "multiprocessing_context": multiprocessing.get_context(start_method) if start_method else None,
                "in_order": False,
            }
        with _no_advice():
            self._loader: DataLoader[Any] | None = DataLoader(
                self._reader, batch_size=None, sampler=self._sampler, num_workers=num_workers, collate_fn=_as_is, **processes
            )
        self._acks: Iterator[Any] | None = None
        self._close = weakref.finalize(self, self._reader.close)

    def start(self, feed: Feed) -> Iterator["Ack | None"]:
        """Begin an epoch: workers start on the feed's jobs at once; iterate to get acknowledgements.

        Whatever an abandoned epoch left under way is finished first, so that its slots are nobody's any more.
        """
        if self._loader is None:
            raise WorkerError("loader: it was closed, expected an open one; make a new loader")
        if getattr(multiprocessing.process.current_process(), "_inheriting", False):
            raise WorkerError(
                "loader: this process is itself a worker that is still importing the main script, expected the script's "
                "own code under `if __name__ == '__main__':`; guard it so, as start methods spawn and forkserver need"
            )
        self._sampler.feed = feed
        with _no_advice():
            self._acks = iter(self._loader)
        return self._acknowledgements(self._acks)

    def finish(self) -> None:
        """End an epoch; processes that do not persist stop, and jobs under way are waited for."""
        if not self._persistent:
            self._acks = None

    def close(self) -> None:
        """Stop all processes."""
        self._acks = None
        self._loader = None
        self._close()

    def _acknowledgements(self, acks: Iterator[Any]) -> Iterator["Ack | None"]:
        while True:
            try:
                ack = next(acks)
            except StopIteration:
                return
            except RuntimeError as error:
                if "exited unexpectedly" not in str(error) and "is killed by signal" not in str(error):
                    raise
                self.close()
                raise WorkerError(
                    f"loader: a worker process died ({error}), expected it to live until the loader is closed; "
                    "look for the kernel's out-of-memory killer, and under spawn or forkserver for a script without "
                    "`if __name__ == '__main__':`; then make a new loader and load the last state"
                ) from error
            if isinstance(ack, JobFailed):
                raise ack.error
            yield ack


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Keep torch from advising against more workers than cores: that is the user's decision, and plan says what it costs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def _as_is(value: Any) -> Any:
    return value
