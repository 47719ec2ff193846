"""From file bytes to stored pixels: opens by content, refuses what is cut short, and turns any mode into RGB.

In: the bytes of one image file. Out: its stored pixels, its EXIF orientation, and RGB of them. Costs no more than Pillow's decoding.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from ferdata.errors import TransformError
from ferdata.jpeg import JPEG_MAGIC, decode_rgbx, read_head

__all__ = [
    "TURNS",
    "Decoded",
    "ImageCorruptError",
    "ImageRejectedError",
    "ImageTooLargeError",
    "ImageUnsupportedError",
    "decode",
    "to_rgb",
]


class ImageRejectedError(TransformError):
    """One image is left out and counted; ``reason`` is its word in ``rejects.csv``."""

    reason: ClassVar[str] = "image_rejected"


class ImageCorruptError(ImageRejectedError):
    """The bytes are empty, cut short, damaged, or no image at all."""

    reason = "image_corrupt"


class ImageTooLargeError(ImageRejectedError):
    """The header promises more pixels than the guard against decompression bombs allows."""

    reason = "image_too_large"


class ImageUnsupportedError(ImageRejectedError):
    """An intact image whose pixel values have no agreed meaning as 8-bit RGB."""

    reason = "image_unsupported"


TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns stored pixels upright; 1 and every value that is not listed leave them as they are."""

