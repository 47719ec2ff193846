"""The system's libzstd, if there is one: what the kernels call to inflate a whole job without Python in between.

In: nothing. Out: the address of its function, and a context for it. Python's binding stays the judge: what this library
does not inflate is tried again there, so that nothing is refused for it, and frames are taken by their checksum alone.
"""

import contextlib
import ctypes
import functools
import weakref

__all__ = ["LibzstdContext", "find_libzstd"]

_NAMES = ("libzstd.so.1", "libzstd.1.dylib")
_SOLO = bytes.fromhex("28b52ffd2404210000736f6c6f2dd49bb0")
"""A frame of the four bytes ``solo``, with their size and their checksum."""


class LibzstdContext:
    """What one thread inflates with: ``function`` and ``address`` are those that a kernel is given."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.function = ctypes.cast(library.ZSTD_decompressDCtx, ctypes.c_void_p).value
        self.address = library.ZSTD_createDCtx()
        if self.address is None:
            raise MemoryError("libzstd: no memory for a context")
        weakref.finalize(self, library.ZSTD_freeDCtx, self.address).atexit = False  # a thread may be inflating with it


@functools.cache
def find_libzstd() -> ctypes.CDLL | None:
    """Return the library, once it has inflated a sound frame and refused a damaged one; None if there is no such."""
    for name in _NAMES:
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(name)
            pointer, size = ctypes.c_void_p, ctypes.c_size_t
            library.ZSTD_createDCtx.restype = pointer
            library.ZSTD_freeDCtx.argtypes = (pointer,)
            library.ZSTD_decompressDCtx.restype = size
            library.ZSTD_decompressDCtx.argtypes = (pointer, pointer, size, ctypes.c_char_p, size)
            if _inflates(library, _SOLO) and not _inflates(library, _SOLO[:-1] + b"\0"):
                return library
    return None


def _inflates(library: ctypes.CDLL, frame: bytes) -> bool:
    context, out = LibzstdContext(library), ctypes.create_string_buffer(4)
    return library.ZSTD_decompressDCtx(context.address, out, 4, frame, len(frame)) == 4 and out.raw == b"solo"
