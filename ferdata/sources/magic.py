"""Tell an image file by its first bytes, where its name does not.

In: the first bytes of a file. Out: whether they begin an image of a kind that the decoder reads. Costs a comparison; nothing is decoded.
"""

import re
import struct

__all__ = ["HEAD_BYTES", "starts_like_image"]

HEAD_BYTES = 32

_STARTS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a",
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
)  # fmt: skip
"""JPEG, PNG, GIF; TIFF and BigTIFF in both byte orders; JPEG 2000 in its box and bare."""

_NETPBM = re.compile(rb"P[1-6]\s+[#\d]")
_BITMAP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))
_BITMAP_DEPTHS = frozenset((1, 4, 8, 16, 24, 32))


def starts_like_image(head: bytes) -> bool:
    """Tell whether a file that starts with ``head``, its first ``HEAD_BYTES`` bytes or all of it, is an image."""
    return (
        head.startswith(_STARTS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and (b"avif" in head or b"avis" in head))
        or _NETPBM.match(head) is not None
        or _is_bitmap(head[14:] if head[:2] == b"BM" else head)
    )


def _is_bitmap(header: bytes) -> bool:
    """Tell whether bytes are the header of a Windows bitmap: its own size, one plane and a depth; two letters ``BM`` prove nothing."""
    if len(header) < 16:
        return False
    (size,) = struct.unpack_from("<I", header)
    planes, depth = struct.unpack_from("<HH", header, 8 if size == 12 else 12)
    return size in _BITMAP_HEADERS and planes == 1 and depth in _BITMAP_DEPTHS
