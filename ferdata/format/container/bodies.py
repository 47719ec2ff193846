"""The bodies of a shard in a mapped file, as the kernels are given them: one address for all that is known of them.

In: the file and where bodies stand in it. Out: what a job needs, asked for and compared with checksums in a call each.
"""

import ctypes
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ferdata.format.kernels.native import Kernels, address

__all__ = ["BodyJob", "MappedBodies"]

_PROBE_STEP = 8
"""Of a file that was in memory a moment ago, so many bodies are taken to be there for one that is looked at."""


class _Bodies(ctypes.Structure):
    """The C structure of the same name."""

    _fields_ = (
        ("file", ctypes.c_void_p),
        ("file_bytes", ctypes.c_int64),
        ("starts", ctypes.c_void_p),
        ("stops", ctypes.c_void_p),
        ("checksums", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    )


class MappedBodies:
    """All bodies of one shard.

    Args:
        kernels: The compiled kernels, without which no file is mapped.
        file: uint8, all bytes of the file.
        starts: int64 ``[samples]``, where bodies begin.
        stops: int64 ``[samples]``, where they end.
        checksums: uint32 ``[samples]``, low halves of their XXH64; None if nothing stands apart from them.
    """

    def __init__(
        self, kernels: Kernels, file: np.ndarray, starts: np.ndarray, stops: np.ndarray, checksums: np.ndarray | None
    ) -> None:
        self.file, self.starts, self.stops, self.checksums = file, starts, stops, checksums
        self._kernels = kernels
        sums = None if checksums is None else address(checksums)
        self._struct = _Bodies(address(file), len(file), address(starts), address(stops), sums, len(starts))
        self.at = ctypes.addressof(self._struct)
        self._step = 1
        self._told = np.zeros(2, np.int64)

    def expect(self, descriptor: int, positions: np.ndarray) -> int | None:
        """Ask the system to read bodies that are not in memory yet.

        Returns:
            Bytes of the file from the first to the last body of every run of neighbours; None if positions do not
            ascend or are not in the shard.
        """
        told = self._told
        if self._kernels.expect(descriptor, self.at, address(positions), len(positions), self._step, address(told)):
            return None
        num_bytes, missing = told.tolist()
        self._step = 1 if missing else _PROBE_STEP
        return int(num_bytes)

    def num_sound(self, positions: np.ndarray) -> int:
        """Return how many of the positions come before the first whose body does not have its checksum."""
        sound: int = self._kernels.check(self.at, address(positions), len(positions))
        return sound

    def copy_payloads(self, job: "BodyJob") -> int:
        """Copy payloads out of stored frames; return how many are done before the first that is damaged."""
        assert job.sizes is not None
        out = address(job.out), job.out.size, address(job.rows), address(job.sizes)
        done: int = self._kernels.copy_payloads(self.at, address(job.positions), len(job.rows), *out, job.chosen())
        return done


@dataclass(frozen=True, slots=True)
class BodyJob:
    """Bodies to be decoded into rows of a batch, as a codec's kernel takes them.

    Attributes:
        bodies: All of the shard.
        positions: int64 ``[n]``, C-contiguous, which.
        out: uint8 ``[R, C * H * W]``, C-contiguous and writable.
        rows: int64 ``[n]``, C-contiguous, the row of each.
        verify: bool ``[n]``, C-contiguous, whose checksums to verify if the codec leaves the choice; None for all.
        sizes: int64 ``[n]``, C-contiguous, the bytes of each payload, to be copied as it is; None to decode them. Then
            ``out`` is uint8 ``[bytes]``, and ``rows`` are the bytes where payloads begin.
    """

    bodies: MappedBodies
    positions: np.ndarray
    out: np.ndarray
    rows: np.ndarray
    verify: np.ndarray | None = None
    sizes: np.ndarray | None = None

    def rest(self, done: int) -> Self:
        """Return the job without its first so many bodies."""
        verify, sizes = (None if each is None else each[done:] for each in (self.verify, self.sizes))
        return replace(self, positions=self.positions[done:], rows=self.rows[done:], verify=verify, sizes=sizes)

    def arguments(self) -> tuple[int, ...]:
        """Return ``(bodies, positions, count, out, row bytes, rows in out, rows)``, as kernels take them."""
        source = self.bodies.at, address(self.positions), len(self.positions)
        return *source, address(self.out), self.out.shape[1], len(self.out), address(self.rows)

    def chosen(self) -> int | None:
        """Return where ``verify`` stands, as kernels take it."""
        return None if self.verify is None else address(self.verify)
