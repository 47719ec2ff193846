"""``compact``: a body is the payload of a pixel coder, stored in a zstd frame as it is and decoded where it stands."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ferdata.format.codecs.codec import BodyDecoder, BodyEncoder, Codec, image_shape
from ferdata.format.codecs.compact.coder import PixelCoder
from ferdata.format.codecs.compact.member import member_header
from ferdata.format.container import BodyJob, Container, frame_tar
from ferdata.format.container.stored_frame import stored_frame, stored_payload
from ferdata.sample import TensorSpec

__all__ = ["Compact"]

_HEAD_LEVEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact(Codec):
    """The codec without settings."""

    name: ClassVar[str] = "compact"
    suffix: ClassVar[str] = ".fpx"
    container: ClassVar[Container] = frame_tar(_HEAD_LEVEL, body_frame=stored_frame)
    verify_once: ClassVar[bool] = True

    def tensor_header(self, spec: TensorSpec) -> bytes:
        """Return the header that declares the shape."""
        return member_header(image_shape(spec))

    def body_bytes(self, spec: TensorSpec) -> None:
        """Return None: how long a payload is depends on the image."""

    def encoder(self, spec: TensorSpec) -> BodyEncoder:
        """Return what makes payloads of pixels; the container makes frames of them."""
        encode = PixelCoder(image_shape(spec)).encode
        return lambda pixels, source: encode(pixels)

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what decodes payloads from the file into rows."""
        return _Decoder(PixelCoder(image_shape(spec)))


class _Decoder(BodyDecoder):
    def __init__(self, coder: PixelCoder) -> None:
        self._coder = coder

    def one(self, stored: memoryview, row: np.ndarray) -> None:
        self._coder.decode_into(self.payload(stored), row)

    def payload(self, stored: memoryview) -> memoryview:
        return stored_payload(stored, self._coder.max_bytes)

    def many(self, job: BodyJob) -> int:
        return self._coder.decode_job(job)

    def copy_many(self, job: BodyJob) -> int:
        return job.bodies.copy_payloads(job)
