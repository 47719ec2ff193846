"""What the codec study concludes: which ways no other way beats. In: rows of sizes and speeds. Out: the front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["TOLERANCE", "StudyRow", "mark_front"]

TOLERANCE = 0.05
"""Rows closer than this are told apart by noise alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One way at one image size.

    Attributes:
        size: Side of the images in pixels.
        kind: ``JPEG`` or ``pristine``: what the photographs were.
        name: The way, for people.
        library: Whose it is.
        bytes_per_image: Stored bytes.
        ratio: Pixels' bytes over stored bytes.
        images_per_second: Median, one core.
        mb_per_second: The same in pixels' bytes.
        spread: Best minus worst run, as a fraction of the median.
        front_gap: How much faster the fastest way is that is no larger, as a share; 0 on the Pareto front.
    """

    size: int
    kind: str
    name: str
    library: str
    bytes_per_image: float
    ratio: float
    images_per_second: float
    mb_per_second: float
    spread: float
    front_gap: float = math.nan

    @property
    def on_front(self) -> bool:
        """Whether no way that is as small is clearly faster."""
        return self.front_gap <= TOLERANCE


def mark_front(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows of one size and kind with their distance from the front, smallest first.

    ``jpeg`` makes no front for the others: it holds nothing but pixels that came out of its own file.
    """
    best, marked = 0.0, []
    for row in sorted(rows, key=lambda row: (row.bytes_per_image, -row.mb_per_second)):
        reached = max(best, row.mb_per_second)
        marked.append(replace(row, front_gap=reached / row.mb_per_second - 1))
        best = best if row.name == "jpeg" else reached
    return marked
