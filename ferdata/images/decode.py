"""From file bytes to stored pixels: opens by content, refuses what is cut short, and turns any mode into RGB.

In: the bytes of one image file. Out: stored pixels, EXIF orientation, RGB. Costs Pillow's decoding.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from ferdata.errors import TransformError
from ferdata.images.formats import (
    GIF,
    JPEG,
    MAGIC_BYTES,
    PNG,
    TIFF,
    WEBP,
    HeaderTooLargeError,
    ImageFormat,
    is_decoder_missing,
    open_image,
    promised_size,
    recognise,
    what_to_install,
)
from ferdata.images.jpeg_file import check_whole, decode_rgbx, read_head, without_metadata
from ferdata.images.orientation import ORIENTATION, orientation

__all__ = [
    "TURNS",
    "DecoderMissingError",
    "Decoded",
    "ImageCorruptError",
    "ImageRejectedError",
    "ImageTooLargeError",
    "ImageUnsupportedError",
    "decode",
    "decoded_of",
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


class DecoderMissingError(ImageRejectedError):
    """An image of a format that Pillow, as it is installed here, has no decoder for."""

    reason = "decoder_missing"


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
_PAGED_FORMATS = frozenset({GIF, TIFF, WEBP, PNG})
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_HEIGHT = 257
_PNG_REMARKS = frozenset({b"iCCP", b"tEXt", b"zTXt", b"iTXt"})
_MAX_REMARK_BYTES = 1 << 20
_RAW_EXIF = b"Raw profile type exif\0"
_XMP_CHUNK = b"XML:com.adobe.xmp\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The first picture of a file in stored pixels, in one of two forms.

    Attributes:
        size: Width and height.
        orientation: EXIF orientation, 1 to 8.
        repairs: What it took so far.
        image: Loaded Pillow image of any mode, or None.
        rgbx: uint8 ``[H, W, 4]``, RGB and one byte to ignore, or None.
        is_grey: Whether the three values of each of these pixels are the one that the file has.
    """

    size: tuple[int, int]
    orientation: int
    repairs: tuple[str, ...]
    image: Image.Image | None = None
    rgbx: np.ndarray | None = None
    is_grey: bool = False

    def to_image(self) -> Image.Image:
        """Return the picture as a Pillow image."""
        if self.image is not None:
            return self.image
        assert self.rgbx is not None
        image = Image.frombuffer("RGB", self.size, self.rgbx, "raw", "RGBX", 0, 1)
        return image.getchannel("R") if self.is_grey else image


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
    found = recognise(data[:MAGIC_BYTES])
    if found is None:
        text = f"{len(data):,} bytes that start with {data[:12]!r}" if data else "0 bytes"
        raise ImageCorruptError(f"{where}: {text} found, expected an image; copy the file again")
    if is_decoder_missing(data, found):
        raise DecoderMissingError(f"{where}: {what_to_install(data, found)}")
    try:
        return _decode_jpeg(data, max_pixels) if found is JPEG else _decode_with_pillow(data, found, max_pixels)
    except _TooManyPixelsError as error:
        raise ImageTooLargeError(
            f"{where}: {error} found, expected at most {max_pixels:,}; shrink it or raise the limit"
        ) from error
    except HeaderTooLargeError as error:
        raise ImageTooLargeError(f"{where}: {error}; save it anew") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageTooLargeError(f"{where}: {error}, expected at most {max_pixels:,} pixels; shrink it") from error
    except _UnsupportedError as error:
        raise ImageUnsupportedError(f"{where}: {error}") from error
    except Exception as error:  # Pillow's decoders raise nearly every builtin for damaged bytes
        if is_decoder_missing(data, found, has_failed=True):
            raise DecoderMissingError(f"{where}: {what_to_install(data, found)}") from error
        if isinstance(error, UnidentifiedImageError):  # its text holds an address in memory
            error = ValueError("its header makes no sense")
        raise ImageCorruptError(
            f"{where}: {type(error).__name__}: {error}, expected an intact image; copy it again"
        ) from error


def decoded_of(image: Image.Image, *, max_pixels: int, where: str) -> Decoded:
    """Return a picture that Pillow has opened, with the orientation that it brings along.

    Args:
        image: Of any mode; it is loaded, if it is not yet.
        max_pixels: Larger pictures are refused.
        where: What it is called in error texts.

    Raises:
        ImageCorruptError: If it cannot be loaded.
        ImageTooLargeError: If there are more than ``max_pixels``.
    """
    try:
        _check_size(*image.size, max_pixels)
        image.load()
    except _TooManyPixelsError as error:
        raise ImageTooLargeError(f"{where}: {error} found, expected at most {max_pixels:,}; shrink it") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageCorruptError(
            f"{where}: {type(error).__name__}: {error}, expected an intact image; open it again"
        ) from error
    # Pillow turns TIFF upright while loading it.
    is_upright = image.format == TIFF.plugin
    turned, repairs = (1, ()) if is_upright else _orientation(*_exif_and_xmp(image, image.format == GIF.plugin))
    return Decoded(size=image.size, orientation=turned, repairs=repairs, image=image)


class _TooManyPixelsError(Exception):
    """A picture is larger than the guard allows."""


class _UnsupportedError(Exception):
    """A kind of file within a known format that is decoded by some builds of a library and not by others."""


