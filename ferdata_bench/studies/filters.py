"""How small filters other than ``compact``'s make photographs: colours, predictors, codes. Ratios alone, in NumPy.

In: uint8 ``[N, 3, H, W]``. Out: times smaller. Sizes are computed and nothing is written; none of it is a format.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ferdata.format.container.zstd_frame import Compressor

__all__ = ["VARIANTS", "Variant", "study_filters"]

GROUP = 32
HEADER_BITS = 4
HEAD_BITS = 96
"""The lengths of three sections in front of a payload."""
CHOICES = 9
"""Of a group: all zero, k from 0 to 6, or as it is."""

Guess = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Code = Callable[[np.ndarray], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One thing that was tried.

    Attributes:
        name: What differs from ``compact``.
        verdict: What became of it, and why.
        bits: Gives the size of an image, uint8 ``[3, H, W]``.
    """

    name: str
    verdict: str
    bits: Code


def study_filters(pixels: np.ndarray) -> list[tuple[Variant, float]]:
    """Return every variant, and how many times smaller than uint8 ``[N, 3, H, W]`` pixels it makes them."""
    sizes = [sum(variant.bits(image) for image in pixels) for variant in VARIANTS]
    return [(variant, 8 * pixels.size / size) for variant, size in zip(VARIANTS, sizes, strict=True)]


# Colours: int16 [3, H, W], brightness or green first; differences wrap to a signed byte.


def _wrap(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int8).astype(np.int16)


def _plain(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.int16)


