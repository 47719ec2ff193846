"""The channel between a loader and its workers: jobs and acknowledgements, a few integers each, through pipes.

In: jobs and their sample indices. Out: acknowledgements. The queues of ``multiprocessing`` cost a hundred microseconds
per message in threads, locks and pickles; a pipe costs a few. Whichever worker is idle takes the next job,
so none waits for another.
"""

import os
import select
import struct
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from typing import Any

import numpy as np

from ferdata import errors
from ferdata.stream.memory.ring import SharedBytes

__all__ = ["Ack", "Channel", "JobRecord", "SharedPlan"]

_JOB = struct.Struct("<5q")
_ACK = struct.Struct("<4q")
_ERROR_BYTES = 3000
"""Keeps an acknowledgement with its error below PIPE_BUF (4,096 bytes): such writes are atomic, whoever else writes."""
_PARENT_CHECK_MS = 1000
"""How often an idle worker checks that its parent is alive."""
_STOP = -1


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it travels: ``count`` samples listed from ``start`` in the plan.

    Attributes:
        window: Number of the window it belongs to.
        generation: The start it belongs to, see :attr:`SharedPlan.generation`; a worker skips jobs of abandoned epochs.
        start: Where its sample indices begin.
        count: Number of samples.
        verify: Which checksums to verify, see :func:`ferdata.stream.order.windows.due`.
    """

    window: int
    generation: int
    start: int
    count: int
    verify: int


@dataclass(frozen=True, slots=True)
class Ack:
    """What a worker reports of a finished job: bytes read, nanoseconds of work, and its error if there was one."""

    window: int
    num_bytes: int
    busy_ns: int
    error: errors.FerdataError | None = None


class SharedPlan:
    """Sample indices and rows of the windows in flight, and what each worker is reading, in shared memory.

    Args:
        window_samples: Samples in the largest window.
        num_windows: Windows that may be in flight at once.
        num_workers: Number of workers.
    """

    def __init__(self, *, window_samples: int, num_windows: int, num_workers: int) -> None:
        self.window_samples = window_samples
        self._num_workers = num_workers
        self._memory = SharedBytes(8 * (1 + 2 * num_workers + 2 * num_windows * window_samples))
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    @property
    def generation(self) -> int:
        """Counts starts: epochs that do not continue where the last one ended; workers stop if it is negative."""
        return int(self._values[0])

    @generation.setter
    def generation(self, value: int) -> None:
        self._values[0] = value

    def write(self, region: int, samples: np.ndarray, rows: np.ndarray) -> int:
        """Write a window's samples and rows, int64 ``[n]``, into one of the regions; return where they begin."""
        start = 1 + 2 * self._num_workers + 2 * region * self.window_samples
        self._values[start : start + len(samples)] = samples
        self._values[start + self.window_samples : start + self.window_samples + len(rows)] = rows
        return start

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return views of a job's sample indices and rows."""
        rows = start + self.window_samples
        return self._values[start : start + count], self._values[rows : rows + count]

    def worker_entry(self, number: int) -> np.ndarray:
        """Return where a worker notes its process and the shard it is reading (-1: none), int64 ``[2]``."""
        return self._values[1 + 2 * number : 3 + 2 * number]

    def reading(self, pid: int) -> int:
        """Return the shard that a worker's process is reading, or -1."""
        entries = self._values[1 : 1 + 2 * self._num_workers].reshape(-1, 2)
        return int(entries[entries[:, 0] == pid, 1].max(initial=-1))

    def _map(self) -> None:
        self._values = self._memory.array()[: self._memory.num_bytes].view(np.int64)


