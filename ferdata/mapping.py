"""Files opened without waiting, read at a place, or mapped over memory that is mapped already.

In: a path, or memory and a file. ``mmap.mmap`` alone lets the kernel choose where, and before Python 3.13 keeps a
descriptor as long as the mapping lives, of which a process may have 1,024; where :data:`CAN_MAP_OVER`, neither.
"""

import ctypes
import mmap
import os
import stat

import numpy as np

from ferdata.errors import StoreError

__all__ = ["ANONYMOUS", "CAN_MAP_OVER", "OPEN_FLAGS", "address_of", "map_over", "open_regular", "read_at"]

OPEN_FLAGS: int = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Of files that are read: one that turns out to be a pipe is not waited for, and bytes stay as they are."""
CAN_MAP_OVER = hasattr(mmap, "MAP_PRIVATE")
"""Not on Windows, which has no such descriptors."""
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS if CAN_MAP_OVER else 0
"""Flags of memory that is this process's alone, and takes up none until it is touched."""
_MAP_FIXED = 0x10
"""Linux's, macOS's and the BSDs', which the module ``mmap`` does not name."""


def address_of(memory: mmap.mmap) -> int:
    """Return where memory is mapped."""
    return int(np.frombuffer(memory, np.uint8).ctypes.data)


def map_over(memory: mmap.mmap, start: int, fd: int, num_bytes: int, *, protection: int) -> None:
    """Map the beginning of a file, shared, over anonymous memory from ``start`` on, a multiple of the page size.

    Raises:
        OSError: If the system cannot.
    """
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong]
    address = address_of(memory) + start
    if call(address, num_bytes, protection, mmap.MAP_SHARED | _MAP_FIXED, fd, 0) != address:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def open_regular(path: str, flags: int = os.O_RDONLY) -> int:
    """Open a file, as an opener for :func:`open`: never wait, as a pipe without a writer does; refuse what may not end.

    Raises:
        StoreError: If it is not a regular file.
    """
    descriptor = os.open(path, flags | OPEN_FLAGS)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise StoreError(f"{path}: {found} found, expected a regular file; remove it")
    return descriptor


def read_at(fd: int, num_bytes: int, start: int) -> bytes:
    """Return bytes of a file from a place on, fewer at its end."""
    if hasattr(os, "pread"):
        return os.pread(fd, num_bytes, start)
    os.lseek(fd, start, os.SEEK_SET)  # Windows; the file is one thread's at a time
    return os.read(fd, num_bytes)
