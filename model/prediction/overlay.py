"""What is said of faces, drawn on the picture that they are in.

In: a picture, and a moment for each face. Out: another picture.
"""

from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw

from ferdata.dataset.lettering import Font, load_font, with_font
from ferdata.training.prediction.boxes import Box
from ferdata.training.prediction.prediction import Prediction
from ferdata.training.prediction.timeline import Moment

__all__ = ["annotate"]

_COLORS = ("#2f6fde", "#e8762c", "#1b998b", "#b5179e")
_PANEL, _TRACK = (12, 14, 18, 170), (255, 255, 255, 46)
_ROW, _NAME, _BAR = 16, 66, 60
"""Pixels of a row of a panel: its height, and how long a name and a bar are in it."""


def annotate(image: Image.Image, moments: Sequence[Moment], *, bars: bool = False) -> Image.Image:
    """Return a frame with a box around each face, and what it shows.

    Args:
        image: The frame, in RGB.
        moments: Its faces; nothing is drawn for none.
        bars: Draw the probability of each class beside each face too.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn, "RGBA")
    for moment in moments:
        color = _COLORS[moment.track % len(_COLORS)]
        box = moment.face.box if moment.face is not None else (0, 0, *image.size)
        _label(pen, box, moment.prediction, color)
        if bars:
            _bars(pen, box, moment.prediction, color, image.size)
    return drawn


def _label(pen: ImageDraw.ImageDraw, box: Box, found: Prediction, color: str) -> None:
    x, y, width, height = box
    line = max(1, round(max(width, height) / 80))
    pen.rectangle((x, y, x + width - 1, y + height - 1), outline=color, width=line)
    felt = "" if found.valence is None else f"  v {found.valence:+.1f} a {found.arousal:+.1f}"
    text, font_path = with_font(f"{found.label} {found.probabilities[found.label]:.0%}{felt}")
    font = _font(font_path, max(10, round(max(width, height) / 10)))
    left, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    top = y - bottom - 4 if y >= bottom + 4 else y + line
    pen.rectangle((x, top, x + right - left + 6, top + bottom + 4), fill=color)
    pen.text((x + 3, top + 1), text, fill="white", font=font)


def _bars(pen: ImageDraw.ImageDraw, box: Box, found: Prediction, color: str, size: tuple[int, int]) -> None:
    """Draw a row for each class: to the right of a face, to its left, or over it, wherever there is room."""
    x, y, width, _ = box
    wide, tall = _NAME + _BAR + 12, _ROW * len(found.probabilities) + 6
    places = (x + width + 6, x - wide - 6, x + width - wide)
    left = next((place for place in places if place >= 0 and place + wide <= size[0]), 0.0)
    top = max(0.0, min(y, size[1] - tall))
    pen.rectangle((left, top, left + wide, top + tall), fill=_PANEL)
    for number, (name, probability) in enumerate(found.probabilities.items()):
        text, font_path = with_font(name, most=10)
        row, start = top + 3 + number * _ROW, left + 6 + _NAME
        pen.text((left + 6, row + 1), text, fill="white", font=_font(font_path, 11))
        pen.rectangle((start, row + 4, start + _BAR, row + _ROW - 4), fill=_TRACK)
        pen.rectangle((start, row + 4, start + round(_BAR * probability), row + _ROW - 4), fill=color)


@lru_cache(maxsize=64)
def _font(path: str, size: int) -> Font:
    return load_font(path, size)
