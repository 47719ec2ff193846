"""What AffectNet's labels mean: valence, arousal and landmarks, and what a file of one image says of all of them.

In: values as a layout writes them. Out: the outcome that the layout specification names. About 1 µs a value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferdata.sources.files.matching import floats

__all__ = ["CROP_SIDE", "NUM_LANDMARK_VALUES", "Annotation", "clean_landmarks", "clean_score"]

NUM_LANDMARK_VALUES = 136
CROP_SIDE = 224
"""Width and height of the faces that later releases cut out of the photographs."""

_MISSING_BELOW = -1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What one image's label files say.

    Attributes:
        error: Why the label cannot be read.
        label: The label as text, None where it cannot be read or there is none.
        valence: In [-1, 1], None where it is missing or cannot be used.
        arousal: The same.
        is_va_invalid: Valence or arousal is there, but no number in [-1, 1] nor the mark for missing.
        landmarks: 136 numbers, None where they are missing or something else.
        is_landmarks_invalid: Something else is there.
        soft: Shares of AffectNet's eight classes.
        extra: Further values by name.
        is_extra_invalid: Some of these cannot be written down.
    """

    error: str = ""
    label: str | None = None
    valence: float | None = None
    arousal: float | None = None
    is_va_invalid: bool = False
    landmarks: Sequence[float] | None = None
    is_landmarks_invalid: bool = False
    soft: Sequence[float] | None = None
    extra: Mapping[str, Any] | None = None
    is_extra_invalid: bool = False


def clean_score(value: Any) -> tuple[float | None, bool]:
    """Return a valence or arousal, or None where it is missing, and whether it was not valid.

    -2 means "not available", so everything down from -1.5 is missing and not invalid.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None, True
    if -1.0 <= number <= 1.0:
        return number, False
    return None, not (math.isfinite(number) and number <= _MISSING_BELOW)


def clean_landmarks(values: Any) -> Sequence[float] | None:
    """Return 136 finite numbers, or None where there are not as many."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != NUM_LANDMARK_VALUES:
        return None
    return floats(values)
