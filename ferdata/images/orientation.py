"""The numbers in a TIFF header and in EXIF, which is one too; and how a picture must be turned, as EXIF or XMP say.

In: bytes of a header. Out: tag -> number. Reads the entries of the first directory and nothing that they point to, so
that no forged count costs memory, and finds the same whatever version of Pillow decodes the picture.
"""

import re
import struct

__all__ = ["ORIENTATION", "TOTAL", "orientation", "read_tags"]

ORIENTATION = 0x0112
TOTAL = -1
"""Key of :func:`read_tags` for how many numbers all the entries promise; each no more than there are bytes."""

_MAX_ENTRIES = 4096
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TEXT_TYPES = frozenset({1, 2, 7})
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def read_tags(data: bytes) -> dict[int, int]:
    """Return the first number of every entry in a TIFF's first directory; an entry that holds no whole number has none.

    A directory of more entries than any camera writes is not read, and its total is beyond all bounds.

    Raises:
        ValueError: If this is no TIFF header.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 8 or not {42, 43} & {data[2], data[3]}:
        raise ValueError(f"{bytes(data[:8])!r} found, expected a TIFF header")
    is_big = 43 in (data[2], data[3])
    count_format, entry_format, inline = (
        (f"{order}Q", f"{order}HHQ8s", 8) if is_big else (f"{order}H", f"{order}HHI4s", 4)
    )
    tags = {TOTAL: 0}
    try:
        position = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)[0]
        entries = struct.unpack_from(count_format, data, position)[0]
        if min(entries, len(data) // struct.calcsize(entry_format)) > _MAX_ENTRIES:
            return {TOTAL: 1 << 64}
        position += struct.calcsize(count_format)
        for start in range(position, position + entries * struct.calcsize(entry_format), struct.calcsize(entry_format)):
            tag, kind, count, value = struct.unpack_from(entry_format, data, start)
            tags[TOTAL] += 0 if kind in _TEXT_TYPES else min(count, len(data))
            if kind in _TYPES and count:
                size = struct.calcsize(_TYPES[kind])
                at_offset = count * size > inline
                offset = struct.unpack(f"{order}{'Q' if is_big else 'I'}", value)[0] if at_offset else 0
                tags[tag] = struct.unpack_from(order + _TYPES[kind], data if at_offset else value, offset)[0]
    except (struct.error, OverflowError):  # cut short: what was read so far stands
        pass
    return tags


def orientation(exif: bytes, xmp: bytes) -> tuple[int, bool]:
    r"""Return the orientation, 1 to 8, and whether the EXIF block could be read; XMP counts where EXIF says nothing.

    Args:
        exif: The block, with or without ``Exif\0\0`` in front; empty where there is none.
        xmp: The packet; empty where there is none.
    """
    found, is_sound = 0, True
    if exif:
        try:
            found = read_tags(exif.removeprefix(b"Exif\0\0")).get(ORIENTATION, 0)
        except ValueError:
            is_sound = False
    if not found and (match := _XMP.search(xmp)):
        found = int(match[1])
    return (found if 1 <= found <= 8 else 1), is_sound
