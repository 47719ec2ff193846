"""Files mapped over memory that is mapped already: at addresses of our choice, and without a descriptor for each.

In: memory, and a file. ``mmap.mmap`` alone lets the kernel choose, and before Python 3.13 keeps a descriptor as long as
the mapping lives, of which a process may have 1,024. Only where :data:`CAN_MAP_OVER` says so.
"""

import ctypes
import mmap
import os

import numpy as np

__all__ = ["ANONYMOUS", "CAN_MAP_OVER", "address_of", "map_over"]

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
