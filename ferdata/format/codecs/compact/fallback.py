"""The pixel coder in NumPy: the same bytes as the compiled kernels on any machine, more than a hundred times slower.

In: pixels, out: payloads, and back. FORMAT.md gives the layout; every array here is named after a part of it.
"""

import numpy as np

__all__ = ["decode", "encode"]

_HEADER_BYTES = 12
_RAW = 8
"""The nibble of a group kept as eight planes."""
_RAW_BITS = 32 * 8
_MAX_QUOTIENT = 6
"""Three unary steps, and two bits that count on from three."""


def encode(pixels: np.ndarray) -> np.ndarray:
    """Return the payload, uint8 ``[n]``, of uint8 ``[C, H, W]`` pixels."""
    return _rice(_fold(_predict(_green(pixels)).ravel()))


def decode(payload: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Return the uint8 ``[C, H, W]`` pixels of a payload, or None when it is not one that was encoded."""
    folded = _undo_rice(payload, shape[0] * shape[1] * shape[2])
    if folded is None:
        return None
    planes = np.cumsum(np.cumsum(_unfold(folded).reshape(shape), axis=2, dtype=np.uint8), axis=1, dtype=np.uint8)
    if len(planes) >= 3:
        planes[1:3] += planes[0]
        planes[:2] = planes[1::-1].copy()
    return planes


def _fold(residuals: np.ndarray) -> np.ndarray:
    return residuals << 1 ^ -(residuals >> 7)


def _unfold(folded: np.ndarray) -> np.ndarray:
    return folded >> 1 ^ -(folded & 1)


def _green(pixels: np.ndarray) -> np.ndarray:
    """Return green, and red and blue as their differences to it: undoing those needs green first."""
    if len(pixels) < 3:
        return pixels
    red, green, blue = pixels[:3]
    return np.concatenate([np.stack([green, red - green, blue - green]), pixels[3:]])


def _predict(planes: np.ndarray) -> np.ndarray:
    residuals = planes.copy()
    residuals[:, :, 1:] -= planes[:, :, :-1]
    residuals[:, 1:] -= planes[:, :-1]
    residuals[:, 1:, 1:] += planes[:, :-1, :-1]
    return residuals


def _rice(folded: np.ndarray) -> np.ndarray:
    words = -(-len(folded) // 64)
    groups = np.zeros((2 * words, 32), np.uint8)
    groups.ravel()[: len(folded)] = folded
    nibbles = _cheapest(groups)
    low_planes, has_quotients = _parts(nibbles)
    lanes = np.packbits(_bits(groups).reshape(-1, 4, 8, 8), axis=2, bitorder="little").reshape(-1, 4, 8)
    low = lanes[_taken(low_planes)]
    quotients = (groups >> np.minimum(low_planes, 7)[:, None])[has_quotients]
    second, third, tail = (quotients[quotients >= step] for step in (1, 2, 3))
    sections = [second >= 2, third >= 3, tail - 3 & 1, tail - 3 >> 1]
    lengths = np.array([len(second), len(third), len(tail)], "<u4").view(np.uint8)
    counts = nibbles[0::2] | nibbles[1::2] << 4
    return np.concatenate([lengths, counts, _pack(quotients >= 1), low, *map(_pack, sections)])


def _cheapest(groups: np.ndarray) -> np.ndarray:
    """Return the nibble of every group: the smallest k of the cheapest; eight planes only where all else costs more."""
    costs = np.full((7, len(groups)), _RAW_BITS + 1)
    for k in range(7):
        quotients = groups >> k
        steps = sum(np.count_nonzero(quotients >= step, axis=1) for step in (1, 2, 3, 3))
        fits = quotients.max(axis=1) <= _MAX_QUOTIENT
        costs[k, fits] = (32 * (k + 1) + steps)[fits]
    nibbles = np.where(costs.min(axis=0) <= _RAW_BITS, costs.argmin(axis=0) + 1, _RAW).astype(np.uint8)
    nibbles[groups.max(axis=1) == 0] = 0
    return nibbles


def _undo_rice(payload: np.ndarray, num_bytes: int) -> np.ndarray | None:
    words = -(-num_bytes // 64)
    if not _HEADER_BYTES + words <= len(payload) <= _HEADER_BYTES + 4 + 65 * words:
        return None
    lengths = payload[:_HEADER_BYTES].view("<u4").astype(np.int64)
    counts = payload[_HEADER_BYTES : _HEADER_BYTES + words]
    nibbles = np.stack([counts & 15, counts >> 4], axis=1).ravel()
    if (nibbles > _RAW).any():
        return None
    low_planes, has_quotients = _parts(nibbles)
    second, third, tail = (-(-lengths // 8)).tolist()
    sizes = [4 * np.count_nonzero(has_quotients), 4 * int(low_planes.sum(dtype=np.int64)), second, third, tail, tail]
    stops = _HEADER_BYTES + words + np.cumsum(sizes)
    if stops[-1] != len(payload):
        return None
    first, low, *sections = (payload[stop - size : stop] for size, stop in zip(sizes, stops.tolist(), strict=True))
    lanes = np.zeros((2 * words, 4, 8), np.uint8)
    lanes[_taken(low_planes)] = low
    folded = np.packbits(_bits(lanes).reshape(-1, 4, 8, 8).swapaxes(2, 3), axis=3, bitorder="little").reshape(
        2 * words, 32
    )
    quotients = np.zeros((2 * words, 32), np.uint8)
    quotients[has_quotients] = np.unpackbits(first, bitorder="little").reshape(-1, 32)
    for step, section, length in zip((1, 2), sections[:2], lengths.tolist()[:2], strict=True):
        passed = quotients == step
        if np.count_nonzero(passed) != length:
            return None
        quotients[passed] += np.unpackbits(section, count=length, bitorder="little")
    passed = quotients == 3
    if np.count_nonzero(passed) != lengths[2]:
        return None
    one, two = (np.unpackbits(section, count=int(lengths[2]), bitorder="little") for section in sections[2:])
    quotients[passed] += one + 2 * two
    folded |= quotients << np.minimum(low_planes, 7)[:, None]
    return folded.ravel()[:num_bytes]


def _parts(nibbles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for every group, how many low planes it has and whether it has quotients."""
    has_quotients = (nibbles > 0) & (nibbles < _RAW)
    return nibbles - has_quotients, has_quotients


def _taken(low_planes: np.ndarray) -> np.ndarray:
    """Return bool ``[groups, 4, 8]``: the bytes of the four lanes that are stored."""
    return np.repeat((np.arange(8) < low_planes[:, None])[:, None], 4, axis=1)


def _bits(values: np.ndarray) -> np.ndarray:
    return np.unpackbits(values[..., None], axis=-1, bitorder="little")


def _pack(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits.ravel(), bitorder="little")
