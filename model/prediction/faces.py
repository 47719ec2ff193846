"""Where faces are in a picture or a film, and how one is cut out of it as data sets of faces are.

In: upright pictures. Out: faces, and square cuts.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ferdata.training.prediction.boxes import Box, overlap
from ferdata.training.prediction.detector import Detector, Face, View, distinct

__all__ = ["FaceCutter", "FaceFinder", "FaceFollower", "cut_face"]

_STEPS = (1, 2, 4, 8)
_LEAST_SIDE = 80
_NEAR_SIDE, _NEAR_SHARE = 160, 2.5
"""Around a face it sees a square of this many pixels, which is so much longer than the face."""


class FaceFinder:
    """Finds faces in pictures of any size.

    The network is surest of faces that are about 60 pixels tall in what it sees, and misses wide open mouths from 100
    on. So it sees a picture at a half, a quarter and an eighth of the size too, which takes a third more time.

    Args:
        min_score: Faces that are less sure are not told.
        longest_side: Pictures are shrunk to it before; the smallest faces that are found are a twentieth of it or so.
    """

    def __init__(self, *, min_score: float = 0.4, longest_side: int = 640) -> None:
        self._detector = Detector(min_score=min_score)
        self._longest = longest_side

    def __call__(self, image: Image.Image) -> list[Face]:
        """Return the faces of a picture, the largest first."""
        image = image.convert("RGB")
        longest = min(self._longest, max(image.size))
        sides = [longest // step for step in _STEPS if step == 1 or longest // step >= _LEAST_SIDE]
        whole = (0, 0, *image.size)
        return _largest_first([face for side in sides for face in self._detector([View.of(image, whole, side)])[0]])

    def around(self, image: Image.Image, faces: Sequence[Face]) -> list[Face | None]:
        """Return where faces of the picture before are in this one; None for one that is not found near its place."""
        if not faces:
            return []
        image = image.convert("RGB")
        views = [View.of(image, _neighbourhood(face.box), _NEAR_SIDE) for face in faces]
        return [
            max(near, key=lambda one: overlap(one.box, face.box), default=None)
            for face, near in zip(faces, self._detector(views), strict=True)
        ]


class FaceFollower:
    """Finds the faces of a film's frames one after the other.

    Those of the frame before are looked for around their places, which takes a quarter of the time. The whole picture
    is searched when one of them is lost, or there was none, and twice a second for others.

    Args:
        finder: What finds them.
    """

    _PAUSE_SECONDS = 0.5
    _MOST_APART = 4
    """More faces take as long one by one as the whole picture."""

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._faces: list[Face] = []
        self._searched = -math.inf

    def __call__(self, image: Image.Image, seconds: float) -> list[Face]:
        """Return the faces of the next frame, shown at this time, the largest first."""
        near = self._finder.around(image, self._faces) if len(self._faces) <= self._MOST_APART else []
        known = distinct([face for face in near if face is not None])
        if not known or len(known) < len(self._faces) or seconds - self._searched >= self._PAUSE_SECONDS:
            known += self._finder(image)
            self._searched = seconds
        self._faces = _largest_first(known)
        return self._faces


class FaceCutter:
    """Finds faces and cuts them out; takes what :class:`FaceFinder` and :func:`cut_face` take.

    Attributes:
        finder: What finds them.
    """

    def __init__(self, *, min_score: float, longest_side: int, margin: float, align: bool) -> None:
        self.finder = FaceFinder(min_score=min_score, longest_side=longest_side)
        self._margin, self._align = margin, align

    def cut(self, image: Image.Image, face: Face) -> tuple[Image.Image, list[tuple[float, float]]]:
        """Return the cut of a face in an upright picture, and the face's points in pixels of it."""
        return cut_face(image, face, margin=self._margin, align=self._align), self._points(image, face)

    def _points(self, image: Image.Image, face: Face) -> list[tuple[float, float]]:
        """Return the points of a face of a picture in pixels of its cut, whole at their centres."""
        points = np.array(face.points)
        if self._align:
            side, middle, (cosine, sine) = _square(face, self._margin)
            turned = (points - middle) @ np.array([[cosine, -sine], [sine, cosine]]) + side / 2
        else:
            turned = points - _corners(image, face, self._margin)[:2]
        return [(float(x), float(y)) for x, y in turned - 0.5]


def cut_face(image: Image.Image, face: Face, *, margin: float, align: bool) -> Image.Image:
    """Return a face's part of an upright picture: a square around the middle of its box.

    Args:
        image: The picture.
        face: The face.
        margin: The square is as long as the box's longer side, and so much of it longer.
        align: Turn it about the middle so that the eyes are level; what is beyond the picture is black then. Without,
            only what lies inside the picture is cut, as of a data set's boxes.
    """
    if align:
        side, middle, (cosine, sine) = _square(face, margin)
        rotation = (
            cosine, -sine, middle[0] - side / 2 * (cosine - sine),
            sine, cosine, middle[1] - side / 2 * (cosine + sine),
        )  # fmt: skip
        return image.transform((side, side), Image.Transform.AFFINE, rotation, Image.Resampling.BILINEAR)
    return image.crop(_corners(image, face, margin))


def _square(face: Face, margin: float) -> tuple[int, tuple[float, float], tuple[float, float]]:
    """Return the side of a face's square, its middle, and cosine and sine of the face's tilt."""
    x, y, width, height = face.box
    tilt = math.radians(face.tilt)
    side = max(1, round(max(width, height) * (1 + margin)))
    return side, (x + width / 2, y + height / 2), (math.cos(tilt), math.sin(tilt))


def _corners(image: Image.Image, face: Face, margin: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what of a face's square lies inside the picture."""
    side, middle, _ = _square(face, margin)
    left, top = (math.floor(edge - side / 2 + 0.5) for edge in middle)
    first = min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)
    return *first, max(min(left + side, image.width), first[0] + 1), max(min(top + side, image.height), first[1] + 1)


def _largest_first(faces: Sequence[Face]) -> list[Face]:
    return sorted(distinct(faces), key=lambda face: -face.box[2] * face.box[3])


def _neighbourhood(box: Box) -> tuple[int, int, int, int]:
    x, y, width, height = box
    side = max(_NEAR_SIDE // 8, round(max(width, height) * _NEAR_SHARE))
    return round(x + (width - side) / 2), round(y + (height - side) / 2), side, side
