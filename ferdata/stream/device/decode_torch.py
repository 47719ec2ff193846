"""Payloads of ``compact`` to pixels in tensor operations, on any device, for as many images at a time as memory allows.

In: payloads and where they begin. Out: pixels, and which images were sound. FORMAT.md, section 9.3, has the layout.

Eight values, a *lane*, are one byte in every bit plane, so nearly everything is done on ``[images, lanes]``: bits that
the steps left out are put in their places by a table, and two words of 32 bits hold the eight planes of a lane until
they are transposed into values. What MPS lacks or does differently is avoided: float64, unsigned and 64-bit words
(bits are shifted in int32, int64 only counts bytes of the buffer), and sums of uint8 (there they are int32).
"""

import functools
import math

import torch

__all__ = ["scratch_bytes", "undo"]

_HEADER_BYTES = 12
_RAW = 8
"""The nibble of a group kept as eight planes."""
_EVERY_BYTE = 0x01010101


def scratch_bytes(shape: tuple[int, int, int]) -> int:
    """Return the bytes of scratch that :func:`undo` takes for one image."""
    return 16 * _row_bytes(-(-math.prod(shape) // 64))


def undo(payloads: torch.Tensor, offsets: torch.Tensor, shape: tuple[int, int, int], out: torch.Tensor) -> torch.Tensor:
    """Decode one micro-batch; the number of operations does not depend on its size, and nothing waits for the device.

    Args:
        payloads: uint8 ``[P]``.
        offsets: int64 ``[M + 1]``; image i is ``payloads[offsets[i]:offsets[i + 1]]``. Whatever they are, nothing
            outside ``payloads`` is read.
        shape: ``(C, H, W)``.
        out: uint8 ``[M, C, H, W]``; rows of damaged payloads hold anything afterwards.

    Returns:
        bool ``[M]``: whether each payload is one that the format allows.
    """
    num_values = math.prod(shape)
    words = -(-num_values // 64)
    sizes, sound = _sizes(offsets, len(payloads), words)
    rows = _rows(payloads, offsets[:-1], words)
    bits = _Bits(rows)
    lengths = rows.view(torch.int32)[:, :3]
    most = 64 * words
    sound &= ((lengths >= 0) & (lengths <= most)).all(1)
    second, third, tail = lengths.clamp(0, most).unsqueeze(2).unbind(1)

    counts = rows[:, _HEADER_BYTES : _HEADER_BYTES + words]
    nibbles = torch.stack([counts & 15, counts >> 4], 2).flatten(1).int()
    sound &= (nibbles <= _RAW).all(1)
    has_quotients = ((nibbles > 0) & (nibbles < _RAW)).int()
    low_planes = (nibbles - has_quotients).clamp(max=_RAW)
    num_first = has_quotients.cumsum(1, dtype=torch.int32)
    planes = (low_planes * _EVERY_BYTE).view(torch.uint8).int()  # once for each of the four lanes of a group
    num_low = planes.cumsum(1, dtype=torch.int32)

    first_at = _HEADER_BYTES + words
    low_at = first_at + 4 * num_first[:, -1:]
    second_at = low_at + num_low[:, -1:]
    third_at = second_at + (second + 7 >> 3)
    tail_at = third_at + (third + 7 >> 3)
    tail_bytes = tail + 7 >> 3
    sound &= (tail_at + 2 * tail_bytes).squeeze(1) == sizes

    one = (bits.at(8 * (first_at + 4 * (num_first - has_quotients))) * has_quotients).view(torch.uint8)
    at, found = _steps(one, second_at)
    sound &= found == second.squeeze(1)
    two = _deposit(one, bits.at(at))
    at, found = _steps(two, third_at)
    sound &= found == third.squeeze(1)
    three = _deposit(two, bits.at(at))
    at, found = _steps(three, tail_at)
    sound &= found == tail.squeeze(1)
    even, high = _deposit(three, bits.at(at)), _deposit(three, bits.at(at + 8 * tail_bytes))
    quotients = (one ^ two ^ three ^ even).int() | (two ^ even ^ high).int() << 8 | (even | high).int() << 16

    values = _values(bits, 8 * (low_at + num_low - planes), planes, quotients)
    _restore(values[:, :num_values].view(-1, *shape), out)
    return sound


def _sizes(offsets: torch.Tensor, num_bytes: int, words: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the size of every payload, int64 ``[M]``, and whether it lies in the buffer and can be one at all."""
    starts, stops = offsets[:-1], offsets[1:]
    inside = (starts >= 0) & (starts <= stops) & (stops <= num_bytes)
    sizes = (stops - starts) * inside
    return sizes, inside & (sizes >= _HEADER_BYTES + words) & (sizes <= _HEADER_BYTES + 4 + 65 * words)


def _row_bytes(words: int) -> int:
    """Return the longest a payload can be, and what may be read behind it, in whole words of 32 bits."""
    return -(-(_HEADER_BYTES + 4 + 65 * words) // 4) * 4 + 16


def _rows(payloads: torch.Tensor, starts: torch.Tensor, words: int) -> torch.Tensor:
    """Return uint8 ``[M, row bytes]``: every payload from the start of a row of its own, whatever follows behind it."""
    if not len(payloads):
        payloads = payloads.new_zeros(1)
    length, last = _row_bytes(words), len(payloads) - 1
    kind = torch.int32 if last + length < 1 << 31 else torch.int64
    places = torch.arange(length, dtype=kind, device=payloads.device)
    places = places + starts.clamp(0, last).to(kind).unsqueeze(1)
    return payloads.index_select(0, places.clamp_(max=last).flatten()).view(-1, length)


class _Bits:
    """Reads 32 bits from any bit of a row."""

    def __init__(self, rows: torch.Tensor) -> None:
        self._words = rows.view(torch.int32).flatten()
        self._last = 8 * rows.shape[1] - 64
        self._row = torch.arange(len(rows), dtype=torch.int32, device=rows.device).unsqueeze(1) * (rows.shape[1] // 4)

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """Return int32 ``[M, n]``, the bits from int32 ``places`` ``[M, n]`` on; places outside the row give others."""
        places = places.clamp(0, self._last)
        index = (places >> 5) + self._row
        shift = places & 31
        rest = 31 - shift
        low = _taken(self._words, index) >> shift & (2 << rest) - 1  # the sign is not drawn in
        return low | _taken(self._words, index + 1) << 1 << rest


def _steps(mask: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return from which bit each lane of a mask reads a step that begins at byte ``start``, and how many it has."""
    ones = _taken(_ones(mask.device), mask.int())
    stops = ones.cumsum(1, dtype=torch.int32)
    return 8 * start + stops - ones, stops[:, -1]


def _deposit(mask: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Return uint8 like ``mask``: in the places of its ones the lowest ``bits``, in order."""
    return _taken(_deposits(mask.device), mask.int() << 8 | bits & 255)


def _values(bits: _Bits, places: torch.Tensor, planes: torch.Tensor, quotients: torch.Tensor) -> torch.Tensor:
    """Return the residuals, uint8 ``[M, 8 * lanes]``, of lanes whose low planes begin at bits ``places``."""
    keep_lower, keep_upper, scale_lower, scale_upper, shift = (_taken(row, planes) for row in _shifts(planes.device))
    lower = bits.at(places) & keep_lower | quotients * scale_lower
    upper = bits.at(places + 32) & keep_upper | quotients * scale_upper | quotients >> shift
    sign = (lower & 255) * _EVERY_BYTE
    lower, upper = (lower >> 8 & 0xFFFFFF | upper << 24) ^ sign, (upper >> 8 & 0xFFFFFF) ^ sign
    lower, upper = _transposed_quarters(lower), _transposed_quarters(upper)
    swapped = (lower ^ upper << 4) & -0x0F0F0F10
    return torch.stack([lower ^ swapped, upper ^ (swapped >> 4 & 0x0F0F0F0F)], 2).view(torch.uint8).flatten(1)


def _transposed_quarters(half: torch.Tensor) -> torch.Tensor:
    """Transpose the two squares of 4 x 4 bits in half a lane."""
    swapped = (half ^ half >> 7) & 0x00AA00AA
    half = half ^ swapped ^ swapped << 7
    swapped = (half ^ half >> 14) & 0x0000CCCC
    return half ^ swapped ^ swapped << 14


def _restore(residuals: torch.Tensor, out: torch.Tensor) -> None:
    """Undo prediction and colour: two running sums, and green added to red and blue."""
    kind = _sum_kind(residuals.device)
    planes = residuals.cumsum(3, dtype=kind).cumsum(2, dtype=kind)
    if kind != torch.uint8:
        planes = (planes & 255).to(torch.uint8)
    if planes.shape[1] < 3:
        out.copy_(planes)
        return
    green = planes[:, 0]
    out[:, 0] = planes[:, 1] + green
    out[:, 1] = green
    out[:, 2] = planes[:, 2] + green
    out[:, 3:] = planes[:, 3:]


def _sum_kind(device: torch.device) -> torch.dtype:
    return torch.int32 if device.type == "mps" else torch.uint8


def _taken(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return table.index_select(0, index.flatten()).view(index.shape)


@functools.cache
def _ones(device: torch.device) -> torch.Tensor:
    """How many bits of a byte are 1: int32 ``[256]``."""
    return torch.tensor([byte.bit_count() for byte in range(256)], dtype=torch.int32, device=device)


@functools.cache
def _deposits(device: torch.device) -> torch.Tensor:
    """uint8 ``[256 * 256]``: for every mask and every byte, its lowest bits in the places of the mask's ones."""
    bits = torch.arange(256)
    table = torch.zeros(256, 256, dtype=torch.int64)
    for place in range(8):
        mask = torch.arange(256)[:, None]
        below = sum(mask >> lower & 1 for lower in range(place))
        table |= (bits >> below & mask >> place & 1) << place
    return table.to(torch.uint8).flatten().to(device)


@functools.cache
def _shifts(device: torch.device) -> torch.Tensor:
    """int32 ``[5, 9]``: for every number k of low planes, what puts them and the quotients above them in two words.

    Which bits of the lower and of the upper word are low planes; by what the quotients are multiplied for each; and how
    far they are shifted down for what of them crosses from the lower into the upper (31: nothing does).
    """
    every = (1 << 64) - 1
    keep = [every >> 64 - 8 * k for k in range(9)]
    scale = [1 << 8 * k if k < 8 else 0 for k in range(9)]
    table = [
        [number & 0xFFFFFFFF for number in keep],
        [number >> 32 for number in keep],
        [number & 0xFFFFFFFF for number in scale],
        [number >> 32 for number in scale],
        [32 - 8 * k if 0 < k < 4 else 31 for k in range(9)],
    ]
    return torch.tensor(table).to(torch.int32).to(device)
