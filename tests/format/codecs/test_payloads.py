"""The bytes of a payload: fixed for ever, and readable from their page alone."""

import numpy as np
import pytest

from ferdata.format.codecs.compact import PixelCoder
from ferdata.format.kernels.native import BEST, load

GOLDEN = "03 00 00 00 03 00 00 00 01 00 00 00 04 41 10 00 00 40 5e 00 2a 01 10 02 00 02 00 00 00 07 01 00 01".replace(
    " ", ""
)
"""A payload as it has always been."""


@pytest.mark.parametrize("compiled", [True, False])
def test_a_golden_payload_never_changes(compiled: bool) -> None:
    """The worked example of FORMAT.md, byte for byte: a shard written today is read by every later version."""
    pixels = np.array(
        [[[10, 11, 13], [10, 12, 13]], [[20, 21, 22], [21, 23, 24]], [[30, 30, 31], [31, 32, 30]]], np.uint8
    )
    coder = PixelCoder(pixels.shape, compiled=compiled)

    payload = coder.encode(pixels).tobytes()

    assert payload.hex() == GOLDEN


def read_from_the_page(payload: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Undo gradient, green, rice with whole numbers and lists, as ferdata/format/FORMAT.md says and nothing else."""
    words, at = -(-shape[0] * shape[1] * shape[2] // 64), 12
    lengths = [int.from_bytes(payload[4 * i : 4 * i + 4], "little") for i in range(3)]

    def take(num_bytes: int) -> list[int]:
        nonlocal at
        at += num_bytes
        return [byte >> bit & 1 for byte in payload[at - num_bytes : at] for bit in range(8)]

    nibbles = [nibble for byte in payload[at : at + words] for nibble in (byte & 15, byte >> 4)]
    at += words
    widths = [0 if nibble == 0 else 8 if nibble == 8 else nibble - 1 for nibble in nibbles]
    quotients = [take(4) if 1 <= nibble <= 7 else [0] * 32 for nibble in nibbles]
    values = []
    for width in widths:
        for _ in range(4):
            planes = [take(1) for _ in range(width)]
            values.append([sum(plane[i] << p for p, plane in enumerate(planes)) for i in range(8)])
    low = np.array(values).reshape(-1, 32).tolist()
    for step, length in ((1, lengths[0]), (2, lengths[1])):
        bits = iter(take(-(-length // 8)))
        quotients = [[q + next(bits) if q == step else q for q in group] for group in quotients]
    ones, twos = iter(take(-(-lengths[2] // 8))), iter(take(-(-lengths[2] // 8)))
    quotients = [[3 + next(ones) + 2 * next(twos) if q == 3 else q for q in group] for group in quotients]
    assert at == len(payload)
    folded = [
        a | q << width
        for width, group, tops in zip(widths, low, quotients, strict=True)
        for a, q in zip(group, tops, strict=True)
    ]
    residuals = iter([z // 2 if z % 2 == 0 else -(z + 1) // 2 for z in folded])
    planes = np.zeros(shape, np.int64)
    for c, y, x in np.ndindex(shape):
        left, up, corner = (planes[c, y - b, x - a] if y >= b and x >= a else 0 for a, b in ((1, 0), (0, 1), (1, 1)))
        planes[c, y, x] = ((left + up - corner if x and y else left + up) + next(residuals)) % 256
    if len(planes) >= 3:
        planes[:3] = np.stack([planes[1] + planes[0], planes[0], planes[2] + planes[0]])
    return planes % 256


@pytest.mark.parametrize("shape", [(1, 3, 5), (3, 13, 17), (4, 9, 9)])
@pytest.mark.parametrize("amplitude", [1, 3, 40, 256])
def test_the_page_alone_is_enough_to_read_a_payload(shape: tuple[int, int, int], amplitude: int) -> None:
    """Somebody without ferdata must get the pixels out in ten years."""
    pixels = np.random.default_rng(amplitude).integers(0, amplitude, shape).astype(np.uint8)

    assert np.array_equal(read_from_the_page(PixelCoder(shape).encode(pixels).tobytes(), shape), pixels)


ODD = {
    "a value of 384": ("01 00 00 00 01 00 00 00 01 00 00 00 07 01 00 00 00" + " 00" * 24 + " 01 01 01 01", 64),
    "fill bits of a section": ("01 00 00 00 00 00 00 00 00 00 00 00 07 01 00 00 00" + " 00" * 24 + " fe", 32),
    "quotients behind n": ("02 00 00 00 00 00 00 00 00 00 00 00 07 03 00 00 00" + " 00" * 24 + " 00", 32),
    "low bits behind n": ("00 00 00 00 00 00 00 00 00 00 00 00 02 00 00 00 00 fe ff ff ff", 0),
}


@pytest.mark.parametrize(("payload", "pixel"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("limit", [None, 0, 1, BEST])
def test_what_no_writer_makes_means_the_same_to_every_reader(limit: int | None, payload: str, pixel: int) -> None:
    """FORMAT.md 9.3 has readers look past it; two of them that gave other pixels would both be right."""
    kernels = load()
    if limit is not None and kernels is None:
        pytest.skip("the compiled kernels are not built")
    out = np.empty((1, 1, 1), np.uint8)
    try:
        if kernels is not None and limit is not None:
            kernels.select(limit)
        PixelCoder(out.shape, compiled=limit is not None).decode_into(bytes.fromhex(payload), out)
    finally:
        if kernels is not None:
            kernels.select(BEST)

    assert out.ravel().tolist() == [pixel]