def _green(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = pixels.astype(np.int16)
    return np.stack([green, _wrap(red - green), _wrap(blue - green)])


def _ycocg(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = pixels.astype(np.int16)
    co = _wrap(red - blue)
    middle = blue + (co >> 1) & 255
    cg = _wrap(green - middle)
    return np.stack([middle + (cg >> 1) & 255, co, cg])


# Predictors: what a pixel is compared with.


def _median(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    guess: np.ndarray = np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above))
    return guess


PREDICTORS: dict[str, Guess] = {
    "none": lambda left, above, corner: np.zeros_like(left),
    "left": lambda left, above, corner: left,
    "row": lambda left, above, corner: above,
    "mean": lambda left, above, corner: (left + above) >> 1,
    "gradient": lambda left, above, corner: left + above - corner,
    "median": _median,
}


def _predict(planes: np.ndarray, predictor: str, chroma: str) -> np.ndarray:
    """Return residuals, int16; the first row has its left neighbour to go by, the first column the one above."""
    left, above = np.zeros_like(planes), np.zeros_like(planes)
    left[:, :, 1:], above[:, 1:] = planes[:, :, :-1], planes[:, :-1]
    corner = np.zeros_like(planes)
    corner[:, 1:, 1:] = planes[:, :-1, :-1]
    guesses = np.concatenate(
        [
            PREDICTORS[predictor](left[:1], above[:1], corner[:1]),
            _phases(planes[1:], left[1:], above[1:], corner[1:])
            if chroma == "phases"
            else PREDICTORS[chroma](left[1:], above[1:], corner[1:]),
        ]
    )
    if predictor != "none":
        guesses[:, 0], guesses[:, :, 0] = left[:, 0], above[:, :, 0]
    residuals: np.ndarray = planes - guesses
    return residuals


def _phases(planes: np.ndarray, left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return the best of the plain guesses for each of the four places in 2 x 2 pixels, chosen anew for every image."""
    guesses = [guess(left, above, corner) for guess in PREDICTORS.values()]
    best = np.empty_like(planes)
    for place in np.ndindex(2, 2):
        here = (slice(None), slice(place[0], None, 2), slice(place[1], None, 2))
        best[here] = min((guess[here] for guess in guesses), key=lambda guess: np.abs(planes[here] - guess).sum())
    return best


# Codes: the bits of folded residuals, uint8 [3, H, W].


def _groups(folded: np.ndarray, group: int = GROUP) -> np.ndarray:
    return np.pad(folded.ravel(), (0, -folded.size % group)).reshape(-1, group)


def _costs(groups: np.ndarray) -> np.ndarray:
    """Return the bits of every choice, int64 ``[groups, 9]``: k low bits, at most three unary steps, two more bits."""
    width = groups.shape[1]
    costs = np.full((len(groups), CHOICES), 1 << 20)
    costs[groups.max(axis=1) == 0, 0] = 0
    for k in range(7):
        quotients = groups >> k
        steps = sum(np.count_nonzero(quotients >= step, axis=1) for step in (1, 2, 3, 3))
        fits = quotients.max(axis=1) <= 6
        costs[fits, k + 1] = (width * (k + 1) + steps)[fits]
    costs[:, 8] = 8 * width
    return costs


def _rice(folded: np.ndarray, group: int = GROUP, header_bits: float = HEADER_BITS) -> float:
    costs = _costs(_groups(folded, group))
    return float(costs.min(axis=1).sum()) + header_bits * len(costs) + HEAD_BITS


def _blocks(folded: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the residuals in the order in which a group is a block of neighbours instead of a piece of a row."""
    channels, height, width = folded.shape
    whole = np.pad(folded, ((0, 0), (0, -height % rows), (0, -width % columns)))
    return whole.reshape(channels, -(-height // rows), rows, -1, columns).swapaxes(2, 3)


def _headers_coded(folded: np.ndarray, group: int = GROUP) -> float:
    """Return the bits where the choice of a group takes no more than its entropy, given the one before."""
    choices = _costs(_groups(folded, group)).argmin(axis=1)
    pairs = np.bincount(choices[:-1] * CHOICES + choices[1:], minlength=CHOICES**2).reshape(CHOICES, CHOICES)
    return _rice(folded, group, header_bits=0) + _entropy(pairs)


def _shared_headers(folded: np.ndarray, group: int = 16, together: int = 4) -> float:
    """Return the bits where so many groups share a choice, four bits, and each has one of it and the next three."""
    costs = _costs(_groups(folded, group * together).reshape(-1, group)).reshape(-1, together, CHOICES)
    windows = [costs[:, :, first : first + 4].min(axis=2).sum(axis=1) for first in range(CHOICES - 3)]
    return float(np.min(windows, axis=0).sum()) + (HEADER_BITS + 2 * together) * len(costs) + HEAD_BITS


def _context_k(folded: np.ndarray) -> float:
    """Return the bits where no choice is stored: a group takes the best k of the one before, and a bit."""
    costs = _costs(_groups(folded))
    guesses = np.append(3, costs[:-1, 1:8].argmin(axis=1) + 1)
    return float(np.minimum(costs[np.arange(len(costs)), guesses], 8 * GROUP).sum()) + len(costs) + HEAD_BITS


def _entropy_coded(folded: np.ndarray) -> float:
    """Return the bits of a perfect entropy coder with a table for each choice; the tables themselves are free."""
    groups = _groups(folded)
    choices = _costs(groups).argmin(axis=1)
    tables = np.bincount((choices[:, None] * 256 + groups).ravel(), minlength=CHOICES * 256)
    return _entropy(tables.reshape(CHOICES, 256)) + HEADER_BITS * len(groups)


def _entropy(counts: np.ndarray) -> float:
    """Return the bits of so many symbols (columns) in so many contexts (rows)."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return -float((counts * np.log2(np.where(counts, shares, 1))).sum())


def _zstd_bytes(folded: np.ndarray) -> float:
    return 8.0 * len(Compressor(1).frame(folded.tobytes()))


def _zstd_planes(folded: np.ndarray) -> float:
    planes = folded.ravel() >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return _zstd_bytes(np.packbits(planes, axis=1, bitorder="little"))


def _variant(
    name: str,
    verdict: str,
    *,
    predictor: str = "gradient",
    colour: Callable[[np.ndarray], np.ndarray] = _green,
    chroma: str = "",
    code: Code = _rice,
) -> Variant:
    def bits(pixels: np.ndarray) -> float:
        residuals = _predict(colour(pixels), predictor, chroma or predictor).astype(np.uint8)
        return code(residuals << 1 ^ -(residuals >> 7))

    return Variant(name=name, verdict=verdict, bits=bits)


VARIANTS = (
    _variant("compact: green, gradient, Rice in groups of 32", ""),
    _variant("colour: none", "no: it saves one addition", colour=_plain),
    _variant("colour: YCoCg-R", "no: it mixes brightness back into the differences, and is slower", colour=_ycocg),
    _variant("predictor: none", "no: pixels themselves are not small", predictor="none"),
    _variant("predictor: left", "no: larger, and no faster to undo", predictor="left"),
    _variant("predictor: row", "no: larger, and no faster to undo", predictor="row"),
    _variant("predictor: mean of left and above", "no: every pixel waits for the one to its left", predictor="mean"),
    _variant(
        "predictor: median",
        "no: every pixel waits for the one to its left: seven times slower to undo",
        predictor="median",
    ),
    _variant("chroma: median alone", "no: still two thirds of the pixels wait", chroma="median"),
    _variant("chroma: best predictor for each place in 2 x 2", "no: too little for four ways to undo", chroma="phases"),
    _variant("groups of 8", "no: headers eat what they save", code=lambda folded: _rice(folded, 8)),
    _variant("groups of 16", "no: hardly smaller, twice the headers", code=lambda folded: _rice(folded, 16)),
    _variant("groups of 64", "no: one k for too much", code=lambda folded: _rice(folded, 64)),
    _variant(
        "groups of 2 x 8 pixels, 16",
        "worth a trial with kernels: twice the headers, pieces of 8 bytes",
        code=lambda folded: _rice(_blocks(folded, 2, 8), 16),
    ),
    _variant(
        "groups of 4 x 8 pixels, 32",
        "worth a trial with kernels: the same sections, undone to four rows in pieces of 8 bytes",
        code=lambda folded: _rice(_blocks(folded, 4, 8)),
    ),
    _variant(
        "groups of 16, four share a header of 4 bits and have 2 each",
        "worth a trial with kernels: half again the headers, no dependence",
        code=_shared_headers,
    ),
    _variant(
        "groups of 4 x 4 pixels, 16, with shared headers",
        "worth a trial with kernels: the most that stays parallel",
        code=lambda folded: _shared_headers(_blocks(folded, 4, 4)),
    ),
    _variant("headers coded by the one before (a bound)", "no: headers wait for each other", code=_headers_coded),
    _variant(
        "groups of 16, headers coded by the one before (a bound)",
        "no: headers wait for each other",
        code=lambda folded: _headers_coded(folded, 16),
    ),
    _variant("no headers: k of the group before", "no: a wrong k costs more than a header", code=_context_k),
    _variant(
        "a perfect entropy coder for each k (a bound)",
        "no: undone symbol by symbol, for as little",
        code=_entropy_coded,
    ),
    _variant("zstd 1 over bytes", "no: Huffman codes over noise, half the speed", code=_zstd_bytes),
    _variant("zstd 1 over bit planes", "no: Huffman codes over noise, half the speed", code=_zstd_planes),
)
