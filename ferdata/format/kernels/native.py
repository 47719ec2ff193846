"""The compiled kernels behind ctypes: no interpreter headers to build them, and the GIL is free while they run.

In: addresses of arrays that the caller has checked. Out: the same arrays, filled. A call costs about two microseconds.
"""

import ctypes
import functools
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Kernels", "address", "load", "why_missing"]

ABI = 10
"""What these declarations fit; raised in ``_native.h`` and here together, so that a stale library is not called."""
BEST = 2
"""The best of the instruction sets that ``Kernels.select`` knows: 0 plain C, 1 AVX2, 2 AVX-512."""


_address_of = ctypes.addressof
_first_byte: Callable[[Any], ctypes.c_char] = ctypes.c_char.from_buffer


class Kernels:
    """The functions of the compiled library, with their argument types.

    Attributes:
        scratch_bytes: ``(image) -> bytes`` of scratch that the next two need.
        encode: ``(image, pixels, payload, scratch) -> payload size``.
        decode: ``(image, payload, payload bytes, slack bytes, pixels, scratch) -> 0, or -1 where it is damaged``.
        planes: ``(packed, bytes a pixel, pixels, chw, streaming)``.
        scatter: ``(samples, stride, count, out, row bytes, rows, streaming)``.
        moments: ``(values, channels, count, moments)``.
        expect: ``(file descriptor, bodies, positions, count, step, [bytes, missing]) -> 0, or -1 for bad positions``.
        check: ``(bodies, positions, count) -> sound ones before the first that is not``.
        copy: ``(bodies, positions, count, out, row bytes, rows in out, rows, chosen or None, streaming) -> bodies done
            before the first that is damaged``.
        plain_jpegs: ``(bodies, positions, count, height, width) -> ones before the first that is not``.
        inflate: ``(decompress, context, bodies, positions, count, out, row bytes, rows in out, rows) -> frames done
            before the first that could not be``.
        decode_bodies: ``(bodies, positions, count, out, row bytes, rows in out, rows, chosen or None, image, room,
            payload bytes in room, scratch, streaming) -> bodies done before the first that is damaged``.
        copy_payloads: ``(bodies, positions, count, out, bytes of out, starts, sizes, chosen or None) -> payloads done
            before the first that is damaged``.
        guard: ``(start, bytes) -> guard``, or None if a mapping cannot be guarded; its first int32: were pages missing.
        unguard: ``(guard)``.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        pointer, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
        self.abi = _declare(library, "abi", number)()
        self._select = _declare(library, "select", number, number)
        self.scratch_bytes = _declare(library, "scratch_bytes", size, pointer)
        self.encode = _declare(library, "encode", size, pointer, pointer, pointer, pointer)
        self.decode = _declare(library, "decode", number, pointer, pointer, size, size, pointer, pointer)
        self.planes = _declare(library, "planes", None, pointer, number, size, pointer, number)
        self.scatter = _declare(library, "scatter", None, pointer, size, size, pointer, size, pointer, number)
        self.moments = _declare(library, "moments", None, pointer, size, size, pointer)
        job, to_rows = (pointer, pointer, size), (pointer, size, size, pointer)
        self.expect = _declare(library, "expect", number, number, *job, size, pointer)
        self.check = _declare(library, "check", size, *job)
        self.copy = _declare(library, "copy", size, *job, *to_rows, pointer, number)
        self.plain_jpegs = _declare(library, "plain_jpegs", size, *job, size, size)
        undo = (pointer, pointer, size, pointer)
        self.inflate = _declare(library, "inflate", size, pointer, pointer, *job, *to_rows)
        self.decode_bodies = _declare(library, "decode_bodies", size, *job, *to_rows, pointer, *undo, number)
        self.copy_payloads = _declare(library, "copy_payloads", size, *job, pointer, size, pointer, pointer, pointer)
        self.guard = _declare(library, "guard", pointer, pointer, size)
        self.unguard = _declare(library, "unguard", None, pointer)
        self.select(BEST)

    def select(self, limit: int) -> str:
        """Use the best instruction set up to ``limit`` that this processor has, and return its name."""
        chosen = int(self._select(limit))
        self.instructions = ("plain C", "AVX2", "AVX-512")[chosen & 15] + (" with pdep" if chosen & 16 else "")
        return self.instructions


def load() -> Kernels | None:
    """Return the kernels, or None where they are not built or do not fit; nothing is ever compiled here."""
    return _load()[0]


def why_missing() -> str:
    """Return why :func:`load` gave None; empty where it did not."""
    return _load()[1]


def address(array: np.ndarray) -> int:
    """Return where the data of an array starts; a quarter of a microsecond, six times less than NumPy's own ways."""
    try:
        return _address_of(_first_byte(array))
    except (TypeError, ValueError):
        return int(array.__array_interface__["data"][0])  # read-only or empty


@functools.cache
def _load() -> tuple[Kernels | None, str]:
    if sys.byteorder != "little":
        return None, "they are for little-endian machines"
    paths = [path for suffix in EXTENSION_SUFFIXES if (path := Path(__file__).with_name("_native" + suffix)).exists()]
    if not paths:
        return None, "they are not built"
    try:
        kernels = Kernels(paths[0])
    except (OSError, AttributeError) as error:
        return None, f"{paths[0].name} cannot be loaded ({error})"
    return (kernels, "") if kernels.abi == ABI else (None, f"{paths[0].name} is of another version")


def _declare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function = library[f"ferdata_{name}"]
    function.restype, function.argtypes = result, arguments
    return function
