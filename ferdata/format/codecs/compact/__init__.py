"""The ``compact`` codec and its pixel coder: uint8 pixels to a payload of some 0.4 of their size, and back.

Exact bit for bit; undone by compiled kernels at some 5 GB/s a core, or by NumPy. FORMAT.md has the bytes.
"""

from ferdata.format.codecs.compact.codec import Compact
from ferdata.format.codecs.compact.coder import SLACK_BYTES, PixelCoder, kernel_notice, min_payload_bytes
from ferdata.format.codecs.compact.member import decode_member

__all__ = ["SLACK_BYTES", "Compact", "PixelCoder", "decode_member", "kernel_notice", "min_payload_bytes"]
