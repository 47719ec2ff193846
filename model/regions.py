"""What the regions of a face are: which landmarks a brow, an eye, the nose or the mouth has, and the room it takes.

In: landmarks. Out: rectangles. Pure, and without torch, since settings name regions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ferdata.errors import OptionError

__all__ = ["REGIONS", "Region", "find_scheme", "region_boxes"]

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
"""Number of landmarks -> region -> its parts; 68 as iBUG numbers them, 5 as RAF-DB's annotators and detectors set them:
eyes, tip of the nose, corners of the mouth. What every number of landmarks has of a region has as many parts."""

NAMES = tuple(REGIONS[68])
_HIDING = "no-"
_AND = "+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What a network sees of a face.

    Attributes:
        names: Of the regions, keys of ``REGIONS``.
        is_hidden: It sees all but them, in place of them alone.

    Example:
        >>> Region.of("no-eyes+brows")
        Region(names=('eyes', 'brows'), is_hidden=True)
    """

    names: tuple[str, ...]
    is_hidden: bool

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what was typed: ``mouth``, ``eyes+brows``, or ``no-mouth`` for all but the mouth.

        Raises:
            OptionError: If it is something else.
        """
        names = tuple(text.removeprefix(_HIDING).split(_AND))
        if not set(names) <= set(NAMES) or len(set(names)) != len(names):
            raise OptionError(
                f"region: {text!r} found, expected {', '.join(NAMES)}, several joined by {_AND}, "
                f"or {_HIDING} before them for all but them"
            )
        return cls(names=names, is_hidden=text.startswith(_HIDING))

    def __str__(self) -> str:
        listed = " and ".join(self.names)
        return f"all but the {listed}" if self.is_hidden else f"the {listed} alone"


def find_scheme(landmarks: Iterable[np.ndarray]) -> int | None:
    """Return the number of landmarks, out of those of ``REGIONS``, that most samples have; None if none has any."""
    lengths = [len(each) for each in landmarks]
    found = max(REGIONS, key=lengths.count)
    return found if found in lengths else None


def region_boxes(landmarks: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return the rectangles that regions take, float32 ``[N, parts, 4]``: left, top, right and bottom edge.

    Args:
        landmarks: Of each sample, float ``[points, 2]``, x and y in pixels, whole at their centres.
        names: Of the regions.

    Returns:
        In pixels, as the landmarks; NaN for a sample without landmarks that tell where all of the regions are.

    Example:
        >>> points = np.array([[10, 10], [20, 10], [15, 15], [12, 20], [18, 20]])
        >>> region_boxes([points], ["mouth"]).tolist()
        [[[9.5, 17.5, 20.5, 22.5]]]
    """
    parts = sum(len(REGIONS[68][name]) for name in names)
    boxes = np.full((len(landmarks), parts, 4), np.nan, np.float32)
    for scheme, regions in REGIONS.items():
        rows = [row for row, points in enumerate(landmarks) if len(points) == scheme]
        if not rows or not set(names) <= set(regions):
            continue
        points = np.stack([landmarks[row] for row in rows])
        left, right = (points[:, list(eye)].mean(1) for eye, _ in regions["eyes"])
        distance = np.linalg.norm(right - left, axis=1)[:, None]
        for place, (numbers, share) in enumerate(part for name in names for part in regions[name]):
            own = points[:, list(numbers)]
            boxes[rows, place] = np.concatenate([own.min(1) - share * distance, own.max(1) + share * distance], 1)
    boxes[~np.isfinite(boxes).all((1, 2))] = np.nan
    return boxes
