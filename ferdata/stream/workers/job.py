"""What a worker is told and what it answers: a job, its acknowledgement, and the plan they point into.

In: sample indices and ring rows of the portions in flight. Out: a few integers per job, whoever does it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ferdata.stream.memory.ring import SharedBytes

__all__ = ["Ack", "JobRecord", "SharedPlan"]

LOCATED_COLUMNS = 5
"""Of what :class:`ferdata.stream.fetch.parts.Located` says of a sample."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job: ``count`` samples listed from ``start`` in the plan.

    Attributes:
        portion: Number of the portion it belongs to.
        generation: The start it belongs to, see :attr:`SharedPlan.generation`; jobs of abandoned epochs are skipped.
        start: Where its sample indices begin.
        count: Number of samples.
        verify: Which checksums to verify, see :func:`ferdata.stream.order.windows.due`.
        is_fetched: Whether the plan says where in memory its samples are; else they are read from their shards.
    """

    portion: int
    generation: int
    start: int
    count: int
    verify: int
    is_fetched: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """What a worker reports of a finished job: bytes read, nanoseconds of work, and its error if there was one."""

    portion: int
    start: int
    num_bytes: int
    busy_ns: int
    error: Exception | None = None


class SharedPlan:
    """Sample indices and rows of the portions in flight, and what each worker is reading, in memory that all share.

    Args:
        region_samples: Samples in the largest portion.
        num_regions: Portions that may be in flight at once.
        num_workers: Number of workers.
        between_processes: Whether the workers are processes.
        is_fetched: Whether samples are fetched: then the plan says where in memory each is.
    """

    def __init__(
        self,
        *,
        region_samples: int,
        num_regions: int,
        num_workers: int,
        between_processes: bool,
        is_fetched: bool = False,
    ) -> None:
        self.num_regions = num_regions
        self._region_samples = region_samples
        self._columns = 2 + LOCATED_COLUMNS * is_fetched
        self.num_workers = num_workers
        num_bytes = 8 * (1 + 2 * num_workers + self._columns * num_regions * region_samples)
        self._memory = SharedBytes(num_bytes, between_processes=between_processes)
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    @property
    def generation(self) -> int:
        """Counts starts: epochs that do not continue where the last one ended."""
        return int(self._values[0])

    def abandon(self) -> None:
        """Begin a new generation: workers skip what was asked for before."""
        self._values[0] += 1

    def write(self, region: int, samples: np.ndarray, rows: np.ndarray) -> int:
        """Write a portion's samples and rows, int64 ``[n]``, into one of the regions; return where they begin."""
        start = 1 + 2 * self.num_workers + self._columns * region * self._region_samples
        self._values[start : start + len(samples)] = samples
        self._values[start + self._region_samples : start + self._region_samples + len(rows)] = rows
        return start

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return views of a job's sample indices and rows."""
        rows = start + self._region_samples
        return self._values[start : start + count], self._values[rows : rows + count]

    def locate(self, start: int, columns: np.ndarray) -> None:
        """Write where a job's samples are in memory, int64 ``[5, count]``."""
        self.located(start, columns.shape[1])[:] = columns

    def located(self, start: int, count: int) -> np.ndarray:
        """Return a view of that."""
        first, size = start + 2 * self._region_samples, self._region_samples
        room = self._values[first : first + (LOCATED_COLUMNS - 1) * size + count]
        return np.lib.stride_tricks.as_strided(room, (LOCATED_COLUMNS, count), (8 * size, 8))

    def worker_entry(self, number: int) -> np.ndarray:
        """Return where a worker notes its process and the shard it is reading (-1: none), int64 ``[2]``."""
        return self._values[1 + 2 * number : 3 + 2 * number]

    def reading(self, pid: int) -> int:
        """Return the shard that a worker's process is reading, or -1."""
        entries = self._values[1 : 1 + 2 * self.num_workers].reshape(-1, 2)
        return int(entries[entries[:, 0] == pid, 1].max(initial=-1))

    def _map(self) -> None:
        self._values = self._memory.array()[: self._memory.num_bytes].view(np.int64)