class Channel:
    """Two pipes: jobs to whichever worker is idle, acknowledgements back."""

    def __init__(self) -> None:
        jobs_out, jobs_in = os.pipe()
        acks_out, acks_in = os.pipe()
        for fd in (jobs_out, jobs_in, acks_out):
            os.set_blocking(fd, False)
        self._own(jobs_out=jobs_out, jobs_in=jobs_in, acks_out=acks_out, acks_in=acks_in)
        self._waiting: deque[bytes] = deque()
        self._rest = b""

    def __getstate__(self) -> dict[str, Any]:
        return {name: reduction.DupFd(self._ends[name]) for name in ("jobs_out", "acks_in")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._own(**{name: handle.detach() for name, handle in state.items()})

    def _own(self, **ends: int) -> None:
        self._ends = ends
        self.close = weakref.finalize(self, _close, ends)
        self.close.atexit = False  # whoever owns workers tells them to stop first

    def keep_only(self, *names: str) -> None:
        """Close every end except these: after a fork each side holds all four."""
        _close({name: self._ends.pop(name) for name in list(self._ends) if name not in names})

    # The parent's side.

    @property
    def acks_out(self) -> int:
        """The descriptor to poll for acknowledgements."""
        return self._ends["acks_out"]

    def send(self, jobs: Sequence[JobRecord]) -> None:
        """Send jobs; what does not fit in the pipe follows when the next acknowledgements arrive."""
        self._waiting.extend(_JOB.pack(job.window, job.generation, job.start, job.count, job.verify) for job in jobs)
        self._push()

    def stop(self, num_workers: int) -> None:
        """Wake idle workers so that they stop."""
        self._waiting.clear()
        self._waiting.extend([_JOB.pack(0, _STOP, 0, 0, 0)] * num_workers)
        self._push()

    def receive(self) -> list[Ack]:
        """Return the acknowledgements that have arrived.

        Raises:
            EOFError: If no worker is left to send one.
        """
        try:
            found = os.read(self._ends["acks_out"], 1 << 16)
        except BlockingIOError:
            return []
        if not found:
            raise EOFError("no worker holds the channel any more")
        self._rest += found
        data, at, acks = self._rest, 0, []
        while at + _ACK.size <= len(data):
            window, num_bytes, busy_ns, error_bytes = _ACK.unpack_from(data, at)
            end = at + _ACK.size + error_bytes
            if end > len(data):
                break
            acks.append(Ack(window, num_bytes, busy_ns, _unpack_error(data[at + _ACK.size : end])))
            at = end
        self._rest = data[at:]
        self._push()
        return acks

    def _push(self) -> None:
        while self._waiting:
            try:
                os.write(self._ends["jobs_in"], self._waiting[0])
            except BlockingIOError:
                return
            except BrokenPipeError:  # no worker is left, which whoever waits for one will find out
                self._waiting.clear()
                return
            self._waiting.popleft()

    # The worker's side.

    def jobs(self) -> Iterator[JobRecord]:
        """Yield jobs as they arrive, until told to stop; if the parent is gone, the process exits."""
        self.keep_only("jobs_out", "acks_in")
        fd, parent = self._ends["jobs_out"], os.getppid()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while True:
            try:
                data = os.read(fd, _JOB.size)
            except BlockingIOError:
                if not poll.poll(_PARENT_CHECK_MS) and os.getppid() != parent:
                    os._exit(0)  # at once: torch would wait for a message from it
                continue
            if not data:  # nobody holds the other end; under forkserver the parent's pid would not show it
                os._exit(0)
            window, generation, start, count, verify = _JOB.unpack(data)
            if generation == _STOP:
                return
            yield JobRecord(window, generation, start, count, verify)

    def acknowledge(self, ack: Ack) -> None:
        """Tell the parent that a job is finished."""
        error = b"" if ack.error is None else f"{type(ack.error).__name__}\n{ack.error}".encode()[:_ERROR_BYTES]
        os.write(self._ends["acks_in"], _ACK.pack(ack.window, ack.num_bytes, ack.busy_ns, len(error)) + error)


def _close(ends: dict[str, int]) -> None:
    while ends:
        os.close(ends.popitem()[1])


def _unpack_error(data: bytes) -> errors.FerdataError | None:
    """Rebuild a worker's error from its class name and text, which is all that ferdata's errors hold."""
    if not data:
        return None
    name, _, text = data.decode(errors="replace").partition("\n")
    kind: type[errors.FerdataError] = getattr(errors, name)
    return kind(text)
