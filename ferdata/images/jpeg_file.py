"""JPEG: its header in a few steps of Python, whether its data is whole, and its pixels straight from libjpeg-turbo.

In: file bytes. Out: uint8 ``[H, W, 4]`` (RGB and one byte to ignore), the very pixels Pillow gives, in about 0.7 of its
time; or None where Pillow must decode. Unlike Pillow, it sees what libjpeg would fill in, with simplejpeg and without.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from ferdata.images.jpeg_scans import STANDALONE, count_scans, find_damage

try:
    import simplejpeg
except (ImportError, ValueError):  # everything works without it; ValueError where it was built for another NumPy
    simplejpeg = None

__all__ = ["DamagedJpegError", "JpegHead", "check_whole", "decode_rgbx", "read_head", "without_metadata"]

_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_ARITHMETIC_FRAMES = frozenset({0xC9, 0xCA})
_START_OF_SCAN, _APP0, _APP1, _APP14, _APP15, _COMMENT = 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# Sampling that Pillow can write, so that the two decoders can be compared on it: 4:4:4, 4:2:2, 4:2:0.
_SAMPLINGS = {(0x11, 0x11, 0x11), (0x21, 0x11, 0x11), (0x22, 0x11, 0x11)}
_MAX_SCANS = 100


class DamagedJpegError(Exception):
    """The compressed data is damaged, and libjpeg would fill in what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHead:
    """What stands in front of the scan.

    Attributes:
        width: In pixels.
        height: In pixels.
        components: 1 grey, 3 colour, 4 CMYK.
        is_huffman: Baseline or progressive, Huffman-coded, 8 bits.
        is_usual: That, and grey or YCbCr with common sampling, which :func:`decode_rgbx` takes.
        oddity: What makes it a JPEG that libjpeg decodes in some builds and not in others; empty for all others.
        exif: The EXIF block, or empty.
        xmp: The XMP packet, or empty.
        scan_start: Offset of the first scan.
    """

    width: int
    height: int
    components: int
    is_huffman: bool
    is_usual: bool
    oddity: str
    exif: bytes
    xmp: bytes
    scan_start: int

    @property
    def is_grey(self) -> bool:
        """Whether it has one component."""
        return self.components == 1

    @property
    def has_app1(self) -> bool:
        """Whether there is an EXIF or XMP block."""
        return bool(self.exif or self.xmp)


def read_head(data: bytes) -> JpegHead | None:
    """Return the head of a JPEG file, or None if anything about it is out of the ordinary."""
    frame, frame_marker, exif, xmp, is_ycc = b"", 0, b"", b"", True
    try:
        for marker, start, end in _segments(data):
            block = data[start + 4 : end]
            if marker == _START_OF_SCAN:
                if not frame:
                    return None
                height, width, components = struct.unpack_from(">HHB", frame, 1)
                sampling = tuple(frame[7 : 6 + 3 * components : 3])
                is_huffman = frame[0] == 8 and frame_marker in _HUFFMAN_FRAMES
                return JpegHead(
                    width=width,
                    height=height,
                    components=components,
                    is_huffman=is_huffman,
                    is_usual=is_huffman and is_ycc and (sampling in _SAMPLINGS or components == 1),
                    oddity="" if is_huffman else _oddity(frame[0], frame_marker),
                    exif=exif,
                    xmp=xmp,
                    scan_start=end,
                )
            if marker in _FRAME_MARKERS:
                frame, frame_marker = block, marker
            elif marker == _APP1 and block.startswith(_EXIF):
                exif = exif or block
            elif marker == _APP1 and block.startswith(_XMP):
                xmp = xmp or block
            elif marker == _APP14 and _is_adobe(block):
                is_ycc = data[start + 15] == 1
    except (IndexError, struct.error):
        pass
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment, as long as one follows another.

    Raises:
        IndexError: If the file ends.
    """
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + (data[position + 2] << 8 | data[position + 3])
        yield marker, position, end
        position = end


def _oddity(bits: int, marker: int) -> str:
    if bits != 8:
        return f"{bits} bits"
    return "" if marker in _ARITHMETIC_FRAMES else f"lossless or hierarchical coding (SOF{marker - 0xC0})"


def _is_adobe(block: bytes) -> bool:
    return len(block) >= 12 and block.startswith(b"Adobe")


def without_metadata(data: bytes, head: JpegHead) -> bytes:
    """Return the file without what changes no pixel in front of its scan; Pillow refuses some for a damaged remark."""
    kept = [data[:2]]
    for marker, start, end in _segments(data):
        block = data[start + 4 : end]
        is_remark = _APP0 <= marker <= _APP15 or marker == _COMMENT
        tells_colours = (marker == _APP14 and _is_adobe(block)) or (
            marker == _APP0 and len(block) >= 14 and block.startswith(b"JFIF\0")
        )
        if not is_remark or tells_colours:
            kept.append(data[start:end])
        if end >= head.scan_start:
            break
    return b"".join([*kept, data[head.scan_start :]])


def check_whole(data: bytes, head: JpegHead) -> None:
    """See that nothing of the compressed data is missing, which no decoder may fill in.

    Raises:
        DamagedJpegError: If something is.
    """
    if data.count(b"\xff\xda", head.scan_start) > _MAX_SCANS and (number := count_scans(data)) > _MAX_SCANS:
        raise DamagedJpegError(f"{number:,} scans found, expected at most {_MAX_SCANS}")
    # Zeros at the end of a file not copied whole decode as grey without an error; only the missing end marker tells.
    if data.rfind(b"\xff\xd9", head.scan_start) < 0:
        raise DamagedJpegError("no end-of-image marker after the scan")


def decode_rgbx(data: bytes, head: JpegHead) -> np.ndarray | None:
    """Return uint8 ``[H, W, 4]``, or None where Pillow has to decode; the data is whole in either case.

    Raises:
        DamagedJpegError: If the compressed data is damaged.
    """
    if not head.is_huffman:
        return None
    pixels = _decode(data, head) if simplejpeg is not None and head.width and head.height else None
    if pixels is None and (damage := find_damage(data)):
        raise DamagedJpegError(damage)
    return pixels if pixels is not None and head.is_usual and _agrees_with_pillow() else None


def _decode(data: bytes, head: JpegHead) -> np.ndarray | None:
    pixels = np.empty((head.height, head.width, 4), np.uint8)
    try:
        decoded = simplejpeg.decode_jpeg(data, colorspace="CMYK" if head.components == 4 else "RGBX", buffer=pixels)
    except ValueError:  # a warning of libjpeg's is one too, and the last one hides all before it
        return None
    # A file with two frame headers may have another size in libjpeg's eyes; then most of the pixels were never written.
    return pixels if decoded.shape == pixels.shape else None


@cache
def _agrees_with_pillow() -> bool:
    # The two may be linked to different versions of libjpeg; a build whose pixels differ must not be used.
    y, x = np.mgrid[:37, :43]
    picture = Image.fromarray(np.stack([x * 5 + y, y * 6 ^ x, (x * y) % 256], axis=2).astype(np.uint8))
    variants = [(picture, {"subsampling": number, "progressive": bool(number)}) for number in range(3)]
    for image, options in [*variants, (picture.convert("L"), {})]:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85, **options)
        head = read_head(file.getvalue())
        pixels = _decode(file.getvalue(), head) if head else None
        if pixels is None or not np.array_equal(pixels[:, :, :3], np.asarray(Image.open(file).convert("RGB"))):
            return False
    return True
