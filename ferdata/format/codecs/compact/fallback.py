"""The pixel filter in NumPy: the same bytes as the compiled kernels on any machine, more than a hundred times slower.

In: pixels, out: payloads, and back. FORMAT.md gives the layout; every array here is named after a part of it.
"""

import numpy as np

from ferdata.format.codecs.compact.filter_spec import FilterSpec, Shape

__all__ = ["decode", "encode"]

_HEADER_BYTES = 12
_RAW = 8
"""The nibble of a group kept as eight planes."""
_RAW_BITS = 32 * 8
_MAX_QUOTIENT = 6
"""Three unary steps, and two bits that count on from three."""
_STORED_ORDER = (1, 0, 2)
"""With ``green`` the green channel is stored first: undoing the others needs it."""


def encode(pixels: np.ndarray, spec: FilterSpec) -> np.ndarray:
    """Return the payload, uint8 ``[n]``, of uint8 ``[C, H, W]`` pixels."""
    folded = _fold(_predict(_colour(pixels, spec.colour), spec.predictor).ravel())
    if spec.arrangement == "rice":
        return _rice(folded)
    if spec.arrangement == "planes":
        return np.packbits(
            (folded >> np.arange(7, -1, -1, dtype=np.uint8)[:, None]) & 1, axis=1, bitorder="little"
        ).ravel()
    if spec.arrangement == "nibbles":
        even, odd = np.append(folded, np.zeros(len(folded) % 2, np.uint8)).reshape(-1, 2).T
        return np.concatenate([even >> 4 | (odd & 0xF0), (even & 15) | odd << 4])
    return folded


def decode(payload: np.ndarray, spec: FilterSpec, shape: Shape) -> np.ndarray | None:
    """Return the uint8 ``[C, H, W]`` pixels of a payload, or None when it is not one that was encoded with ``spec``."""
    folded = _unpack(payload, spec.arrangement, shape[0] * shape[1] * shape[2])
    if folded is None:
        return None
    return _undo_colour(_restore(_unfold(folded).reshape(shape), spec.predictor), spec.colour)


def _unpack(payload: np.ndarray, arrangement: str, num_bytes: int) -> np.ndarray | None:
    if arrangement == "rice":
        return _undo_rice(payload, num_bytes)
    unit = {"bytes": 1, "nibbles": 2, "planes": 8}[arrangement]
    if len(payload) != -(-num_bytes // unit) * unit:
        return None
    if arrangement == "planes":
        return np.packbits(np.unpackbits(payload.reshape(8, -1), axis=1, bitorder="little"), axis=0).ravel()[:num_bytes]
    if arrangement == "nibbles":
        high, low = payload.reshape(2, -1)
        return np.stack([high << 4 | (low & 15), (high & 0xF0) | low >> 4], axis=1).ravel()[:num_bytes]
    return payload


def _fold(residuals: np.ndarray) -> np.ndarray:
    return residuals << 1 ^ -(residuals >> 7)


def _unfold(folded: np.ndarray) -> np.ndarray:
    return folded >> 1 ^ -(folded & 1)


def _half(values: np.ndarray) -> np.ndarray:
    return (values.view(np.int8) >> 1).view(np.uint8)


def _colour(pixels: np.ndarray, colour: str) -> np.ndarray:
    if colour == "none" or len(pixels) < 3:
        return pixels
    red, green, blue = pixels[:3]
    if colour == "green":
        first = [green, red - green, blue - green]
    else:
        co = red - blue
        middle = blue + _half(co)
        cg = green - middle
        first = [middle + _half(cg), co, cg]
    return np.concatenate([np.stack(first), pixels[3:]])


def _undo_colour(planes: np.ndarray, colour: str) -> np.ndarray:
    if colour == "none" or len(planes) < 3:
        return planes
    if colour == "green":
        planes[1:3] += planes[0]
        planes[:3] = planes[np.argsort(_STORED_ORDER)]
        return planes
    luma, co, cg = planes[:3].copy()
    middle = luma - _half(cg)
    planes[1] = cg + middle
    planes[2] = middle - _half(co)
    planes[0] = planes[2] + co
    return planes


def _median(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    low, high = np.minimum(left, above), np.maximum(left, above)
    middle: np.ndarray = np.where(corner >= high, low, np.where(corner <= low, high, left + above - corner))
    return middle


def _predict(planes: np.ndarray, predictor: str) -> np.ndarray:
    residuals = planes.copy()
    if predictor == "none":
        return residuals
    residuals[:, 0, 1:] -= planes[:, 0, :-1]
    residuals[:, 1:, 0] -= planes[:, :-1, 0]
    left, above, corner = planes[:, 1:, :-1], planes[:, :-1, 1:], planes[:, :-1, :-1]
    if predictor == "left":
        residuals[:, 1:, 1:] -= left
    elif predictor == "row":
        residuals[:, 1:, 1:] -= above
    elif predictor == "gradient":
        residuals[:, 1:, 1:] -= left + above - corner
    else:
        residuals[:, 1:, 1:] -= _median(left, above, corner)
    return residuals


def _restore(planes: np.ndarray, predictor: str) -> np.ndarray:
    """Undo a predictor in place; ``planes`` holds residuals on entry."""
    if predictor == "left":
        planes[:, :, 0] = np.cumsum(planes[:, :, 0], axis=1, dtype=np.uint8)
        return np.cumsum(planes, axis=2, dtype=np.uint8)
    if predictor == "row":
        planes[:, 0] = np.cumsum(planes[:, 0], axis=1, dtype=np.uint8)
        return np.cumsum(planes, axis=1, dtype=np.uint8)
    if predictor == "gradient":
        return np.cumsum(np.cumsum(planes, axis=2, dtype=np.uint8), axis=1, dtype=np.uint8)
    if predictor == "median":
        _restore_median(planes)
    return planes


def _restore_median(planes: np.ndarray) -> None:
    """Undo the median along diagonals, whose pixels depend on earlier diagonals alone."""
    _, height, width = planes.shape
    planes[:, 0] = np.cumsum(planes[:, 0], axis=1, dtype=np.uint8)
    planes[:, :, 0] = np.cumsum(planes[:, :, 0], axis=1, dtype=np.uint8)
    for diagonal in range(2, height + width - 1):
        y = np.arange(max(1, diagonal - width + 1), min(height, diagonal))
        x = diagonal - y
        planes[:, y, x] += _median(planes[:, y, x - 1], planes[:, y - 1, x], planes[:, y - 1, x - 1])


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
