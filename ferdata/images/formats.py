"""Which files are images, told by their first bytes: a closed list, so that no other decoder of Pillow's ever runs.

In: the start of a file. Out: its :class:`ImageFormat`, and whether this Pillow decodes it. Under a microsecond.
"""

import io
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import PIL
from PIL import Image, features

from ferdata.images.orientation import TOTAL, read_tags

__all__ = [
    "GIF",
    "JPEG",
    "MAGIC_BYTES",
    "PNG",
    "TIFF",
    "WEBP",
    "HeaderTooLargeError",
    "ImageFormat",
    "is_decoder_missing",
    "open_image",
    "promised_size",
    "recognise",
    "starts_like_image",
    "what_to_install",
]

MAGIC_BYTES = 64
"""So many bytes from the start of a file are enough for :func:`recognise`."""


class HeaderTooLargeError(Exception):
    """A header promises more than any picture holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFormat:
    """One kind of image file.

    Attributes:
        name: For people.
        plugin: Pillow's name of it; empty where no Pillow decodes it.
        feature: What Pillow must be built with for it; empty where every build has it.
        since: First Pillow whose wheel has it; empty where all have.
    """

    name: str
    plugin: str
    feature: str = ""
    since: str = ""


JPEG = ImageFormat(name="JPEG", plugin="JPEG", feature="jpg")
PNG = ImageFormat(name="PNG", plugin="PNG", feature="zlib")
GIF = ImageFormat(name="GIF", plugin="GIF")
BMP = ImageFormat(name="BMP", plugin="BMP")
DIB = ImageFormat(name="DIB", plugin="DIB")
PPM = ImageFormat(name="PPM", plugin="PPM")
TIFF = ImageFormat(name="TIFF", plugin="TIFF")
WEBP = ImageFormat(name="WebP", plugin="WEBP", feature="webp")
JPEG2000 = ImageFormat(name="JPEG 2000", plugin="JPEG2000", feature="jpg_2000")
AVIF = ImageFormat(name="AVIF", plugin="AVIF", feature="avif", since="11.3")
HEIC = ImageFormat(name="HEIC", plugin="")
JPEG_XL = ImageFormat(name="JPEG XL", plugin="")

_STARTS = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    *((start, TIFF) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")),
    (b"\xff\x4f\xff\x51", JPEG2000),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG2000),
    (b"\xff\x0a", JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
)
_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_COMPRESSIONS = {
    2: "tiff_ccitt", 3: "group3", 4: "group4", 5: "tiff_lzw", 7: "jpeg", 8: "tiff_adobe_deflate", 32773: "packbits",
    32946: "tiff_deflate", 34925: "lzma", 50000: "zstd", 50001: "webp",
}  # fmt: skip
_MAX_NUMBERS = 1 << 20
_PPM = re.compile(rb"P[1-6]\s+[\d#]")
_DIB_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_BMP_HEADERS = _DIB_HEADERS | {16}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})
_MODULES = {
    "JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "BMP": "Bmp", "DIB": "Bmp", "PPM": "Ppm",
    "TIFF": "Tiff", "WEBP": "WebP", "JPEG2000": "Jpeg2K", "AVIF": "Avif",
}  # fmt: skip


def recognise(data: bytes) -> ImageFormat | None:
    """Return the format of a file that starts with ``data``, or None if it is no image that is known here."""
    for start, found in _STARTS:
        if data.startswith(start):
            return found if found is not BMP or _is_bmp(data) else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        return _recognise_heif(data)
    if _PPM.match(data):
        return PPM
    return DIB if _is_dib(data) else None


def starts_like_image(data: bytes) -> bool:
    """Tell whether a file is an image that some Pillow decodes, by its first ``MAGIC_BYTES`` bytes."""
    found = recognise(data)
    return found is not None and found.plugin != ""


def _recognise_heif(data: bytes) -> ImageFormat | None:
    end = min(max(int.from_bytes(data[:4], "big"), 16), MAGIC_BYTES)
    brands = {data[position : position + 4] for position in (8, *range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & _HEIC_BRANDS or data[8:12] in (b"mif1", b"msf1") else None


def _is_bmp(data: bytes) -> bool:
    # Two letters start many a text; the header that follows has one of a few sizes.
    return int.from_bytes(data[14:18], "little") in _BMP_HEADERS


def _is_dib(data: bytes) -> bool:
    size = int.from_bytes(data[:4], "little")
    planes = data[8:10] if size == 12 else data[12:14]
    return size in _DIB_HEADERS and planes == b"\x01\0"


def open_image(data: bytes, found: ImageFormat) -> Image.Image:
    """Open a file by the one decoder of its format; nothing is decoded yet.

    Raises:
        Exception: Nearly any, for damaged bytes.
    """
    # Pillow imports the plugins of rare formats only when it is asked for all of them.
    import_module(f"PIL.{_MODULES[found.plugin]}ImagePlugin")
    return Image.open(io.BytesIO(data), formats=(found.plugin,))


def is_decoder_missing(data: bytes, found: ImageFormat, *, has_failed: bool = False) -> bool:
    """Tell whether this Pillow was built without what the format needs.

    Args:
        data: The file.
        found: Its format.
        has_failed: It could not be decoded; a TIFF's compression is then tried on a picture made here.
    """
    if not found.plugin or (found.feature and not _has(found.feature)):
        return True
    if found is not TIFF or (compression := _tags(data).get(_COMPRESSION, 1)) == 1:
        return False
    return not _has("libtiff") or (has_failed and not _can_do(compression))


def what_to_install(data: bytes, found: ImageFormat) -> str:
    """Return the end of a sentence about a missing decoder: what was found, what was expected, what to do."""
    if not found.plugin:
        return f"{found.name} found, which no Pillow decodes; convert it to PNG or JPEG"
    what = found.name
    if found is TIFF:
        number = _tags(data).get(_COMPRESSION, 1)
        what = f"TIFF with {_COMPRESSIONS.get(number, f'compression {number}').removeprefix('tiff_')}"
    newer = f"'pillow>={found.since}'" if found.since else "pillow"
    return (
        f"{what} found, expected a format that Pillow {PIL.__version__} has a decoder for as it was built here; "
        f"run: pip uninstall -y pillow pillow-simd; pip install {newer}"
    )


@cache
def _has(feature: str) -> bool:
    if feature in features.codecs:
        return bool(features.check_codec(feature))
    return feature in features.modules and bool(features.check_module(feature))


_TRY = """
import io, sys
from PIL import Image
file = io.BytesIO()
Image.new(sys.argv[1], (16, 16)).save(file, "TIFF", compression=sys.argv[2])
Image.open(file).load()
"""


@cache
def _can_do(compression: int) -> bool:
    """Tell whether libtiff was built with a compression, by writing a picture with it and reading that.

    In another process: Pillow before 13 ends its own where the compression is not there.
    """
    if compression not in _COMPRESSIONS:
        return True
    mode = "1" if compression in (2, 3, 4) else "RGB"
    command = [sys.executable, "-c", _TRY, mode, _COMPRESSIONS[compression]]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def promised_size(data: bytes, found: ImageFormat) -> tuple[int, int]:
    """Return width and height that Pillow makes memory for before it says how large the picture is; mostly zeros.

    Raises:
        HeaderTooLargeError: If the header holds so many numbers that they alone would fill the memory.
    """
    if found is WEBP:
        return _webp_size(data)
    if found is not TIFF:
        return 0, 0
    tags = _tags(data)
    if tags.get(TOTAL, 0) > _MAX_NUMBERS:
        raise HeaderTooLargeError(f"{tags[TOTAL]:,} numbers in the header found, expected at most {_MAX_NUMBERS:,}")
    return max(tags.get(_WIDTH, 0), tags.get(_TILE_WIDTH, 0)), max(tags.get(_HEIGHT, 0), tags.get(_TILE_HEIGHT, 0))


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _tags(data: bytes) -> dict[int, int]:
    try:
        return read_tags(data)
    except ValueError:
        return {}