_TURNED_BACK = TURNS | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_ORIENTATION_TAG = 0x0112
_EXIF_SOURCES = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
# Only formats that are plain pictures: others of Pillow's start programs (EPS) or accept bytes that are no image (TGA).
_COMMON_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM")
_RARE_FORMATS = ("TIFF", "WEBP", "JPEG2000", "AVIF", "MPO")
_PAGED_FORMATS = frozenset({"GIF", "TIFF", "WEBP", "PNG"})
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The first picture of a file in stored pixels, in one of two forms.

    Attributes:
        size: Width and height.
        orientation: EXIF orientation, 1 to 8.
        repairs: What it took so far.
        image: Loaded Pillow image of any mode, or None.
        rgbx: uint8 ``[H, W, 4]``, RGB and one byte to ignore, or None.
    """

    size: tuple[int, int]
    orientation: int
    repairs: tuple[str, ...]
    image: Image.Image | None = None
    rgbx: np.ndarray | None = None

    def to_image(self) -> Image.Image:
        """Return the picture as a Pillow image."""
        if self.image is not None:
            return self.image
        assert self.rgbx is not None
        return Image.frombuffer("RGB", self.size, self.rgbx, "raw", "RGBX", 0, 1)


def decode(data: bytes, *, max_pixels: int, where: str) -> Decoded:
    """Return the first picture of a file.

    The content decides the format, never the name. Nothing is filled in: a file that ends early is an error.

    Args:
        data: The file.
        max_pixels: Larger pictures are refused before they are decoded.
        where: Name of the file in error texts.

    Raises:
        ImageCorruptError: If the bytes are empty, cut short, damaged or no image.
        ImageTooLargeError: If there are more than ``max_pixels``.
    """
    if not data:
        raise ImageCorruptError(f"{where}: 0 bytes found, expected an image; copy the file again")
    try:
        return _decode_usual_jpeg(data, max_pixels) or _decode_with_pillow(data, max_pixels)
    except _TooManyPixelsError as error:
        raise ImageTooLargeError(f"{where}: {error} found, expected at most {max_pixels:,}; shrink it or raise the limit") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLargeError(f"{where}: {error}, expected at most {max_pixels:,} pixels; shrink it") from error
    except UnidentifiedImageError as error:
        raise ImageCorruptError(
            f"{where}: {len(data):,} bytes that start with {data[:12]!r} found, expected an image; copy it again"
        ) from error
    except Exception as error:  # Pillow's decoders raise nearly every builtin for damaged bytes
        raise ImageCorruptError(f"{where}: {type(error).__name__}: {error}, expected an intact image; copy it again") from error


class _TooManyPixelsError(Exception):
    """A picture is larger than the guard allows."""


def _decode_usual_jpeg(data: bytes, max_pixels: int) -> Decoded | None:
    head = read_head(data) if data.startswith(JPEG_MAGIC) else None
    if head is None:
        return None
    _check_size(head.width, head.height, max_pixels)
    _check_jpeg_end(data, head.scan_start)
    rgbx = decode_rgbx(data, head)
    if rgbx is None:
        return None
    orientation, repairs = _orientation(_open(io.BytesIO(data))) if head.has_app1 else (1, ())
    if head.is_grey:
        repairs = (*repairs, "grey_to_rgb")
    return Decoded(size=(head.width, head.height), orientation=orientation, repairs=repairs, rgbx=rgbx)


def _decode_with_pillow(data: bytes, max_pixels: int) -> Decoded:
    file = io.BytesIO(data)
    image = _open(file)
    _check_size(*image.size, max_pixels)
    if image.format in ("JPEG", "MPO"):
        _check_jpeg_end(data, file.tell())
    elif image.format == "PNG":
        _check_png_chunks(data)
    tiff_orientation = image.tag_v2.get(_ORIENTATION_TAG, 1) if image.format == "TIFF" else None  # type: ignore[attr-defined]
    image.load()
    repairs: tuple[str, ...] = ("first_page",) if image.format in _PAGED_FORMATS and _has_more_pages(data, image.format) else ()
    if tiff_orientation is None:
        orientation, more = _orientation(image)
        return Decoded(size=image.size, orientation=orientation, repairs=repairs + more, image=image)
    if tiff_orientation not in TURNS:
        return Decoded(size=image.size, orientation=1, repairs=repairs, image=image)
    # Pillow turns TIFF upright while loading; boxes and landmarks are given in stored pixels, so turn it back.
    stored = image.transpose(_TURNED_BACK[tiff_orientation])
    return Decoded(size=stored.size, orientation=tiff_orientation, repairs=repairs, image=stored)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _TooManyPixelsError(f"{width:,} x {height:,} pixels")


def _orientation(image: Image.Image) -> tuple[int, tuple[str, ...]]:
    if _EXIF_SOURCES.isdisjoint(image.info):
        return 1, ()
    try:
        found = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block does not harm the pixels
        return 1, ("exif_unreadable",)
    return (found if found in TURNS else 1), ()


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
        raise ImageUnsupportedError(f"{where}: mode {mode}: {error}, expected one that Pillow turns into RGB; save it as RGB") from error


_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_REPAIR_OF_MODE = {
    "1": "grey_to_rgb",
    "L": "grey_to_rgb",
    "LA": "grey_to_rgb",
    "La": "grey_to_rgb",
    "P": "palette_to_rgb",
    "PA": "palette_to_rgb",
    "CMYK": "cmyk_to_rgb",
    "YCbCr": "colour_to_rgb",
    "HSV": "colour_to_rgb",
    "LAB": "colour_to_rgb",
    "I": "depth_reduced",
    "I;16": "depth_reduced",
    "I;16B": "depth_reduced",
    "I;16L": "depth_reduced",
    "I;16N": "depth_reduced",
    "F": "depth_reduced",
}


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
            f"{where}: grey values {lowest:g} to {highest:g} found, expected 16 bits, or floats up to 1 or 255; save it with 8 bits"
        )
    return Image.fromarray(grey.astype(np.uint8))


def _open(file: io.BytesIO) -> Image.Image:
    try:
        return Image.open(file, formats=_COMMON_FORMATS)
    except UnidentifiedImageError:
        Image.init()
        return Image.open(file, formats=[name for name in _RARE_FORMATS if name in Image.OPEN])


def _has_more_pages(data: bytes, format_name: str) -> bool:
    # Asking moves to the second page and drops the first one's pixels, so it is asked of another image object.
    try:
        return bool(getattr(Image.open(io.BytesIO(data), formats=[format_name]), "is_animated", False))
    except Exception:  # a damaged second page does not harm the first
        return False


def _check_jpeg_end(data: bytes, scan_start: int) -> None:
    # Zeros at the end of a file that was not copied whole decode as grey without an error; only the missing end marker tells.
    if data.rfind(b"\xff\xd9", scan_start) < 0:
        raise OSError("no end-of-image marker after the scan")


def _check_png_chunks(data: bytes) -> None:
    # Pillow skips the checksums of pixel chunks, and the last row is out before zlib reaches its own.
    position = len(_PNG_SIGNATURE)
    view = memoryview(data)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise OSError(f"chunk {kind!r} at byte {position:,} does not match its checksum")
        if kind == b"IEND":
            return
        position = end + 4
    raise OSError("no end chunk")
