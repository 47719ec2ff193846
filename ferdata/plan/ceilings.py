"""What the machine could do at best on the same bytes: copy, decode and disk ceilings, timed in the loaders' own run.

In: files, bytes per image, a number of processes. Out: images and seconds. Processes are forked once and wait between
runs, so starting them is never timed. Import this where no threads run yet (the harness uses a process of its own).
"""

import contextlib
import importlib
import io
import mmap
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ferdata.errors import OptionError, WorkerError
from ferdata.format import scatter
from ferdata.plan.timing import now
from ferdata.program import stops_held

__all__ = ["Job", "Team", "copy_job", "decode_job", "drop_from_cache", "read_job"]

Job: TypeAlias = Callable[[int, int], Callable[[], float]]
"""``job(rank, num_processes)`` runs in a process of the team and returns a step: a function that does some milliseconds
of work and returns how many images that was; 0 means there is no more."""

SLOTS = 4
READ_BYTES = 4 << 20


class Team:
    """Processes that run the same job side by side, each on its own share."""

    def __init__(self, job: Job, *, num_processes: int) -> None:
        context = multiprocessing.get_context("fork")
        self._members: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        try:
            with stops_held():
                for rank in range(num_processes):
                    ours, theirs = context.Pipe()
                    inherited = [other for _, other in self._members] + [ours]
                    process: multiprocessing.process.BaseProcess = context.Process(
                        target=_serve, args=(job, rank, num_processes, theirs, inherited), daemon=True
                    )
                    process.start()
                    theirs.close()
                    self._members.append((process, ours))
            for process, ours in self._members:
                self._receive(process, ours)
        except BaseException:  # Ctrl-C: what they read is about to be removed
            for process, _ in self._members:
                process.kill()
            self.close()
            raise

    def run(self, seconds: float) -> tuple[float, float]:
        """Let every process work for ``seconds``, or until its part is read once; return (images/s, images)."""
        for _, ours in self._members:
            ours.send(seconds)
        done = [self._receive(process, ours) for process, ours in self._members]
        return sum(images / taken for images, taken in done), sum(images for images, _ in done)

    def close(self) -> None:
        """End the processes."""
        for process, ours in self._members:
            ours.close()
            process.join(5)
            if process.is_alive():
                process.kill()

    @staticmethod
    def _receive(process: multiprocessing.process.BaseProcess, ours: Connection) -> tuple[float, float]:
        try:
            images, taken = ours.recv()
        except EOFError:
            process.join(1)
            raise WorkerError(
                f"ceiling: a process ended with code {process.exitcode}, expected an answer; see its message above"
            ) from None
        return images, taken


def copy_job(files: Sequence[str], *, bytes_per_image: int, batch_size: int, streaming: bool = False) -> Job:
    """Return the copy job: page-cached bytes of ``files`` into warm slots of shared memory, by batches, over and over.

    Args:
        files: What is copied.
        bytes_per_image: Size of an image.
        batch_size: Images copied at once.
        streaming: Copy with stores that go past the processor's cache, where the kernels for it are built; else as
            NumPy copies.

    Raises:
        OptionError: If the files hold less than one image for a process.
    """
    sizes = [os.path.getsize(file) for file in files]
    if sum(sizes) < bytes_per_image:
        raise OptionError(
            f"copy ceiling: {sum(sizes):,} bytes found, expected at least one image of {bytes_per_image:,}; "
            "give more data"
        )

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        chunk_bytes = min(batch_size * bytes_per_image, max(sizes))
        chunks = [
            _map(file)[at : at + chunk_bytes]
            for file, size in zip(files, sizes, strict=True)
            for at in range(0, size, chunk_bytes)
        ]
        mine = chunks[rank % len(chunks) :: num_processes]
        slots = [np.frombuffer(mmap.mmap(-1, chunk_bytes), np.uint8) for _ in range(SLOTS)]  # anonymous and shared
        for warmed in (*slots, *mine):
            warmed[:: mmap.PAGESIZE].sum()
        for slot in slots:
            slot[:] = 1
        state, row = {"step": 0}, np.zeros(1, np.int64)

        def step() -> float:
            chunk, slot = mine[state["step"] % len(mine)], slots[state["step"] % SLOTS]
            if streaming:
                scatter(chunk[None], slot[None, : len(chunk)], row, streaming=True)
            else:
                slot[: len(chunk)] = chunk
            state["step"] += 1
            return len(chunk) / bytes_per_image

        return step

    return job


def decode_job(factory: str, out: str) -> Job:
    """Return the decode job: frames into a private buffer. ``factory``, ``module:function``, makes a job of ``out``."""
    module, _, name = factory.partition(":")
    job: Job = getattr(importlib.import_module(module), name)(Path(out))
    return job


def read_job(files: Sequence[str], *, bytes_per_image: float) -> Job:
    """Return the disk job: each process reads its share of the files' ranges once, into a reused buffer."""

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        ranges = [(file, at) for file in files for at in range(0, os.path.getsize(file), READ_BYTES)]
        mine = iter(ranges[rank::num_processes])
        handles = {file: io.FileIO(file) for file in files}
        buffer = bytearray(READ_BYTES)

        def step() -> float:
            for file, at in mine:
                handles[file].seek(at)
                return handles[file].readinto(buffer) / bytes_per_image
            return 0

        return step

    return job


def drop_from_cache(paths: Sequence[Path]) -> None:
    """Ask the kernel to forget its cached pages of these files, which nobody may have mapped; it may decline."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _map(file: str) -> np.ndarray:
    return np.memmap(file, np.uint8, mode="r")


def _serve(job: Job, rank: int, num_processes: int, theirs: Connection, inherited: Sequence[Connection]) -> None:
    for connection in inherited:  # or the others would never see that the parent has closed them
        connection.close()
    for name in ("SIGINT", "SIGHUP"):  # a terminal sends them to all, and the parent alone answers
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    step = job(rank, num_processes)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has left, or was stopped
        theirs.send((0, 0.0))
        while True:
            seconds = theirs.recv()
            images, start = 0.0, now()
            while (taken := now() - start) < seconds and (did := step()):
                images += did
            theirs.send((images, max(taken, 1e-9)))