def _decode_jpeg(data: bytes, max_pixels: int) -> Decoded:
    head = read_head(data)
    if head is None:  # what libjpeg thinks of it counts
        if data.rfind(b"\xff\xd9") < 0:
            raise OSError("no end-of-image marker")
        return _decode_with_pillow(data, JPEG, max_pixels)
    _check_size(head.width, head.height, max_pixels)
    if head.oddity:
        raise _UnsupportedError(
            f"a JPEG with {head.oddity} found, expected a baseline or progressive one of 8 bits; save it as PNG"
        )
    check_whole(data, head)
    rgbx = decode_rgbx(data, head)
    turned, repairs = _orientation(head.exif, head.xmp)
    if rgbx is not None:
        size = (head.width, head.height)
        return Decoded(size=size, orientation=turned, repairs=repairs, rgbx=rgbx, is_grey=head.is_grey)
    image = open_image(without_metadata(data, head), JPEG)
    _check_size(*image.size, max_pixels)
    image.load()
    return Decoded(size=image.size, orientation=turned, repairs=repairs, image=image)


def _decode_with_pillow(data: bytes, found: ImageFormat, max_pixels: int) -> Decoded:
    _check_size(*promised_size(data, found), max_pixels)
    remarks = _PngRemarks()
    plain = _read_png(data, remarks) if found is PNG else data
    image = open_image(plain, found)
    _check_size(*image.size, max_pixels)
    tiff_orientation = _check_tiff(image) if found is TIFF else None
    image.load()
    repairs: tuple[str, ...] = ("first_page",) if found in _PAGED_FORMATS and _has_more_pages(plain, found) else ()
    if tiff_orientation is None:
        exif, xmp = (remarks.exif, remarks.xmp) if found is PNG else _exif_and_xmp(image, found is GIF)
        turned, more = _orientation(exif, xmp)
        return Decoded(size=image.size, orientation=turned, repairs=repairs + more, image=image)
    if tiff_orientation not in TURNS:
        return Decoded(size=image.size, orientation=1, repairs=repairs, image=image)
    # Pillow turns TIFF upright while loading; boxes and landmarks are given in stored pixels, so turn it back.
    stored = image.transpose(_TURNED_BACK[tiff_orientation])
    return Decoded(size=stored.size, orientation=tiff_orientation, repairs=repairs, image=stored)


def _check_tiff(image: Any) -> Any:
    """See that a TIFF's strips reach its last row, since Pillow would leave the rest black; return its orientation."""
    tags = image.tag_v2
    height, last = tags.get(_TIFF_HEIGHT, 0), max((tile[1][3] for tile in image.tile), default=0)
    if last < height:
        raise OSError(f"its strips end at row {last:,} of {height:,}")
    return tags.get(ORIENTATION, 1)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _TooManyPixelsError(f"{width:,} x {height:,} pixels")


def _orientation(exif: bytes, xmp: bytes) -> tuple[int, tuple[str, ...]]:
    if not exif and not xmp:
        return 1, ()
    turned, is_sound = orientation(exif, xmp)
    return turned, () if is_sound else ("exif_unreadable",)  # a damaged EXIF block does not harm the pixels


def _exif_and_xmp(image: Image.Image, is_gif: bool) -> tuple[bytes, bytes]:
    if is_gif:  # newer versions of Pillow find XMP there, which no viewer minds
        return b"", b""
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    return exif if isinstance(exif, bytes) else b"", xmp if isinstance(xmp, bytes) else b""


def _has_more_pages(data: bytes, found: ImageFormat) -> bool:
    # Asking moves to the second page and drops the first one's pixels, so it is asked of another image object.
    try:
        return bool(getattr(open_image(data, found), "is_animated", False))
    except Exception:  # a damaged second page does not harm the first
        return False


@dataclass(slots=True)
class _PngRemarks:
    exif: bytes = b""
    xmp: bytes = b""


def _read_png(data: bytes, remarks: _PngRemarks) -> bytes:
    """Check a PNG's chunks; return it without texts and profiles, which change no pixel and may become gigabytes."""
    # Pillow skips the checksums of pixel chunks, and the last row is out before zlib reaches its own.
    position = start = len(_PNG_SIGNATURE)
    kept = [data[:position]]
    view = memoryview(data)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if kind == b"CgBI":
            raise _UnsupportedError(
                "a PNG as Xcode packs it for phones (CgBI) found, expected an ordinary one; convert it"
            )
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise OSError(f"chunk {kind!r} at byte {position:,} does not match its checksum")
        if kind == b"eXIf":
            remarks.exif = remarks.exif or data[position + 8 : end]
        if kind in _PNG_REMARKS:
            _read_remark(kind, data[position + 8 : end], remarks)
            kept.append(data[start:position])
            start = end + 4
        if kind == b"IEND":
            return b"".join([*kept, data[start:]]) if len(kept) > 1 else data
        position = end + 4
    raise OSError("no end chunk")


def _read_remark(kind: bytes, body: bytes, remarks: _PngRemarks) -> None:
    if kind == b"iTXt" and body.startswith(_XMP_CHUNK):
        is_packed, text = body[len(_XMP_CHUNK) : len(_XMP_CHUNK) + 1], body[len(_XMP_CHUNK) + 2 :].split(b"\0", 2)[-1]
        remarks.xmp = _inflate(text) if is_packed == b"\1" else text
    elif kind in (b"zTXt", b"tEXt") and body.startswith(_RAW_EXIF):
        text = _inflate(body[len(_RAW_EXIF) + 1 :]) if kind == b"zTXt" else body[len(_RAW_EXIF) :]
        lines = text.split(b"\n", 3)
        digits = re.sub(rb"\s", b"", lines[3]) if len(lines) == 4 else b"no digits"
        try:
            remarks.exif = remarks.exif or bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            remarks.exif = b"no hexadecimal digits"


def _inflate(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, _MAX_REMARK_BYTES)
    except zlib.error:
        return b""
