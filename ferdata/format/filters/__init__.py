"""The pixel filter of the ``compact`` codec: uint8 pixels to a payload of about 0.38 of their size, and back bit for bit.

Undone by compiled kernels at some 3 GB/s a core where they are built, by NumPy elsewhere. FORMAT.md has the bytes.
"""

from ferdata.format.filters.coder import SLACK_BYTES, FilterCoder, decode_into, decode_many_into, encode, kernel_notice
from ferdata.format.filters.moves import channel_moments, deinterleave_into, scatter, split_rgbx_into
from ferdata.format.filters.spec import (
    ARRANGEMENTS,
    COLOURS,
    DEFAULT_FILTER,
    FILTER_HEADER_BYTES,
    PREDICTORS,
    FilterSpec,
    filter_header,
    max_payload_bytes,
    min_payload_bytes,
    parse_filter_header,
)

__all__ = [
    "ARRANGEMENTS",
    "COLOURS",
    "DEFAULT_FILTER",
    "FILTER_HEADER_BYTES",
    "PREDICTORS",
    "SLACK_BYTES",
    "FilterCoder",
    "FilterSpec",
    "channel_moments",
    "decode_into",
    "decode_many_into",
    "deinterleave_into",
    "encode",
    "filter_header",
    "kernel_notice",
    "max_payload_bytes",
    "min_payload_bytes",
    "parse_filter_header",
    "scatter",
    "split_rgbx_into",
]
