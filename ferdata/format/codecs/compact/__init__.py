"""The ``compact`` codec and its pixel filter: uint8 pixels to a payload of some 0.38 of their size, and back.

Exact bit for bit; undone by compiled kernels at some 3 GB/s a core, or by NumPy. FORMAT.md has the bytes.
"""

from ferdata.format.codecs.compact.codec import Compact
from ferdata.format.codecs.compact.coder import SLACK_BYTES, FilterCoder, kernel_notice
from ferdata.format.codecs.compact.filter_spec import ARRANGEMENTS, COLOURS, DEFAULT_FILTER, PREDICTORS, FilterSpec
from ferdata.format.codecs.compact.member import decode_member

__all__ = [
    "ARRANGEMENTS",
    "COLOURS",
    "DEFAULT_FILTER",
    "PREDICTORS",
    "SLACK_BYTES",
    "Compact",
    "FilterCoder",
    "FilterSpec",
    "decode_member",
    "kernel_notice",
]
