"""Parts of a face to cover: by landmarks (brows, eyes, nose, mouth), and by the cells of a grid.

In: landmarks, or sides. Out: masks. Pure.
"""

from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["REGIONS", "find_scheme", "grid_masks", "region_masks"]

_Part = tuple[Sequence[int], float]
"""Which landmarks, and by how much of the eyes' distance the rectangle around them is widened."""

REGIONS: dict[int, dict[str, tuple[_Part, ...]]] = {
    68: {
        "brows": ((range(17, 22), 0.10), (range(22, 27), 0.10)),
        "eyes": ((range(36, 42), 0.12), (range(42, 48), 0.12)),
        "nose": ((range(27, 36), 0.10),),
        "mouth": ((range(48, 68), 0.12),),
    },
    5: {
        "eyes": (((0,), 0.30), ((1,), 0.30)),
        "nose": (((2,), 0.28),),
        "mouth": (((3, 4), 0.25),),
    },
}
"""Number of landmarks -> region -> its parts; 68 as iBUG numbers them, 5 as RAF-DB's annotators set them."""


def find_scheme(landmarks: Iterable[np.ndarray]) -> int | None:
    """Return the number of landmarks, out of those of ``REGIONS``, that most samples have; None if none has any."""
    lengths = [len(each) for each in landmarks]
    found = max(REGIONS, key=lengths.count)
    return found if found in lengths else None


def region_masks(landmarks: np.ndarray, size: tuple[int, int], scheme: int) -> np.ndarray | None:
    """Return what each region covers of an image, bool ``[regions, H, W]``; None without such landmarks.

    Args:
        landmarks: float ``[points, 2]``, x and y in pixels.
        size: Height and width of the image.
        scheme: A key of ``REGIONS``.
    """
    if len(landmarks) != scheme or not np.isfinite(landmarks).all():
        return None
    regions = REGIONS[scheme]
    left, right = (landmarks[list(points)].mean(0) for points, _ in regions["eyes"])
    distance = float(np.linalg.norm(right - left))
    rows, columns = np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None] + 0.5
    masks = np.zeros((len(regions), *size), bool)
    for mask, parts in zip(masks, regions.values(), strict=True):
        for points, share in parts:
            (left, top), (right, bottom) = landmarks[list(points)].min(0), landmarks[list(points)].max(0)
            wide = share * distance
            mask |= (rows > top - wide) & (rows < bottom + wide) & (columns > left - wide) & (columns < right + wide)
    return masks


def grid_masks(cells: int, size: tuple[int, int]) -> np.ndarray:
    """Return what each cell of a grid covers, bool ``[cells * cells, H, W]``, row by row.

    Example:
        >>> grid_masks(2, (4, 6))[1].sum(0).tolist()
        [0, 0, 0, 2, 2, 2]
    """
    rows, columns = (np.arange(side) * cells // side for side in size)
    masks: np.ndarray = (rows[:, None] * cells + columns[None]) == np.arange(cells * cells)[:, None, None]
    return masks
