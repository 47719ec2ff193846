"""The worker processes: a ``DataLoader`` whose items are jobs and whose results are acknowledgements.

In: a feed of requests. Out: acknowledgements, or the worker's own error. Hides how workers start, die and stop.
"""

import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import select
import signal
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch._C import _remove_worker_pids
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
        self._start_method = start_method
        self._persistent = persistent and num_workers > 0
        processes: dict[str, Any] = {}
        if num_workers:
            processes = {
                "prefetch_factor": max(2, -(-jobs_ahead // num_workers)),
                "persistent_workers": self._persistent,
                "multiprocessing_context": multiprocessing.get_context(start_method) if start_method else None,
                "in_order": False,
                "worker_init_fn": _leave_interrupts_to_parent,
            }
        with _no_advice():
            self._loader: DataLoader[Any] | None = DataLoader(
                self._reader,
                batch_size=None,
                sampler=self._sampler,
                num_workers=num_workers,
                collate_fn=_as_is,
                generator=torch.Generator(),  # its own, or every epoch would take a number from the training's random stream
                **processes,
            )
        self._acks: Iterator[Any] | None = None
        self._watch: _Watch | None = None
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
        if not self._persistent:
            self._stop()
        starting = self._acks is None and self._loader.num_workers > 0
        try:
            if starting and (self._start_method or multiprocessing.get_start_method()) != "fork":
                multiprocessing.resource_tracker.ensure_running()  # else torch would, which lets Ctrl-C through again
            with _no_advice(), _interrupts_held() if starting else contextlib.nullcontext():
                self._acks = iter(self._loader)
            if starting:
                self._watch = _Watch(self._acks)
        except (RuntimeError, EOFError, ConnectionError) as error:
            raise self._death(error) from error
        except BaseException:
            self._abandon()
            raise
        return self._acknowledgements()

    def finish(self) -> None:
        """End an epoch; processes that do not persist stop, and jobs under way are waited for."""
        if not self._persistent:
            self._stop()

    def close(self) -> None:
        """Stop all processes."""
        self._stop()
        self._loader = None
        self._close()

    def _stop(self) -> None:
        """Stop processes now, whoever still refers to torch's iterator: an old generator, or the traceback of an error."""
        stop = getattr(self._acks, "_shutdown_workers", None)
        self._acks = self._watch = None
        if stop is not None:
            with _interrupts_held():
                stop()

    def _acknowledgements(self) -> Iterator["Ack | None"]:
        while self._acks is not None:
            try:
                ack = next(self._acks)
            except StopIteration:
                return
            except RuntimeError as error:
                raise self._death(error) from error
            except BaseException:
                self._abandon()
                raise
            if isinstance(ack, JobFailed):
                raise ack.error
            yield ack

    def _abandon(self) -> None:
        """Kill the workers after an interrupt in torch's own code: half a message may have been read. The next epoch starts others."""
        watch, self._watch, self._acks = self._watch, None, None
        if watch is not None:
            watch.kill()
        if self._loader is not None:
            self._loader._iterator = None

    def _death(self, error: Exception) -> Exception:
        """Return the error to raise for ``error``, with nothing left running where it says that a worker died."""
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in _DEATHS):
            return error
        self._abandon()
        self.close()
        return WorkerError(
            f"loader: a worker process died ({error}), expected it to live until the loader is closed; "
            "look for the kernel's out-of-memory killer, and under spawn or forkserver for a script without "
            "`if __name__ == '__main__':`; then make a new loader and load the last state"
        )


_DEATHS = ("exited unexpectedly", "is killed by signal")
"""What torch and :class:`_Watch` say of a worker that died."""


class _Watch:
    """Sees a worker's death at once, in any thread, and only when acknowledgements are waited for.

    torch raises from a signal handler instead, wherever the training happens to be, or in threads after five seconds.
    """

    def __init__(self, acks: Any) -> None:
        _remove_worker_pids(id(acks))
        acks._worker_pids_set = False
        self._acks = weakref.ref(acks)
        self._poll = select.poll()
        self._poll.register(acks._worker_result_queue._reader, select.POLLIN)
        self._sentinels = {worker.sentinel: worker for worker in acks._workers}
        for sentinel in self._sentinels:
            self._poll.register(sentinel, select.POLLIN)
        acks._try_get_data = self.try_get_data

    def try_get_data(self) -> tuple[bool, Any]:
        """Wait in torch's place for what workers send.

        Raises:
            RuntimeError: If a worker died.
        """
        events = self._poll.poll(5000)
        for ready, _ in events:
            worker = self._sentinels.get(ready)
            if worker is not None:
                worker.join(1)
                raise RuntimeError(f"pid {worker.pid} exited unexpectedly, exit code {worker.exitcode}")
        acks: Any = self._acks()
        return type(acks)._try_get_data(acks) if events else (False, None)

    def kill(self) -> None:
        """End all workers without asking them: the dead one may have taken a lock along that a question needs."""
        acks = self._acks()
        if acks is not None:
            with _interrupts_held():
                acks._shutdown = True
                for worker in acks._workers:
                    worker.kill()
                for worker in acks._workers:
                    worker.join()


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Keep torch from advising against more workers than cores: that is the user's decision, and plan says what it costs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def _as_is(value: Any) -> Any:
    return value


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends.

    torch starting or stopping workers would be left with locks held, and workers that are still importing torch could only print
    a traceback: they inherit that the signal is blocked.
    """
    came: list[int] = []
    in_main = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _leave_interrupts_to_parent(_: int) -> None:
    """Ignore Ctrl-C, which a terminal or a notebook sends to workers as well: the parent decides whether they go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
