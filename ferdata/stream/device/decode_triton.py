"""Payloads of ``compact`` to pixels in one Triton kernel: a program for each image, no scratch memory.

In: payloads on a CUDA device and where they begin. Out: pixels, and which images were sound, as from ``decode_torch``.
A program finds the sections of its payload, leaves the residuals where the pixels will be, and sums them up in place.
"""

import math

import torch
import triton
import triton.language as tl

__all__ = ["fits", "undo"]

_BLOCK = 1024
"""Values undone at a time, in whole groups of 32."""
_TILE = 2048
"""Residuals summed up at a time, in whole rows if there is room for one."""
_MAX_COLUMNS = 4096


def fits(shape: tuple[int, int, int]) -> bool:
    """Return whether images of a shape can be undone here: a row has to fit in the registers of a program."""
    return shape[2] <= _MAX_COLUMNS


def undo(payloads: torch.Tensor, offsets: torch.Tensor, shape: tuple[int, int, int], out: torch.Tensor) -> torch.Tensor:
    """Decode a batch of any size in one launch; arguments and result are those of ``decode_torch.undo``."""
    channels, height, width = shape
    num_values = math.prod(shape)
    images = out if out.is_contiguous() else torch.empty(out.shape, dtype=torch.uint8, device=out.device)
    sound = torch.empty(len(out), dtype=torch.uint8, device=out.device)
    columns = triton.next_power_of_2(width)
    with torch.cuda.device_of(payloads):
        _undo[(len(out),)](
            payloads,
            offsets,
            images,
            sound,
            len(payloads),
            channels,
            height,
            width,
            num_values,
            -(-num_values // 64),
            BLOCK=_BLOCK,
            ROWS=max(1, _TILE // columns),
            COLUMNS=columns,
        )
    if images is not out:
        out.copy_(images)
    return sound.bool()


@triton.jit
def _undo(
    payloads,
    offsets,
    out,
    sound,
    num_bytes,  # in payloads
    channels,
    height,
    width,
    num_values,
    words,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    start = tl.load(offsets + image)
    stop = tl.load(offsets + image + 1)
    ok = (start >= 0) & (start <= stop) & (stop <= num_bytes)
    size = tl.where(ok, stop - start, 0)
    ok = ok & (size >= 12 + words) & (size <= 16 + 65 * words)
    size = tl.where(ok, size, 0).to(tl.int32)
    payload = payloads + tl.where(ok, start, 0)
    residuals = out + image * num_values

    num_second = _length(payload, size, 0)
    num_third = _length(payload, size, 4)
    num_tail = _length(payload, size, 8)
    most = 64 * words
    ok = ok & (num_second <= most) & (num_third <= most) & (num_tail <= most)
    second_bytes = (tl.minimum(num_second, most).to(tl.int32) + 7) >> 3
    third_bytes = (tl.minimum(num_third, most).to(tl.int32) + 7) >> 3
    tail_bytes = (tl.minimum(num_tail, most).to(tl.int32) + 7) >> 3

    num_first, num_low, num_unheard = _counted(payload, size, words, BLOCK)
    first_at = 12 + words
    low_at = first_at + 4 * num_first
    second_at = low_at + 4 * num_low
    third_at = second_at + second_bytes
    tail_at = third_at + third_bytes
    ok = ok & (num_unheard == 0) & (tail_at + 2 * tail_bytes == size)

    first_done = 0
    low_done = 0
    second_done = 0
    third_done = 0
    tail_done = 0
    for begin in range(0, tl.where(ok, 64 * words, 0), BLOCK):
        i = begin + tl.arange(0, BLOCK)
        counts = _byte(payload, size, 12 + (i >> 6), i < 64 * words)
        nibble = (counts >> ((i >> 5 & 1) * 4)) & 15
        has_quotients = ((nibble > 0) & (nibble < 8)).to(tl.int32)
        planes = nibble - has_quotients
        heads = tl.where((i & 31) == 0, has_quotients, 0)
        lanes = tl.where((i & 7) == 0, planes, 0)
        first = first_at + 4 * (first_done + tl.cumsum(heads, 0) - has_quotients) + (i >> 3 & 3)
        low = low_at + low_done + tl.cumsum(lanes, 0) - planes
        one = (_byte(payload, size, first, has_quotients > 0) >> (i & 7)) & 1
        at = second_done + tl.cumsum(one, 0) - one
        two = _bit(payload, size, second_at, at, one)
        at = third_done + tl.cumsum(two, 0) - two
        three = _bit(payload, size, third_at, at, two)
        at = tail_done + tl.cumsum(three, 0) - three
        quotient = one + two + three + _bit(payload, size, tail_at, at, three)
        quotient += 2 * _bit(payload, size, tail_at + tail_bytes, at, three)
        value = quotient << tl.minimum(planes, 7)
        for plane in tl.static_range(8):
            value += ((_byte(payload, size, low + plane, planes > plane) >> (i & 7)) & 1) << plane
        residual = (value >> 1 & 127) ^ -(value & 1)
        tl.store(residuals + i, residual.to(tl.uint8), mask=i < num_values)
        first_done += tl.sum(heads, 0)
        low_done += tl.sum(lanes, 0)
        second_done += tl.sum(one, 0)
        third_done += tl.sum(two, 0)
        tail_done += tl.sum(three, 0)
    ok = ok & (second_done == num_second) & (third_done == num_third) & (tail_done == num_tail)
    tl.store(sound + image, ok.to(tl.uint8))
    tl.debug_barrier()  # what one thread has left there others read

    num_rows = tl.where(ok, height, 0)
    area = height * width
    if channels >= 3:
        green_above = tl.zeros((COLUMNS,), tl.int32)
        red_above = tl.zeros((COLUMNS,), tl.int32)
        blue_above = tl.zeros((COLUMNS,), tl.int32)
        for top in range(0, num_rows, ROWS):
            at, inside = _tile(top, height, width, ROWS, COLUMNS)
            green, green_above = _summed(residuals, at, inside, green_above)
            red, red_above = _summed(residuals + area, at, inside, red_above)
            blue, blue_above = _summed(residuals + 2 * area, at, inside, blue_above)
            tl.debug_barrier()
            tl.store(residuals + at, (red + green).to(tl.uint8), mask=inside)
            tl.store(residuals + area + at, green.to(tl.uint8), mask=inside)
            tl.store(residuals + 2 * area + at, (blue + green).to(tl.uint8), mask=inside)
    for channel in range(tl.where(channels >= 3, 3, 0), channels):
        above = tl.zeros((COLUMNS,), tl.int32)
        for top in range(0, num_rows, ROWS):
            at, inside = _tile(top, height, width, ROWS, COLUMNS)
            plane, above = _summed(residuals + channel * area, at, inside, above)
            tl.debug_barrier()
            tl.store(residuals + channel * area + at, plane.to(tl.uint8), mask=inside)


@triton.jit
def _byte(payload, size, at, wanted):
    """Return the bytes at ``at``, int32; 0 where they are not wanted, or not in the payload."""
    return tl.load(payload + at, mask=wanted & (at >= 0) & (at < size), other=0).to(tl.int32)


@triton.jit
def _bit(payload, size, section, at, wanted):
    """Return the bits at ``at`` of a section, where ``wanted`` is 1."""
    return (_byte(payload, size, section + (at >> 3), wanted > 0) >> (at & 7)) & 1


@triton.jit
def _length(payload, size, at):
    """Return a length of the header, int64."""
    place = tl.arange(0, 4)
    number = _byte(payload, size, at + place, place >= 0).to(tl.int64) << (8 * place).to(tl.int64)
    return tl.sum(number, 0)


@triton.jit
def _counted(payload, size, words, BLOCK: tl.constexpr):
    """Return how many groups have quotients, how many low planes all have, and how many nibbles are above 8."""
    num_first = 0
    num_low = 0
    num_unheard = 0
    for begin in range(0, 2 * words, BLOCK):
        group = begin + tl.arange(0, BLOCK)
        counts = _byte(payload, size, 12 + (group >> 1), group < 2 * words)
        nibble = (counts >> ((group & 1) * 4)) & 15
        has_quotients = ((nibble > 0) & (nibble < 8)).to(tl.int32)
        num_first += tl.sum(has_quotients, 0)
        num_low += tl.sum(nibble - has_quotients, 0)
        num_unheard += tl.sum((nibble > 8).to(tl.int32), 0)
    return num_first, num_low, num_unheard


@triton.jit
def _tile(top, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return where in a plane the values of some rows are, and which of them there are at all."""
    y = top + tl.arange(0, ROWS)[:, None]
    x = tl.arange(0, COLUMNS)[None, :]
    return y * width + x, (y < height) & (x < width)


@triton.jit
def _summed(plane, at, inside, above):
    """Return the running sums of a tile along rows and columns, and the last of them, for the tile below."""
    rows = tl.cumsum(tl.load(plane + at, mask=inside, other=0).to(tl.int32), 1)
    return tl.cumsum(rows, 0) + above[None, :], above + tl.sum(rows, 0)
