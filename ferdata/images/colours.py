"""An image of any mode as 8-bit RGB or 8-bit grey, and what it took.

In: a Pillow image. Out: one of mode ``RGB`` or ``L``, and names of repairs. Costs a pass over the pixels, if any.
"""

from io import BytesIO

import numpy as np
from PIL import Image

from ferdata.images.decode import ImageUnsupportedError

__all__ = ["GREY_TO_RGB", "to_grey", "to_picture", "to_png", "to_rgb"]

GREY_TO_RGB = "grey_to_rgb"
"""The repair that gives a grey image three channels."""

_PNG_LEVEL = 1
"""zlib level of PNG files: a tenth larger than the default's, and three times as fast to write."""
_DEPTH_REDUCED = "depth_reduced"
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_REPAIR_OF_MODE = {
    "1": GREY_TO_RGB,
    "L": GREY_TO_RGB,
    "LA": GREY_TO_RGB,
    "La": GREY_TO_RGB,
    "P": "palette_to_rgb",
    "PA": "palette_to_rgb",
    "CMYK": "cmyk_to_rgb",
    "YCbCr": "colour_to_rgb",
    "HSV": "colour_to_rgb",
    "LAB": "colour_to_rgb",
    "I": _DEPTH_REDUCED,
    "I;16": _DEPTH_REDUCED,
    "I;16B": _DEPTH_REDUCED,
    "I;16L": _DEPTH_REDUCED,
    "I;16N": _DEPTH_REDUCED,
    "F": _DEPTH_REDUCED,
}


def to_rgb(image: Image.Image, background: tuple[int, int, int], *, where: str) -> tuple[Image.Image, list[str]]:
    """Return an image of any mode as 8-bit RGB, with the names of the repairs it took.

    16-bit values keep their high byte, as Pillow itself does for 16-bit colour. Partly transparent pixels are laid over
    ``background``; an alpha channel that is the same everywhere (opaque, or zero as some writers leave it) is dropped.

    Raises:
        ImageUnsupportedError: If the mode or the range of values has no agreed meaning as RGB.
    """
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, []
    repairs = [_REPAIR_OF_MODE[mode]] if mode in _REPAIR_OF_MODE else []
    if mode.startswith("I") or mode == "F":
        grey = _deep_to_grey(np.asarray(image), where)
        return Image.merge("RGB", (grey, grey, grey)), repairs
    try:
        if mode == "La":
            image = image.convert("LA")
        if mode in _ALPHA_MODES or "transparency" in image.info:
            return _flatten(image.convert("RGBA"), background, repairs)
        return image.convert("RGB"), repairs
    except (ValueError, ImportError, OSError) as error:
        raise ImageUnsupportedError(
            f"{where}: mode {mode}: {error}, expected one that Pillow turns into RGB; save it as RGB"
        ) from error


def to_grey(image: Image.Image, background: tuple[int, int, int], *, where: str) -> tuple[Image.Image, list[str]]:
    """Return an image of any mode as 8-bit grey, by way of :func:`to_rgb` if it is none, with its repairs.

    Colours become luma by ITU-R BT.601 as Pillow computes it: (19,595 R + 38,470 G + 7,471 B + 32,768) / 65,536, cut.

    Raises:
        ImageUnsupportedError: As :func:`to_rgb`.
    """
    if image.mode == "L" and "transparency" not in image.info:
        return image, []
    colours, repairs = to_rgb(image, background, where=where)
    is_colour = _REPAIR_OF_MODE.get(image.mode) not in (GREY_TO_RGB, _DEPTH_REDUCED)
    kept = [repair for repair in repairs if repair != GREY_TO_RGB]
    return colours.convert("L"), [*kept, "colour_to_grey"] if is_colour else kept


def _flatten(image: Image.Image, background: tuple[int, int, int], repairs: list[str]) -> tuple[Image.Image, list[str]]:
    alpha = image.getchannel("A")
    colours = image.convert("RGB")
    lowest, highest = alpha.getextrema()
    if lowest == 255 or highest == 0:
        return colours, [*repairs, "alpha_dropped"]
    return Image.composite(colours, Image.new("RGB", image.size, background), alpha), [*repairs, "alpha_flattened"]


def _deep_to_grey(values: np.ndarray, where: str) -> Image.Image:
    lowest, highest = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and lowest >= 0 and highest <= 1:
        grey = np.floor(values * 255 + 0.5)
    elif values.dtype.kind == "f" and lowest >= 0 and highest <= 255:
        grey = np.floor(values + 0.5)
    elif lowest >= 0 and highest <= 65535:
        grey = values.astype(np.uint16) >> 8
    else:
        raise ImageUnsupportedError(
            f"{where}: grey values {lowest:g} to {highest:g} found, expected 16 bits, or floats up to 1 or 255; "
            "save it with 8 bits"
        )
    return Image.fromarray(grey.astype(np.uint8))


def to_picture(pixels: np.ndarray) -> Image.Image:
    """Return uint8 ``[3, H, W]`` or ``[1, H, W]`` as a picture of mode ``RGB`` or ``L``."""
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)) if len(pixels) == 3 else pixels[0])


def to_png(pixels: np.ndarray) -> bytes:
    """Return uint8 ``[3, H, W]`` or ``[1, H, W]`` as a PNG file."""
    buffer = BytesIO()
    to_picture(pixels).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
