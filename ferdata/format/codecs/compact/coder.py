"""Pixels to payloads and back, with the compiled kernels where they are built, with NumPy elsewhere.

In: uint8 pixels. Out: payloads, and back, straight into rows of a batch. Bit-exact both ways, on every machine.
"""

import ctypes
import functools
import logging
import math
import multiprocessing
from typing import Any

import numpy as np

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codecs.compact import fallback
from ferdata.format.container import BodyJob
from ferdata.format.kernels.moves import STREAMING_BYTES
from ferdata.format.kernels.native import address, load, why_missing

__all__ = ["SLACK_BYTES", "PixelCoder", "Shape", "kernel_notice", "max_payload_bytes", "min_payload_bytes"]

Shape = tuple[int, int, int]

SLACK_BYTES = 528
"""With so many readable bytes behind a payload the kernels need no copy of it; what stands there does not matter."""
_ROOM_SLACK_BYTES = 1024
"""What kernels may read behind a payload that they have joined; ``_native.h`` says the same number."""


class _Image(ctypes.Structure):
    """The C structure of the same name."""

    _fields_ = (("channels", ctypes.c_int64), ("height", ctypes.c_int64), ("width", ctypes.c_int64))


class PixelCoder:
    """Encodes and decodes images of one shape, with scratch memory of its own; not to be shared between threads.

    Args:
        shape: ``(C, H, W)``, each at least 1.
        compiled: False leaves the compiled kernels alone even where they are built.
    """

    def __init__(self, shape: Shape, *, compiled: bool = True) -> None:
        if len(shape) != 3 or min(shape) < 1 or math.prod(shape) >= 1 << 31:
            raise OptionError(
                f"compact: shape {list(shape)} found, "
                "expected [C, H, W] with positive sizes and less than 2 GiB of pixels"
            )
        self.shape = shape
        self.max_bytes = max_payload_bytes(shape)
        self._num_bytes = math.prod(shape)
        self._kernels = load() if compiled else None
        if compiled and self._kernels is None:
            _log_notice()
        if self._kernels is not None:
            self._image = _Image(*shape)
            self._image_at = ctypes.addressof(self._image)
            self._scratch = np.empty(self._kernels.scratch_bytes(self._image_at), np.uint8)
            self._scratch_at = address(self._scratch)
            self._room = np.empty(self.max_bytes + _ROOM_SLACK_BYTES, np.uint8)
            self._room_at = address(self._room)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Return the payload of uint8 ``[C, H, W]`` pixels: uint8, at most ``max_bytes``, the same on every machine."""
        if pixels.shape != self.shape or pixels.dtype != np.uint8:
            raise OptionError(
                f"compact: {pixels.dtype} {list(pixels.shape)} found, expected uint8 {list(self.shape)}; "
                "convert the pixels first"
            )
        pixels = np.ascontiguousarray(pixels)
        if self._kernels is None:
            return fallback.encode(pixels)
        payload = np.empty(self.max_bytes, np.uint8)
        num_bytes = self._kernels.encode(self._image_at, address(pixels), address(payload), self._scratch_at)
        return payload[:num_bytes]

    def decode_into(self, payload: Any, out: np.ndarray, *, slack_bytes: int = 0) -> None:
        """Undo one payload into ``out``.

        Args:
            payload: Bytes-like, exactly what ``encode`` returned.
            out: uint8, C-contiguous, of ``C * H * W`` elements in any shape.
            slack_bytes: How many bytes behind the payload may be read; :data:`SLACK_BYTES` saves a copy.

        Raises:
            ShardCorruptError: If the payload is not one that ``encode`` returned; ``out`` then holds anything.
        """
        source = np.frombuffer(payload, np.uint8)
        num_bytes = len(source)
        self._check_out(out, self._num_bytes)
        if self._kernels is None:
            pixels = fallback.decode(source, self.shape)
            undone = pixels is not None
            if undone:
                out.reshape(self.shape)[:] = pixels
        else:
            undone = not self._kernels.decode(
                self._image_at, address(source), num_bytes, slack_bytes, address(out), self._scratch_at
            )
        if not undone:
            raise ShardCorruptError(
                f"{num_bytes:,} bytes contradict themselves, expected a payload of {list(self.shape)} pixels"
            )

    def decode_job(self, job: BodyJob) -> int:
        """Decode bodies of a mapped file; see :meth:`BodyDecoder.many`."""
        self._check_out(job.out, len(job.out) * self._num_bytes)
        if self._kernels is None:
            return 0
        undo = self._image_at, self._room_at, self.max_bytes, self._scratch_at
        is_streamed = int(self._num_bytes >= STREAMING_BYTES)
        done: int = self._kernels.decode_bodies(*job.arguments(), job.chosen(), *undo, is_streamed)
        return done

    def _check_out(self, out: np.ndarray, num_bytes: int) -> None:
        if out.dtype != np.uint8 or out.size != num_bytes or not out.flags.c_contiguous or not out.flags.writeable:
            raise OptionError(
                f"compact: {out.dtype} {list(out.shape)} found, "
                f"expected writable contiguous uint8 memory for pixels {list(self.shape)}"
            )


def max_payload_bytes(shape: Shape) -> int:
    """Return the most bytes that the payload of an image can take."""
    return 16 + 65 * -(-math.prod(shape) // 64)


def min_payload_bytes(shape: Shape) -> int:
    """Return the least bytes that it can take."""
    return 12 + -(-math.prod(shape) // 64)


def kernel_notice() -> str:
    """Return what is slow on this machine and what to do about it; empty where the compiled kernels are in use."""
    if load() is not None:
        return ""
    return (
        f"compact codec: the compiled kernels are missing ({why_missing()}), so NumPy decodes it: "
        "more than a hundred times slower, some 100 images of 224 px a second and core; "
        "install a C compiler, then install ferdata again (in its repository: make -B setup)"
    )


@functools.cache
def _log_notice() -> None:
    if multiprocessing.parent_process() is None:
        logging.getLogger("ferdata").warning(kernel_notice())
