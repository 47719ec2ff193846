"""What a process and all its descendants use: CPU seconds, and memory as PSS, where a shared page counts once.

In: a process id. Out: sums over its tree. Memory is read by walking page tables, for milliseconds: not while timing.
"""

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from ferdata.plan.timing import now

__all__ = ["MemoryUse", "SLOW_SAMPLE_SECONDS", "PeakMemory", "cpu_seconds_of_tree", "memory_of_tree"]

SAMPLE_SECONDS = 0.05
SLOW_SAMPLE_SECONDS = 0.5
LOOKS_APART = 20
"""While a clock runs: time between two looks, as a multiple of what the last one took."""
_PSS_FIELDS = {
    "Pss:": "total_bytes",
    "Pss_Anon:": "anonymous_bytes",
    "Pss_File:": "file_bytes",
    "Pss_Shmem:": "shared_bytes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Proportional set size of a process tree.

    Attributes:
        total_bytes: Everything below together.
        anonymous_bytes: Memory of the processes' own.
        shared_bytes: Shared memory (rings, ``/dev/shm``).
        file_bytes: Mapped files: page cache, which the kernel can take back, and program code.
    """

    total_bytes: int = 0
    anonymous_bytes: int = 0
    shared_bytes: int = 0
    file_bytes: int = 0


def cpu_seconds_of_tree(pid: int) -> float:
    """Return user and system seconds of a process, its living descendants and the dead ones that were waited for."""
    return sum(_cpu_seconds(process) for process in _tree(pid))


def memory_of_tree(pid: int) -> MemoryUse:
    """Return the proportional set size of a process and its descendants; a process that is gone counts nothing."""
    totals = dict.fromkeys(_PSS_FIELDS.values(), 0)
    for process in _tree(pid):
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it ended while we looked
            continue
        for field, amount, *_ in (line.split() for line in lines if line.startswith("Pss")):
            if field in _PSS_FIELDS:
                totals[_PSS_FIELDS[field]] += int(amount) * 1024
    return MemoryUse(**totals)


class PeakMemory:
    """Context that samples :func:`memory_of_tree` from a thread, and once more at the end.

    Args:
        pid: The tree's root.
        every_seconds: Time between two looks: from :data:`SLOW_SAMPLE_SECONDS` on they cost a few per cent of a core at
            most, so a clock may run; looks that take long, because gigabytes are mapped, are further apart then.
    """

    def __init__(self, pid: int, *, every_seconds: float = SAMPLE_SECONDS) -> None:
        self._looks: list[tuple[float, MemoryUse]] = []
        self._pid, self._every_seconds = pid, every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    @property
    def peak(self) -> MemoryUse:
        """The look with the largest total."""
        return self.peak_until(math.inf)

    def peak_until(self, moment: float) -> MemoryUse:
        """Return that of the looks begun before the clock (:func:`ferdata.plan.timing.now`) showed ``moment``."""
        seen = [use for at, use in self._looks if at < moment]
        return max(seen, key=lambda use: use.total_bytes, default=MemoryUse())

    def _look(self) -> float:
        """Look once; return the seconds that it took."""
        start = now()
        self._looks.append((start, memory_of_tree(self._pid)))
        return now() - start

    def _sample(self) -> None:
        wait = SAMPLE_SECONDS  # soon once, so that a short command is seen at all
        while True:
            took = self._look()
            if self._stop.wait(max(wait, took * LOOKS_APART if self._every_seconds >= SLOW_SAMPLE_SECONDS else 0)):
                return
            wait = self._every_seconds


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))  # user, system, and both again for children that ended
    except psutil.NoSuchProcess:
        return 0.0


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
