"""The bodies of a shard in a mapped file, as the kernels are given them: one address for all that is known of them.

In: the file and where bodies stand in it. Out: what a job needs, asked for and compared with checksums in a call each.
"""

import ctypes

import numpy as np

from ferdata.format.kernels.native import Kernels, address

__all__ = ["MappedBodies"]

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
