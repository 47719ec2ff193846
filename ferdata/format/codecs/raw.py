"""``raw``: a body is the tensor itself, in a plain tar, so that reading it is a copy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ferdata.errors import OptionError
from ferdata.format.codecs.codec import BodyDecoder, BodyEncoder, Codec
from ferdata.format.container import PlainTar
from ferdata.sample import TensorSpec

__all__ = ["Raw", "encode_pixels", "npy_header"]

NPY_HEADER_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Codec):
    """The codec without settings."""

    name: ClassVar[str] = "raw"
    suffix: ClassVar[str] = ".npy"
    is_copy: ClassVar[bool] = True

    @property
    def container(self) -> PlainTar:
        """A tar that holds the tensors as they are."""
        return PlainTar()

    def tensor_header(self, spec: TensorSpec) -> bytes:
        """Return NPY's own header."""
        return npy_header(spec)

    def encoder(self, spec: TensorSpec) -> BodyEncoder:
        """Return what hands pixels on."""
        return encode_pixels

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what copies a body that is not mapped; mapped ones are copied many at a time, by the reader."""

        def decode(stored: memoryview, row: np.ndarray) -> None:
            row[:] = np.frombuffer(stored, np.uint8)

        return decode


def npy_header(spec: TensorSpec) -> bytes:
    """Return the 128 bytes of an NPY 1.0 header for ``spec``, the same for every NumPy version."""
    if spec.dtype != "uint8":
        raise OptionError(f"tensor spec: dtype {spec.dtype} found, expected uint8; convert the tensors first")
    room = NPY_HEADER_BYTES - 11
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {tuple(spec.shape)}, }}"
    if spec.num_bytes <= 0 or min(spec.shape, default=1) <= 0 or len(text) > room:
        raise OptionError(f"tensor spec: shape {list(spec.shape)} found, expected a few positive sizes, such as [3, 224, 224]")
    return b"\x93NUMPY\x01\x00" + (NPY_HEADER_BYTES - 10).to_bytes(2, "little") + text.ljust(room).encode("ascii") + b"\n"


def encode_pixels(pixels: np.ndarray, source: bytes | None) -> np.ndarray:
    """Return pixels as the body of an ``.npy`` member."""
    return np.ascontiguousarray(pixels)
