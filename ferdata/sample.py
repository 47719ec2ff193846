"""The values that travel: tensor specs and source items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["RARE_FIELDS", "SourceItem", "TensorSpec", "soft_labels_problem"]

RARE_FIELDS = ("person", "sequence", "soft_labels")
"""What few sources say of an image: left out of records and lists if an item, or a data set, has none."""

_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """The dtype and shape of every tensor of a data set; ``uint8 [C, H, W]`` for images, C 3 or 1."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of one tensor in C order, without any header."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceItem:
    """One image on disk and everything its layout says about it.

    Attributes:
        key: Unique within the source; ASCII letters, digits, ``_`` and ``-`` only (no dots), at most 80 characters.
        path: Location below the source root, with ``/``; ``file.parquet#17`` is row 17 of that file.
        split: ``train``, ``val`` or ``test``.
        label: Class index into the scan's class names.
        source_label: The label exactly as the source writes it (``"4"``, ``"anger"``).
        valence: In [-1, 1], or None if the source has none.
        arousal: In [-1, 1], or None if the source has none.
        box: Face box ``(x, y, width, height)`` in stored pixels of the image (before EXIF orientation), or None.
        landmarks: ``x0, y0, x1, y1, ...`` in stored pixels of the image, or None.
        person: Who is shown, as the source writes it, or None.
        sequence: The clip, video or recording that a frame is of, or None; the frame's number is ``extra["frame"]``.
        soft_labels: One probability per class of the scan, of sum 1, or None.
        extra: Whatever else the layout provides (gender, age ...), as JSON-ready values.
    """

    key: str
    path: str
    split: str
    label: int
    source_label: str
    valence: float | None = None
    arousal: float | None = None
    box: tuple[float, float, float, float] | None = None
    landmarks: Sequence[float] | None = None
    person: str | None = None
    sequence: str | None = None
    soft_labels: Sequence[float] | None = None
    extra: Mapping[str, Any] | None = None


def soft_labels_problem(lengths: np.ndarray, values: np.ndarray, num_classes: int) -> str:
    """Return why soft labels are not probabilities of the classes; empty if they are.

    Args:
        lengths: int ``[n]``, how many values each list has.
        values: float ``[sum of lengths]``, of all lists, one after the other.
        num_classes: How many each should have.
    """
    if (wrong := lengths[lengths != num_classes]).size:
        return f"soft_labels of {wrong[0]:,} classes found, expected {num_classes:,}"
    rows = values.reshape(-1, num_classes)
    is_sound = (rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1, dtype=np.float64) - 1) <= _SUM_TOLERANCE)
    if not is_sound.all():
        return f"soft_labels {rows[~is_sound][0].tolist()} found, expected probabilities of sum 1"
    return ""
