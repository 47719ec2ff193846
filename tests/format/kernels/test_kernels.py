"""Moving pixels: planes, rows of a batch, sums; the compiled way and NumPy's give the same bytes."""

import numpy as np
import pytest

from ferdata.errors import OptionError
from ferdata.format import kernel_notice
from ferdata.format.kernels import channel_moments, deinterleave_into, scatter, split_rgbx_into
from ferdata.format.kernels.native import BEST, load

needs_kernels = pytest.mark.skipif(load() is None, reason=kernel_notice() or "built")


def noise(*shape: int) -> np.ndarray:
    """uint8 of any shape, the same every time."""
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("width", [1, 5, 15, 16, 17, 33, 100])
def test_interleaved_pixels_become_planes(width: int) -> None:
    """Every decoded JPEG passes here, so tails of any length must be right."""
    hwc = noise(7, width, 3)
    out = np.zeros((3, 7, width), np.uint8)

    deinterleave_into(hwc, out)

    assert np.array_equal(out, hwc.transpose(2, 0, 1))
    with pytest.raises(OptionError, match=r"expected uint8 \[H, W, 3\] into \[3, H, W\]"):
        deinterleave_into(hwc, out[:2])


@needs_kernels
@pytest.mark.parametrize("limit", [0, BEST])
@pytest.mark.parametrize("width", [1, 15, 16, 31, 32, 33, 224])
def test_pixels_of_four_bytes_are_split_into_planes(width: int, limit: int) -> None:
    """Vector loops end before the last pixels, and a step too far writes into the next plane."""
    rgbx = noise(7, width, 4)
    planes = np.zeros((3, 7, width), np.uint8)
    kernels = load()
    assert kernels is not None
    kernels.select(limit)
    try:
        assert split_rgbx_into(rgbx, planes)
    finally:
        kernels.select(BEST)
    assert np.array_equal(planes, rgbx[:, :, :3].transpose(2, 0, 1))
    with pytest.raises(OptionError, match=r"expected uint8 \[H, W, 4\] into \[3, H, W\]"):
        split_rgbx_into(rgbx, np.zeros((2, 7, width), np.uint8))


@needs_kernels
@pytest.mark.parametrize("limit", [0, BEST])
@pytest.mark.parametrize(
    ("size", "content"),
    [(1, "noise"), (31, "noise"), (33, "noise"), (131_073, "white"), (600_001, "white"), (400_001, "noise")],
)
def test_moments_are_exact(size: int, content: str, limit: int) -> None:
    """32-bit sums of squares overflow after some hundred thousand white pixels."""
    pixels = noise(3, 1, size) if content == "noise" else np.full((3, 1, size), 255, np.uint8)
    kernels = load()
    assert kernels is not None
    kernels.select(limit)
    try:
        sums, squares = channel_moments(pixels)
    finally:
        kernels.select(BEST)
    wide = pixels.reshape(3, -1).astype(np.int64)
    assert sums.tolist() == wide.sum(axis=1).tolist()
    assert squares.tolist() == np.square(wide).sum(axis=1).tolist()


@pytest.mark.parametrize("row_bytes", [1, 31, 255, 300, 9001])
@pytest.mark.parametrize("streaming", [True, False, None])
def test_samples_of_a_frame_are_copied_to_their_rows(row_bytes: int, streaming: bool | None) -> None:
    """Past the cache or through it, the same bytes arrive and no others change."""
    frame = np.random.default_rng(3).integers(0, 256, 7 * (row_bytes + 13)).astype(np.uint8)
    samples = np.lib.stride_tricks.as_strided(frame[5:], (6, row_bytes), (row_bytes + 13, 1))
    memory = np.full(9 * row_bytes + 1, 0x5A, np.uint8)
    out = memory[1:].reshape(9, row_bytes)
    rows = np.array([8, 0, -1, 3, 5, 1])

    scatter(samples, out, rows, streaming=streaming)

    for row in range(9):
        expected = samples[list(rows).index(row)] if row in rows else np.full(row_bytes, 0x5A)
        assert np.array_equal(out[row], expected)
    with pytest.raises(OptionError, match="up to 9 found, expected at most 8"):
        scatter(samples, out, rows + 1)
