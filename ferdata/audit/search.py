"""Pictures that may be the same: found by their perceptual hashes, cropped and mirrored in many ways.

In: small grey pictures. Out: pairs, and how one of them has to be cropped. Costs N ** 1.5: each picture is compared
with those of its own cells, of which there are about the square root of N.

The hash is that of ``imagehash.phash``, a picture's lowest frequencies, before it is cut down to bits: aligned faces
are so alike that bits do not tell them apart. What tells them apart is how each frequency differs from the data set's
mean, in units of its deviation. A crop of a small picture and its cosine transform are one product of matrices, and a
mirrored picture's odd frequencies have the other sign, so all ways together cost about as much as one decoding.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import dct

from ferdata.audit.measure import THUMB
from ferdata.audit.threads import each_in_a_thread

__all__ = ["VIEWS", "Candidates", "View", "find_candidates", "frequencies"]

Pairs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Of each pair: the picture that is looked for, the one that is near, the view, the cosine."""

FREQUENCIES = 10
"""Lowest frequencies of each axis: 99 numbers without the mean; with 8, as ``imagehash`` takes, a fifth more candidates
are false."""

_LEAST_COSINE = 0.8
"""Between hashes. Of 240 planted copies the farthest has 0.84 (docs/audit.md)."""

_PARTNERS = 2
"""Most partners that a picture has from each look at a cell, and in the end."""

_CELLS_ASKED = 2
_ROUNDS = 4
_LEAST_DEVIATION = 1e-3
_SAMPLE = 1 << 15
_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True)
class View:
    """A part of a picture, as shares of its side, which is then mirrored or not."""

    scale: float
    top: float
    left: float
    mirrored: bool

    def affine(self) -> list[list[float]]:
        """Return the ``[2, 3]`` matrix that ``torch``'s ``affine_grid`` takes."""
        x, y = (2 * start + self.scale - 1 for start in (self.left, self.top))
        return [[-self.scale if self.mirrored else self.scale, 0, x], [0, self.scale, y]]


VIEWS = tuple(
    View(scale, top, left, mirrored)
    for scale, places in ((1.0, (0.0,)), (0.93, (0.0, 0.035, 0.07)), (0.87, (0.0, 0.065, 0.13)))
    for top, left, mirrored in itertools.product(places, places, (False, True))
)
"""The ways in which a picture is looked for; between them, a hash changes little enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Pairs that may be the same picture, likeliest first.

    Attributes:
        pairs: int64 ``[n, 2]``: a view of the first is nearly the second.
        views: int64 ``[n]``, positions in ``VIEWS``.
        cosines: float32 ``[n]``, how near.
    """

    pairs: np.ndarray
    views: np.ndarray
    cosines: np.ndarray


def frequencies(thumbs: np.ndarray, count: int = FREQUENCIES) -> np.ndarray:
    """Return the lowest frequencies of small grey pictures, float64 ``[N, count, count]``.

    With ``count`` 8, ``frequencies > median`` of a picture is ``imagehash.phash(picture).hash``.
    """
    rows: np.ndarray = dct(dct(thumbs.astype(np.float64), axis=1)[:, :count], axis=2)[:, :, :count]
    return rows


def find_candidates(
    thumbs: np.ndarray, *, seed: int, num_threads: int, progress: Callable[[int, int], None]
) -> Candidates:
    """Return the nearest partners of every picture, where they are near.

    Args:
        thumbs: uint8 ``[N, 32, 32]``.
        seed: Of the cells.
        num_threads: Threads, over views.
        progress: Called with (views done, views).
    """
    best = _Best(len(thumbs))
    if len(thumbs) < 2:
        return best.result()
    pictures = torch.from_numpy(thumbs)
    mean, deviation = _moments(thumbs)
    hashes = _hashes(pictures, VIEWS[0], mean, deviation)
    centres = _centres(hashes, torch.Generator().manual_seed(seed))
    order, bounds = _by_cell(hashes, centres, 1)
    hashes = hashes[order]

    def look(number: int) -> Pairs:
        wanted = _hashes(pictures, VIEWS[number], mean, deviation)
        askers, asked = _by_cell(wanted, centres, _CELLS_ASKED)
        found = [
            _near(wanted, askers[asked[cell] : asked[cell + 1]], hashes[begin:end], order[begin:end])
            for cell, (begin, end) in enumerate(itertools.pairwise(bounds))
            if begin < end
        ]
        first, second, cosines = (torch.cat(column) for column in zip(*found, strict=True))
        return first, second, torch.full_like(first, number), cosines

    for done, found in enumerate(each_in_a_thread(look, range(len(VIEWS)), num_threads=num_threads), 1):
        best.add(found)
        progress(done, len(VIEWS))
    return best.result()


