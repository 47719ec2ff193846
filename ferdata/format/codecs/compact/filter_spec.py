"""The description of a pixel filter: everything a reader must know to undo it, in an index or in front of one member.

In: the names of the filter's three parts. Out: a frozen value, and the 128 bytes that declare it in a member.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from ferdata.errors import OptionError, ShardCorruptError

__all__ = [
    "ARRANGEMENTS",
    "COLOURS",
    "DEFAULT_FILTER",
    "FILTER_HEADER_BYTES",
    "FILTER_NAME",
    "FILTER_VERSION",
    "PREDICTORS",
    "FilterSpec",
    "Shape",
    "filter_header",
    "max_payload_bytes",
    "min_payload_bytes",
    "parse_filter_header",
]

Shape = tuple[int, int, int]

FILTER_NAME = "pixels"
FILTER_VERSION = 1
PREDICTORS = ("none", "left", "row", "gradient", "median")
"""What a pixel is compared with: nothing, its left neighbour, the one above, left + above - corner, or their median."""
COLOURS = ("none", "green", "ycocg")
"""What is taken off the first three channels: nothing, green from red and blue, or the lifting steps of YCoCg-R."""
ARRANGEMENTS = ("bytes", "nibbles", "planes", "rice")
"""How residuals become bytes; the place of each name in these three tables is its number in the compiled kernels."""

FILTER_HEADER_BYTES = 128
_MAGIC = b"\x93PIXELS" + bytes([FILTER_VERSION])


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSpec:
    """One reversible filter of uint8 ``[C, H, W]`` pixels; FORMAT.md says what each name does to the bytes.

    Attributes:
        name: Family of filters, always ``FILTER_NAME``.
        version: Meaning of the names below; a reader refuses one that it does not know.
        predictor: One of ``PREDICTORS``.
        colour: One of ``COLOURS``; with fewer than three channels it does nothing.
        arrangement: One of ``ARRANGEMENTS``.
    """

    name: str = FILTER_NAME
    version: int = FILTER_VERSION
    predictor: str
    colour: str
    arrangement: str

    def __post_init__(self) -> None:
        for what, found, known in (
            ("name", self.name, (FILTER_NAME,)),
            ("version", self.version, (FILTER_VERSION,)),
            ("predictor", self.predictor, PREDICTORS),
            ("colour", self.colour, COLOURS),
            ("arrangement", self.arrangement, ARRANGEMENTS),
        ):
            if found not in known or isinstance(found, bool):
                expected = " or ".join(repr(value) for value in known)
                raise OptionError(f"filter: {what} {found!r} found, expected {expected}; a newer ferdata may know it")

    @classmethod
    def from_json(cls, description: Mapping[str, Any]) -> Self:
        """Return the filter a description names.

        Raises:
            OptionError: If a part is missing, is not one of ours, or carries a value this version does not know.
        """
        parts = [field.name for field in fields(cls)]
        if not isinstance(description, Mapping) or set(description) != set(parts):
            found = sorted(map(str, description)) if isinstance(description, Mapping) else type(description).__name__
            raise OptionError(f"filter: {found} found, expected {', '.join(parts)}; a newer ferdata may know it")
        return cls(**{part: description[part] for part in parts})


DEFAULT_FILTER = FilterSpec(predictor="gradient", colour="green", arrangement="rice")
"""Chosen by the codec study; docs/codecs.md has the table and the reasons."""


def max_payload_bytes(spec: FilterSpec, shape: Shape) -> int:
    """Return the most bytes that a filtered image can take; it always takes them unless the arrangement is ``rice``."""
    num_bytes = math.prod(shape)
    if spec.arrangement == "rice":
        return 16 + 65 * -(-num_bytes // 64)
    unit = {"bytes": 1, "nibbles": 2, "planes": 8}[spec.arrangement]
    return -(-num_bytes // unit) * unit


def min_payload_bytes(spec: FilterSpec, shape: Shape) -> int:
    """Return the least bytes a filtered image of ``shape`` can take."""
    return 12 + -(-math.prod(shape) // 64) if spec.arrangement == "rice" else max_payload_bytes(spec, shape)


def filter_header(spec: FilterSpec, shape: Shape) -> bytes:
    """Return the 128 bytes in front of a filtered image: magic and version, then JSON, spaces and a newline."""
    description = {
        "predictor": spec.predictor,
        "colour": spec.colour,
        "arrangement": spec.arrangement,
        "shape": list(shape),
    }
    text = json.dumps(description, separators=(",", ":")).encode("ascii")
    room = FILTER_HEADER_BYTES - len(_MAGIC) - 1
    if len(text) > room:
        raise OptionError(
            f"filter: shape {list(shape)} found, expected one whose header fits {FILTER_HEADER_BYTES} bytes; "
            "use smaller images"
        )
    return _MAGIC + text.ljust(room) + b"\n"


def parse_filter_header(data: bytes) -> tuple[FilterSpec, Shape]:
    """Return the filter and the shape that a member declares in its first 128 bytes.

    Raises:
        ShardCorruptError: If the bytes are not such a header.
        OptionError: If the header is sound and names a filter that this version does not know.
    """
    head = bytes(data[:FILTER_HEADER_BYTES])
    if len(head) < FILTER_HEADER_BYTES or head[: len(_MAGIC) - 1] != _MAGIC[:-1] or head[-1:] != b"\n":
        raise ShardCorruptError(
            f"filter header: {head[:8]!r} found, expected {_MAGIC!r} and {FILTER_HEADER_BYTES} bytes"
        )
    try:
        parts = json.loads(head[len(_MAGIC) :])
        channels, height, width = parts.pop("shape")
        sizes = (channels, height, width)
        if not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError(f"shape {list(sizes)}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ShardCorruptError(
            f"filter header: {head[8:40]!r}... found, expected JSON with a shape ({error})"
        ) from error
    return FilterSpec.from_json({"name": FILTER_NAME, "version": head[len(_MAGIC) - 1], **parts}), sizes
