"""The values that travel: tensor specs and source items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["SourceItem", "TensorSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """The dtype and shape of every tensor of a data set; ``uint8 [3, H, W]`` for images."""

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
        path: Location below the source root, with ``/``; ``file.parquet#17`` is row 17 of a parquet file.
        split: ``train``, ``val`` or ``test``.
        label: Class index into the scan's class names.
        source_label: The label exactly as the source writes it (``"4"``, ``"anger"``).
        valence: In [-1, 1], or None if the source has none.
        arousal: In [-1, 1], or None if the source has none.
        box: Face box ``(x, y, width, height)`` in stored pixels of the image (before EXIF orientation), or None.
        landmarks: ``x0, y0, x1, y1, ...`` in stored pixels of the image, or None.
        extra: Whatever else the layout provides (gender, age, soft labels ...), as JSON-ready values.
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
    extra: Mapping[str, Any] | None = None
