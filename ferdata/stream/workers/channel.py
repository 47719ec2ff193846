"""The channel between a loader and its worker processes: jobs and acknowledgements, a few integers each, through pipes.

In: jobs. Out: acknowledgements. The queues of ``multiprocessing`` cost a hundred microseconds per message in threads,
locks and pickles, and a process that is killed with such a lock in its hands takes the others with it; a pipe costs a
few, and has no lock. Whichever worker is idle takes the next job, so none waits for another.
"""

import builtins
import contextlib
import os
import struct
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from ferdata import errors
from ferdata.stream.workers.job import Ack, JobRecord

__all__ = ["Channel"]

_JOB = struct.Struct("<6q")
_ACK = struct.Struct("<5q")
_ERROR_BYTES = 3000
"""Keeps an acknowledgement with its error below PIPE_BUF (4,096 bytes): such writes are atomic, whoever else writes."""
_PARENT_CHECK_SECONDS = 1.0
"""How often an idle worker checks that its parent is alive."""


class Channel:
    """Two pipes: jobs to whichever worker is idle, acknowledgements back. A third wakes whoever waits for these."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}
        self._waking = threading.Lock()
        try:
            self._ends["jobs_out"], self._ends["jobs_in"] = os.pipe()
            self._ends["acks_out"], self._ends["acks_in"] = os.pipe()
            self._ends["wakes_out"], self._ends["wakes_in"] = os.pipe()
            for name in ("jobs_out", "jobs_in", "acks_out", "wakes_out", "wakes_in"):
                os.set_blocking(self._ends[name], False)
        except OSError:
            self.close()
            raise
        self._waiting: deque[bytes] = deque()
        self._rest = b""

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import DupFd  # not on Windows

        return {name: DupFd(self._ends[name]) for name in ("jobs_out", "acks_in")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._ends = {name: handle.detach() for name, handle in state.items()}
        self._waking = threading.Lock()

    def close(self, *names: str) -> None:
        """Close these ends, or all: after a fork each side holds all of them."""
        for name in names or list(self._ends):
            with self._waking if name == "wakes_in" else contextlib.nullcontext():
                end = self._ends.pop(name, None)
                if end is not None:
                    os.close(end)

    def wake(self) -> None:
        """End the wait for acknowledgements, from any thread."""
        with self._waking:  # once it is closed, the end's number may be another file's
            end = self._ends.get("wakes_in")
            if end is not None:
                with contextlib.suppress(BlockingIOError, BrokenPipeError):
                    os.write(end, b"!")

    # The parent's side.

    def send(self, jobs: Sequence[JobRecord]) -> None:
        """Send jobs; what does not fit in the pipe follows when the next acknowledgements arrive."""
        self._waiting.extend(
            _JOB.pack(job.portion, job.generation, job.start, job.count, job.verify, job.is_fetched) for job in jobs
        )
        self._push()

    def receive(self, seconds: float) -> list[Ack]:
        """Return the acknowledgements that have arrived, waiting for the first of them at most so long, or until woken.

        Raises:
            EOFError: If no worker is left to send one.
        """
        end = self._ends["acks_out"]
        found = _read(end, 1 << 16)
        if found is None:
            # Looked up again: the end's number may be another file's once a thread has closed the channel.
            ready = wait([end, self._ends["wakes_out"]], seconds)
            if ready and ready != [end]:
                _read(self._ends["wakes_out"], 1 << 16)
            found = _read(self._ends["acks_out"], 1 << 16) if ready else None
        if found is None:
            return []
        if not found:
            raise EOFError("all of them exited")
        self._rest += found
        acks, at = [], 0
        while at + _ACK.size <= len(self._rest):
            portion, start, num_bytes, busy_ns, error_bytes = _ACK.unpack_from(self._rest, at)
            end = at + _ACK.size + error_bytes
            if end > len(self._rest):
                break
            acks.append(Ack(portion, start, num_bytes, busy_ns, _unpack_error(self._rest[at + _ACK.size : end])))
            at = end
        self._rest = self._rest[at:]
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
        """Yield jobs as they arrive, until the parent closes its end or is gone."""
        self._waking = threading.Lock()  # a fork may have come while a thread held it
        self.close("jobs_in", "acks_out", "wakes_out", "wakes_in")
        fd, parent = self._ends["jobs_out"], os.getppid()
        while True:
            data = _read(fd, _JOB.size)
            if data is None:
                # A process that the parent forked may hold the other end, too: then only asking tells.
                if not wait([fd], _PARENT_CHECK_SECONDS) and os.getppid() != parent:
                    return
                continue
            if not data:
                return
            portion, generation, start, count, verify, is_fetched = _JOB.unpack(data)
            yield JobRecord(portion, generation, start, count, verify, bool(is_fetched))

    def acknowledge(self, ack: Ack) -> None:
        """Tell the parent that a job is finished."""
        error = b"" if ack.error is None else _pack_error(ack.error)
        os.write(
            self._ends["acks_in"], _ACK.pack(ack.portion, ack.start, ack.num_bytes, ack.busy_ns, len(error)) + error
        )


def _read(fd: int, num_bytes: int) -> bytes | None:
    """Return what is there to read, nothing at the end, or None if nothing is there yet."""
    try:
        return os.read(fd, num_bytes)
    except BlockingIOError:
        return None


def _pack_error(error: Exception) -> bytes:
    """Return an error's class name and text, which is all that ferdata's hold; of a bug, where it happened as well."""
    text = str(error)
    if not isinstance(error, errors.FerdataError):
        text += "\n\nin a worker of the loader:\n" + "".join(traceback.format_exception(error))[-_ERROR_BYTES // 2 :]
    return f"{type(error).__name__}\n{text}".encode()[:_ERROR_BYTES]


def _unpack_error(data: bytes) -> Exception | None:
    if not data:
        return None
    name, _, text = data.decode(errors="replace").partition("\n")
    kind: Any = getattr(errors, name, None) or getattr(builtins, name, RuntimeError)
    try:
        error: Exception = kind(text)
    except TypeError:  # UnicodeDecodeError and its like take more than a text
        error = RuntimeError(f"{name}: {text}")
    return error
