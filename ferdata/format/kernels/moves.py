"""Ways of moving pixels into a batch row, HWC to CHW and one copy for a whole frame of samples; and their sums.

In: decoded bytes. Out: rows of a batch. Compiled where the kernels are built, NumPy elsewhere.
"""

import numpy as np

from ferdata.errors import OptionError
from ferdata.format.kernels.native import address, load

__all__ = ["channel_moments", "deinterleave_into", "scatter", "split_rgbx_into"]

STREAMING_BYTES = 8192
"""Rows of at least this size are written past the cache: a ring of them is larger than any cache, and reading a line
only to overwrite it costs up to half of the copy (docs/codecs.md)."""


def deinterleave_into(hwc: np.ndarray, out: np.ndarray) -> None:
    """Copy uint8 ``[H, W, 3]`` into uint8 ``[3, H, W]`` memory, both contiguous."""
    if not _split(hwc, 3, out):
        np.copyto(out, hwc.transpose(2, 0, 1))


def split_rgbx_into(rgbx: np.ndarray, planes: np.ndarray) -> bool:
    """Copy uint8 ``[H, W, 4]``, whose fourth byte means nothing, into uint8 ``[3, H, W]``.

    Returns:
        False, with nothing done, where there are no kernels for it.
    """
    return _split(rgbx, 4, planes)


def _split(packed: np.ndarray, step: int, planes: np.ndarray) -> bool:
    """Copy uint8 ``[H, W, step]`` into ``[3, H, W]`` if there are kernels for it; tell whether."""
    height, width, found = packed.shape if packed.ndim == 3 else (0, 0, 0)
    if found != step or planes.shape != (3, height, width) or packed.dtype != np.uint8 or planes.dtype != np.uint8:
        raise OptionError(
            f"pixels: {list(packed.shape)} into {list(planes.shape)} found, "
            f"expected uint8 [H, W, {step}] into [3, H, W]"
        )
    kernels = load()
    if kernels is None or not (packed.flags.c_contiguous and planes.flags.c_contiguous and planes.flags.writeable):
        return False
    kernels.planes(address(packed), step, height * width, address(planes), 0)
    return True


def scatter(samples: np.ndarray, out: np.ndarray, rows: np.ndarray, *, streaming: bool | None = None) -> None:
    """Copy ``samples[i]`` to ``out[rows[i]]``; negative rows are skipped.

    Args:
        samples: uint8 ``[n, row_bytes]``, rows contiguous, at any stride: a strided view of a shard will do.
        out: uint8 ``[R, row_bytes]``, C-contiguous.
        rows: int64 ``[n]``, each below ``R``.
        streaming: Write past the cache; None decides by the size of a row.
    """
    rows = np.ascontiguousarray(rows, np.int64)
    if samples.ndim != 2 or out.ndim != 2 or samples.shape[1] != out.shape[1] or rows.shape != (len(samples),):
        raise OptionError(
            f"rows: {list(samples.shape)} into {list(out.shape)} found, "
            "expected [n, row_bytes] into [R, row_bytes] and n rows"
        )
    if len(rows) and rows.max() >= len(out):
        raise OptionError(f"rows: up to {rows.max()} found, expected at most {len(out) - 1}")
    kernels = load()
    plain = (
        samples.dtype == np.uint8
        and out.dtype == np.uint8
        and samples.strides[1] == 1
        and out.flags.c_contiguous
        and out.flags.writeable
    )
    if kernels is None or not plain:
        out[rows[rows >= 0]] = samples[rows >= 0]
        return
    past_cache = out.shape[1] >= STREAMING_BYTES if streaming is None else streaming
    to_rows = address(out), out.shape[1], address(rows)
    kernels.scatter(address(samples), samples.strides[0], len(samples), *to_rows, int(past_cache))


def channel_moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums and the sums of squares per channel of uint8 ``[C, H, W]``, exactly, as int64 ``[C]``."""
    kernels = load()
    if kernels is None or not pixels.flags.c_contiguous or pixels.dtype != np.uint8:
        flat = pixels.reshape(len(pixels), -1)
        return flat.sum(axis=1, dtype=np.int64), np.square(flat, dtype=np.uint16).sum(axis=1, dtype=np.int64)
    moments = np.empty((len(pixels), 2), np.int64)
    kernels.moments(address(pixels), len(pixels), pixels[0].size, address(moments))
    return moments[:, 0], moments[:, 1]
