"""``zstd``: a body is the tensor in a zstd frame, which is inflated straight into a row of the batch."""

from dataclasses import dataclass
from typing import ClassVar

from ferdata.format.codecs.codec import BodyDecoder, BodyEncoder, Codec
from ferdata.format.codecs.raw import encode_pixels, npy_header
from ferdata.format.container import FrameTar
from ferdata.format.container.zstd_frame import Decompressor, check_level
from ferdata.sample import TensorSpec

__all__ = ["Zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zstd(Codec):
    """The codec at a zstd level, -20 to 19; the default is the codec study's choice (docs/codecs.md)."""

    name: ClassVar[str] = "zstd"
    suffix: ClassVar[str] = ".npy"
    level: int = -10

    def __post_init__(self) -> None:
        check_level(self.level)

    @property
    def container(self) -> FrameTar:
        """A tar of frames at this level."""
        return FrameTar(level=self.level)

    def tensor_header(self, spec: TensorSpec) -> bytes:
        """Return NPY's own header."""
        return npy_header(spec)

    def encoder(self, spec: TensorSpec) -> BodyEncoder:
        """Return what hands pixels on; the container makes frames of them."""
        return encode_pixels

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what inflates a frame."""
        return Decompressor().into
