"""Frames of clips and videos. In: file names, frames. Out: a frame's number; some frames, evenly spaced."""

import re
from collections.abc import Sequence
from typing import TypeVar

from ferdata.sources.files.matching import stem_of

__all__ = ["evenly_spaced", "frame_number"]

T = TypeVar("T")
_LAST_NUMBER = re.compile(r"(?:.*\D)?(\d{1,9})")


def frame_number(name: str) -> int | None:
    """Return the number that a frame's file name ends with (``00001_00144.jpg`` is 144), or None."""
    found = _LAST_NUMBER.fullmatch(stem_of(name))
    return int(found[1]) if found else None


def evenly_spaced(frames: Sequence[T], count: int | None) -> Sequence[T]:
    """Return ``count`` of the frames, each from the middle of a part of equal length; all if there are no more.

    Example:
        >>> evenly_spaced("abcdefghij", 2)
        ['c', 'h']
    """
    if count is None or count >= len(frames):
        return frames
    return [frames[(2 * number + 1) * len(frames) // (2 * count)] for number in range(count)]
