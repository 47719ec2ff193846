"""Shapes to pixels: antialiased masks, an overlay of opaque shapes, soft blobs and interpolation.

In: image points (float ``[n, 2]``, x then y). Out: float32 planes ``[H, W]``. Costs 10 to 30 µs a shape at 224 px.
Colours are worked on one plane at a time: a plane stays in the processor's cache, three together do not.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["CLEAR", "Ink", "Overlay", "blobs", "enlarge", "paint_masks", "soften"]

_SMALL_PRODUCT = 200_000


def paint_masks(height: int, width: int, shapes: Sequence[tuple[int, np.ndarray]]) -> list[np.ndarray]:
    """Return float32 ``[H, W]`` in 0..1 for each of three layers: what it covers, later shapes hiding earlier ones.

    Args:
        height: Pixels down.
        width: Pixels across.
        shapes: Layer number 0..2 and polygon, from back to front.
    """
    image = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(image)
    for layer, points in shapes:
        # A byte holds one counter of three bits (two for the last) per layer, so that one sum counts all of them.
        draw.polygon((points * 2.0).ravel().tolist(), fill=1 << (3 * layer))
    layers = np.asarray(image)
    pairs = (layers[0::2] + layers[1::2]).view(np.uint16)
    counts = (pairs & 0xFF) + (pairs >> 8)
    masks = [((counts >> (3 * layer)) & 7).astype(np.float32) for layer in range(3)]
    for mask in masks:
        mask *= np.float32(0.25)
    return masks


Ink = tuple[int, int, int, int]
"""Red, green, blue and cover."""

CLEAR: Ink = (0, 0, 0, 0)


class Overlay:
    """Opaque coloured shapes on nothing, drawn enlarged, to be laid over planes.

    Empty places hold zeros in all four bands, so averaging neighbours gives colours already multiplied by their
    cover. The mode is CMYK because Pillow treats RGBA's fourth band apart and takes four times as long.

    Attributes:
        scale: Overlay pixels per picture pixel.
    """

    def __init__(self, box: tuple[int, int, int, int], scale: int, gain: np.ndarray) -> None:
        """Start an overlay; shapes are given in its own pixels.

        Args:
            box: Window in the picture: left, top, right, bottom.
            scale: Overlay pixels per picture pixel.
            gain: float ``[3]``, what the camera does to every colour.
        """
        self.scale = scale
        self._gain = gain
        self._box = box
        self._image = Image.new("CMYK", ((box[2] - box[0]) * scale, (box[3] - box[1]) * scale), CLEAR)
        self._draw = ImageDraw.Draw(self._image)

    def ink(self, colour: np.ndarray) -> Ink:
        """Return float ``[3]`` red, green, blue as an ink that covers fully."""
        red, green, blue = (colour * self._gain).tolist()
        return min(255, int(red)), min(255, int(green)), min(255, int(blue)), 255

    def polygon(self, points: np.ndarray, colour: Ink) -> None:
        """Fill a polygon."""
        self._draw.polygon(points.ravel().tolist(), fill=colour)

    def line(self, points: np.ndarray, colour: Ink, width: float) -> None:
        """Draw a line ``width`` overlay pixels wide, at least one."""
        self._draw.line(points.ravel().tolist(), fill=colour, width=max(1, round(width)))

    def disc(self, centre: Sequence[float], across: float, down: float, colour: Ink) -> None:
        """Fill an upright ellipse with these radii."""
        x, y = centre
        self._draw.ellipse((x - across, y - down, x + across, y + down), fill=colour)

    def ring(self, centre: Sequence[float], across: float, down: float, colour: Ink, rim: Ink, width: float) -> None:
        """Fill an upright ellipse that has a rim of its own colour, ``width`` overlay pixels wide, on its inside."""
        x, y = centre
        box = (x - across, y - down, x + across, y + down)
        self._draw.ellipse(box, fill=colour, outline=rim, width=max(1, round(width)))

    def blend(self, planes: Sequence[np.ndarray]) -> None:
        """Lay the overlay over the float32 ``[H, W]`` planes red, green and blue, in place."""
        pixels = np.asarray(self._image.reduce(self.scale))
        left, top, right, bottom = self._box
        bare = pixels[..., 3] * np.float32(-1 / 255)
        bare += np.float32(1.0)
        for band, plane in enumerate(planes):
            window = plane[top:bottom, left:right]
            window *= bare
            window += pixels[..., band]


def blobs(x: np.ndarray, y: np.ndarray, centres: np.ndarray, radii: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return float32 ``[len(y), len(x)]``: a sum of upright Gaussian hills.

    Args:
        x: float ``[W]``, column positions.
        y: float ``[H]``, row positions.
        centres: float ``[n, 2]``.
        radii: float ``[n, 2]``, distance at which a hill falls to 1/e.
        heights: float ``[n]``.
    """
    across = _hill(x, centres[:, :1], radii[:, :1])
    down = heights[:, None].astype(np.float32) * _hill(y, centres[:, 1:], radii[:, 1:])
    # Small products only: a larger one wakes the threads of the linear algebra library in every worker.
    step = max(1, _SMALL_PRODUCT // across.size)
    field = np.empty((len(y), len(x)), np.float32)
    for start in range(0, len(y), step):
        np.matmul(down[:, start : start + step].T, across, out=field[start : start + step])
    return field


def _hill(places: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    # The floor keeps far values from becoming denormal numbers, which are a hundred times slower to add.
    distances = np.minimum(((places - centres) / radii) ** 2, 16.0)
    return np.asarray(np.exp(-distances), np.float32)


def enlarge(field: np.ndarray, step: int, height: int, width: int) -> np.ndarray:
    """Return float32 ``[height, width]``: a field of ``step`` (a power of 2) times fewer a side, interpolated."""
    while step > 1:
        field, step = _doubled(field), step // 2
    return field[:height, :width]


def _doubled(field: np.ndarray) -> np.ndarray:
    height, width = field.shape
    near, far = field * np.float32(0.75), field * np.float32(0.25)
    wide = np.empty((height, 2 * width), np.float32)
    np.add(near[:, 1:], far[:, :-1], out=wide[:, 2::2])
    np.add(near[:, :-1], far[:, 1:], out=wide[:, 1:-1:2])
    wide[:, 0], wide[:, -1] = field[:, 0], field[:, -1]
    tall = np.empty((2 * height, 2 * width), np.float32)
    tall[0], tall[-1] = wide[0], wide[-1]
    far = wide * np.float32(0.25)
    wide *= np.float32(0.75)
    np.add(wide[1:], far[:-1], out=tall[2::2])
    np.add(wide[:-1], far[1:], out=tall[1:-1:2])
    return tall


def soften(plane: np.ndarray, weight: float = 0.25) -> np.ndarray:
    """Blur a contiguous float32 plane in place with (weight, 1 - 2 weight, weight) down and across, and return it.

    The outermost pixels are blurred along the edge only. Read-only planes are copied first.
    """
    if not plane.flags.writeable:
        plane = plane.copy()
    # One long row: neighbours across are one place apart, neighbours down a whole width, and nothing is strided.
    line, width = plane.reshape(-1), plane.shape[1]
    for distance in (width, 1):
        left, right = plane[:, 0].copy(), plane[:, -1].copy()
        around = line[: -2 * distance] + line[2 * distance :]
        around *= np.float32(weight)
        middle = line[distance:-distance]
        middle *= np.float32(1.0 - 2.0 * weight)
        middle += around
        if distance == 1:
            # At the ends of a row the next place is on another row.
            plane[:, 0], plane[:, -1] = left, right
    return plane
