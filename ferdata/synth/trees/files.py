"""What one image adds to a tree, and the bytes of its files.

In: pixels, arrays, lines. Out: paths below the root with their content. Costs one JPEG of about 0.3 ms at 224 px.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["JPEG_QUALITY", "Beside", "Drawing", "File", "PlannedImage", "Row", "image_bytes", "npy_bytes", "text_bytes"]

JPEG_QUALITY = 90

File = tuple[str, bytes]
"""Path below the root, content."""

Row = tuple[str, str]
"""Path of a list below the root, a line of it without its end."""


class Beside(NamedTuple):
    """Another face in a picture: its class, as a position in the layout's classes, and the seed of its portrait."""

    label: int
    class_name: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """One image of a tree before it is drawn.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        number: What the image is called by, unique in its split.
        label: Class, as a position in the layout's classes.
        size: Side of the face in pixels.
        spoiled: The release has a bad row right after this image.
        person: Who is shown, even numbers are women; None where every image is of somebody else.
        take: How many images of this person and class come before.
        beside: The faces that are in the picture too.
    """

    split: str
    number: int
    label: int
    size: int
    spoiled: bool = False
    person: int | None = None
    take: int = 0
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What one image adds to a tree.

    Attributes:
        images: Picture files.
        notes: Every other file of its own.
        rows: Lines for lists, which name the images of many.
    """

    images: tuple[File, ...]
    notes: tuple[File, ...] = ()
    rows: tuple[Row, ...] = ()


def image_bytes(image: Image.Image, kind: str = "JPEG") -> bytes:
    """Return a picture as an image file: JPEG of quality 90 with halved colour, or PNG."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=JPEG_QUALITY)
    return buffer.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """Return the bytes that ``numpy.save`` writes for a C-ordered array."""
    key = (array.dtype.str, array.shape)
    if key not in _HEADERS:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        _HEADERS[key] = buffer.getvalue()[: buffer.tell() - array.nbytes]
    return _HEADERS[key] + array.tobytes()


# numpy.save formats the header anew for every file, which takes longer than writing it.
_HEADERS: dict[tuple[str, tuple[int, ...]], bytes] = {}


def text_bytes(lines: Iterable[str]) -> bytes:
    """Return lines as UTF-8 text, each ended by a line feed."""
    return "".join(f"{line}\n" for line in lines).encode()
