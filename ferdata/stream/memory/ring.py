"""The ring: batch slots in shared memory, allocated once, since fresh memory costs more than decoding.

In: a number of slots. Out: arrays over them, and leases that return a slot once nothing refers to its memory.
"""

import contextlib
import mmap
import os
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from ferdata.errors import OptionError, WorkerError
from ferdata.mapping import ANONYMOUS, CAN_MAP_OVER, address_of, map_over

__all__ = ["HELD_BATCHES", "Lease", "Ring", "SharedBytes", "window_batches_within"]

HELD_BATCHES = 4
"""Batches that a consumer may keep; further ones are copies."""
_HUGE_BYTES = 2 << 20
_MADV_COLLAPSE = 25
"""Linux's, which the module ``mmap`` does not name."""
_POPULATE_BYTES, _POPULATE_SECONDS = 8 << 20, 0.06
"""A kernel that must move memory to make huge pages is not waited for any longer: small ones cost as much."""


def window_batches_within(memory_bytes: int, *, batch_size: int, row_bytes: int) -> int:
    """Return the most batches per window for which ``memory_bytes`` hold two windows and what a consumer keeps.

    Raises:
        OptionError: If there is no room for one batch per window.
    """
    window_batches = (memory_bytes // (row_bytes * batch_size) - HELD_BATCHES) // 2
    if window_batches < 1:
        needed = (HELD_BATCHES + 2) * row_bytes * batch_size
        raise OptionError(
            f"memory_bytes: {memory_bytes:,} found, expected at least {needed:,} for batches of {batch_size}; "
            "raise it or use smaller batches"
        )
    return window_batches


class SharedBytes:
    """Anonymous memory, by default shared with worker processes under every start method.

    On Linux that is a memfd: it has no name, leaves nothing behind after a crash, and is not bounded by the size of
    ``/dev/shm``. Elsewhere it is a temporary file that is unlinked at once.
    """

    def __init__(self, num_bytes: int, *, between_processes: bool = True) -> None:
        self.num_bytes = num_bytes
        try:
            if not between_processes:
                self._mmap, self._start = _mapped(-1, num_bytes)
                return
            self._fd = _make_file()
            self._close = weakref.finalize(self, os.close, self._fd)
            os.ftruncate(self._fd, num_bytes)
            self._mmap, self._start = _mapped(self._fd, num_bytes)
        except OSError as error:
            raise WorkerError(
                f"loader: {num_bytes / 1e6:,.1f} MB of shared memory could not be allocated "
                f"({error.strerror or error}), expected room for it; raise the limits (ulimit -n, ulimit -v, ulimit "
                "-f) or lower memory_bytes"
            ) from error

    def __getstate__(self) -> tuple[int, Any]:
        from multiprocessing.reduction import DupFd  # not on Windows

        return self.num_bytes, DupFd(self._fd)

    def __setstate__(self, state: tuple[int, Any]) -> None:
        self.num_bytes, handle = state
        self._fd = handle.detach()
        self._mmap, self._start = _mapped(self._fd, self.num_bytes)
        self._close = weakref.finalize(self, os.close, self._fd)

    def array(self) -> np.ndarray:
        """Return uint8 ``[num_bytes]`` over the memory; it keeps the memory alive."""
        return np.frombuffer(self._mmap, np.uint8, self.num_bytes, self._start)

    def populate(self, part: int = 0, parts: int = 1) -> None:
        """Have one of several parts in huge pages from now on, whatever is in it, if the kernel can (Linux 6.1).

        Small pages come with a fault each, in every process: of a ring of 231 MB they cost two workers 210 ms, huge
        ones 17 ms. Kernels that make none for shared memory by themselves still do when they are asked like this.
        """
        if not _can_be_huge(self.num_bytes):
            return
        memory, until = self.array(), time.monotonic() + _POPULATE_SECONDS
        with contextlib.suppress(OSError):
            for start in range(part * _POPULATE_BYTES, self.num_bytes, parts * _POPULATE_BYTES):
                piece = memory[start : start + _POPULATE_BYTES]
                piece[::_HUGE_BYTES].sum()  # a huge page's stretch without a single page would be left alone
                self._mmap.madvise(_MADV_COLLAPSE, self._start + start, len(piece))
                if time.monotonic() > until:
                    break

    def discard(self, start: int, end: int) -> None:
        """Give the pages of a stretch, from one page's beginning to another's, back to the system, if it takes them."""
        for advice in ("MADV_REMOVE", "MADV_DONTNEED"):  # of a file that is shared, and of this process's own memory
            with contextlib.suppress(AttributeError, OSError):
                self._mmap.madvise(getattr(mmap, advice), self._start + start, end - start)

    def map_again(self) -> None:
        """Map the memory again in a forked process: children may not inherit memory that a driver has page-locked."""
        self._inherited = self._mmap  # never unmapped: something else may be mapped there by now
        self._mmap, self._start = _mapped(self._fd, self.num_bytes)


def _make_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ferdata-ring", os.MFD_CLOEXEC)
    fd, name = tempfile.mkstemp(prefix="ferdata-ring-")
    os.unlink(name)
    return fd


def _can_be_huge(num_bytes: int) -> bool:
    return hasattr(os, "memfd_create") and num_bytes >= _HUGE_BYTES


def _mapped(fd: int, num_bytes: int) -> tuple[mmap.mmap, int]:
    """Map a file, or memory of this process alone if ``fd`` is -1; return the mapping and where in it that begins."""
    start = 0
    if fd < 0 and CAN_MAP_OVER:
        memory = mmap.mmap(fd, num_bytes, flags=ANONYMOUS)
    else:
        memory = mmap.mmap(fd, num_bytes)
        if _can_be_huge(num_bytes):
            with contextlib.suppress(OSError):  # without room for an aligned one, it is as good but for huge pages
                memory, start = _mapped_aligned(fd, num_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # without huge pages for shared memory, small ones do
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory, start


def _mapped_aligned(fd: int, num_bytes: int) -> tuple[mmap.mmap, int]:
    """Map a file at an address that huge pages can have."""
    room = mmap.mmap(-1, num_bytes + _HUGE_BYTES, flags=ANONYMOUS)
    start = -address_of(room) % _HUGE_BYTES
    map_over(room, start, fd, num_bytes, protection=mmap.PROT_READ | mmap.PROT_WRITE)
    return room, start


class Ring:
    """Slots of ``batch_size`` rows of ``row_bytes`` each, lent to batches and taken back.

    Args:
        num_slots: Slots in all.
        batch_size: Rows of a slot.
        row_bytes: Bytes of a row.
        between_processes: Whether worker processes fill them.

    Attributes:
        rows: uint8 ``[num_slots * batch_size, row_bytes]``; slot ``s`` starts at row ``s * batch_size``.
    """

    def __init__(self, *, num_slots: int, batch_size: int, row_bytes: int, between_processes: bool = True) -> None:
        self.num_slots = num_slots
        self.batch_size = batch_size
        num_bytes = max(1, num_slots * batch_size * row_bytes)
        self.memory = SharedBytes(num_bytes, between_processes=between_processes)
        self.rows = self.memory.array()[: num_slots * batch_size * row_bytes].reshape(-1, row_bytes)
        self.slot_bytes = batch_size * row_bytes
        self.address = int(self.rows.ctypes.data)
        self._free = deque(range(num_slots))
        self._lent: dict[int, weakref.ref[Lease]] = {}

    @property
    def num_free(self) -> int:
        """Slots that are not in use."""
        return len(self._free) + len(self._lent) - self.num_leased

    @property
    def num_leased(self) -> int:
        """Slots whose batch is still referred to."""
        return sum(lease() is not None for lease in list(self._lent.values()))

    def places(self, slots: Sequence[int], samples: np.ndarray) -> np.ndarray:
        """Return the row for each sample of the batches that some slots are for, int64 ``[n]``."""
        firsts = self.batch_size * np.array(slots, np.int64)
        return (firsts[:, None] + np.arange(self.batch_size)).ravel()[: len(samples)]

    def complete(self, slot: int, samples: np.ndarray) -> np.ndarray:
        """Clear the rows of padding (-1); return a batch's rows, uint8 ``[n, row_bytes]``, once they are filled."""
        rows = self.rows[slot * self.batch_size :][: len(samples)]
        if samples[-1] < 0:
            rows[samples < 0] = 0
        return rows

    def take(self, count: int) -> list[int] | None:
        """Return ``count`` free slots to fill, or None if there are fewer."""
        if len(self._free) + len(self._lent) < count:
            return None
        for slot in [slot for slot, lease in self._lent.items() if lease() is None]:
            del self._lent[slot]
            self._free.append(slot)
        if len(self._free) < count:
            return None
        return [self._free.popleft() for _ in range(count)]

    def give_back(self, slot: int) -> None:
        """Give back a slot that was taken and not lent out."""
        self._free.append(slot)

    def reclaim(self) -> None:
        """Free all slots except those lent out, whoever took them: after an interrupt nobody may know who did."""
        self._lent = {slot: lease for slot, lease in self._lent.items() if lease() is not None}
        self._free = deque(slot for slot in range(self.num_slots) if slot not in self._lent)

    def lend(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return uint8 ``shape`` over the first rows of a slot.

        The slot is free again once the array, every view of it and every tensor made from it are gone. That is looked
        up and not signalled by a callback: one may run in any thread, and an interrupt during it would lose the slot.
        """
        lease = Lease(self.memory, self.address + slot * self.slot_bytes, shape)
        self._lent[slot] = weakref.ref(lease)
        return np.asarray(lease)


class Lease:
    """The owner of a lent slot's memory.

    NumPy follows a chain of views to the first owner that is not an array, so every view of a lent batch, of whatever
    kind, keeps this object alive; a NumPy subclass in its place would be skipped by ``np.asarray(view)``.

    Args:
        memory: What must live as long as the views.
        address: Where the slot begins.
        shape: Of the uint8 array over it.
    """

    def __init__(self, memory: object, address: int, shape: tuple[int, ...]) -> None:
        self._memory = memory
        self.__array_interface__ = {"shape": shape, "typestr": "|u1", "data": (address, False), "version": 3}