def _near(
    wanted: torch.Tensor, askers: torch.Tensor, hashes: torch.Tensor, members: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return views and pictures of one cell that are near each other, and their cosines; none with itself."""
    found = []
    for part in torch.split(askers, max(1, _BLOCK * 64 // len(members))):
        values, places = torch.topk(wanted[part] @ hashes.T, min(_PARTNERS + 1, len(members)), dim=1)
        rows, columns = torch.nonzero(values >= _LEAST_COSINE, as_tuple=True)
        first, second = part[rows], members[places[rows, columns]]
        others = first != second
        found.append((first[others], second[others], values[rows, columns][others]))
    first, second, cosines = (torch.cat(column) for column in zip(*found, strict=True))
    return first, second, cosines


class _Best:
    """The likeliest partners found so far."""

    def __init__(self, count: int) -> None:
        self._count = count
        none = torch.empty(0, dtype=torch.int64)
        self._found: Pairs = (none, none, none, none.float())

    def add(self, more: Pairs) -> None:
        """Keep every pair's best view, and every picture's likeliest partners."""
        first, second, views, cosines = (torch.cat(both) for both in zip(self._found, more, strict=True))
        order = torch.argsort(cosines, descending=True, stable=True)
        code = torch.minimum(first, second) * self._count + torch.maximum(first, second)
        order = order[_first_of_each(code[order], 1)]
        order = order[_first_of_each(first[order], _PARTNERS)]
        self._found = (first[order], second[order], views[order], cosines[order])

    def result(self) -> Candidates:
        """Return what is left."""
        first, second, views, cosines = self._found
        return Candidates(pairs=torch.stack([first, second], 1).numpy(), views=views.numpy(), cosines=cosines.numpy())


def _first_of_each(values: torch.Tensor, most: int) -> torch.Tensor:
    """Return the places of the first ``most`` occurrences of every value, ascending."""
    found, places = torch.sort(values, stable=True)
    is_kept = torch.ones(len(values), dtype=torch.bool)
    if len(values) > most:
        is_kept[most:] = found[most:] != found[:-most]
    return places[is_kept].sort()[0]


def _moments(thumbs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of every frequency of unit hashes, over some of the pictures."""
    some = thumbs[:: max(1, len(thumbs) // _SAMPLE)]
    hashes = _unit(torch.from_numpy(frequencies(some)).float().flatten(1)[:, 1:])
    return hashes.mean(0), hashes.std(0, correction=0).clamp(min=_LEAST_DEVIATION)


def _hashes(pictures: torch.Tensor, view: View, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Return what pictures are compared by, float32 ``[N, FREQUENCIES ** 2 - 1]`` of unit length."""
    rows, columns = (torch.from_numpy(_transform(view.scale, start)).float() for start in (view.top, view.left))
    if view.mirrored:
        columns[1::2] *= -1
    parts = []
    for part in torch.split(pictures, _BLOCK):
        flat = (rows @ part.float() @ columns.T).flatten(1)[:, 1:]
        parts.append(_unit((_unit(flat) - mean) / deviation.sqrt()))
    return torch.cat(parts)


def _transform(scale: float, start: float) -> np.ndarray:
    """Return the matrix ``[FREQUENCIES, THUMB]`` that takes a part of a row and gives its frequencies."""
    places = np.clip((start + scale * (np.arange(THUMB) + 0.5) / THUMB) * THUMB - 0.5, 0, THUMB - 1)
    below = np.minimum(places.astype(int), THUMB - 2)
    resized = np.zeros((THUMB, THUMB))
    resized[np.arange(THUMB), below] = 1 - (places - below)
    resized[np.arange(THUMB), below + 1] = places - below
    found: np.ndarray = dct(resized, axis=0)[:FREQUENCIES]
    return found


def _centres(hashes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the centres of cells: about the square root of the pictures, after a few rounds of k-means."""
    some = hashes[torch.randperm(len(hashes), generator=generator)[:_SAMPLE]]
    centres = some[: max(1, round(len(hashes) ** 0.5))].clone()
    for _ in range(_ROUNDS):
        cells = _cells(some, centres, 1)[:, 0]
        sums = torch.zeros_like(centres).index_add_(0, cells, some)
        centres = torch.where((sums != 0).any(1, keepdim=True), _unit(sums), centres)
    return centres


def _cells(hashes: torch.Tensor, centres: torch.Tensor, count: int) -> torch.Tensor:
    """Return the nearest cells of hashes, int64 ``[N, count]``."""
    count = min(count, len(centres))
    return torch.cat([torch.topk(part @ centres.T, count, dim=1)[1] for part in torch.split(hashes, _BLOCK)])


def _by_cell(hashes: torch.Tensor, centres: torch.Tensor, count: int) -> tuple[torch.Tensor, list[int]]:
    """Return the numbers of hashes, each as often as it has cells, cell by cell; and where each cell begins."""
    cells = _cells(hashes, centres, count)
    found, order = torch.sort(cells.flatten(), stable=True)
    bounds: list[int] = torch.searchsorted(found, torch.arange(len(centres) + 1)).tolist()
    return order // cells.shape[1], bounds


def _unit(rows: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return unit
