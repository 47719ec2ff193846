"""``compact``: a body is the payload of a pixel filter in a zstd frame, to which little is left to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs.codec import BodyDecoder, BodyEncoder, Codec, image_shape, own_settings
from ferdata.format.codecs.compact.coder import SLACK_BYTES, FilterCoder
from ferdata.format.codecs.compact.filter_spec import DEFAULT_FILTER, FilterSpec, filter_header
from ferdata.format.container import Container, MappedBodies, frame_tar
from ferdata.format.container.zstd_frame import Decompressor, check_level, inflated_bytes
from ferdata.sample import TensorSpec

__all__ = ["Compact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact(Codec):
    """The codec at a zstd level, -20 to 19, and a pixel filter; defaults chosen by the codec study (docs/codecs.md)."""

    name: ClassVar[str] = "compact"
    suffix: ClassVar[str] = ".fpx"
    level: int = -1
    filter: FilterSpec = DEFAULT_FILTER

    def __post_init__(self) -> None:
        check_level(self.level)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the codec that an index describes; see :meth:`Codec.from_json`."""
        settings = own_settings(cls, record)
        return cls(level=settings["level"], filter=FilterSpec.from_json(settings["filter"]))

    @property
    def container(self) -> Container:
        """A tar of frames at this level."""
        return frame_tar(self.level)

    def tensor_header(self, spec: TensorSpec) -> bytes:
        """Return the header that declares filter and shape."""
        return filter_header(self.filter, image_shape(spec))

    def body_bytes(self, spec: TensorSpec) -> None:
        """Return None: how long a payload is depends on the image."""

    def encoder(self, spec: TensorSpec) -> BodyEncoder:
        """Return what filters pixels; the container makes frames of the payloads."""
        encode = FilterCoder(self.filter, image_shape(spec)).encode
        return lambda pixels, source: encode(pixels)

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what inflates a payload into scratch, which stays in the processor's cache, and fills the row."""
        return _Decoder(FilterCoder(self.filter, image_shape(spec)))


class _Decoder(BodyDecoder):
    def __init__(self, coder: FilterCoder) -> None:
        self._coder = coder
        self._decompressor = Decompressor()
        self._room = np.zeros(coder.max_bytes + SLACK_BYTES, np.uint8)

    def one(self, stored: memoryview, row: np.ndarray) -> None:
        self._coder.decode_into(self.payload(stored), row, slack_bytes=SLACK_BYTES)

    def payload(self, stored: memoryview) -> memoryview:
        num_bytes, most = inflated_bytes(stored), self._coder.max_bytes
        if not 0 <= num_bytes <= most:
            raise ShardCorruptError(f"a zstd frame of {num_bytes:,} bytes found, expected at most {most:,}")
        payload = self._room[:num_bytes]
        self._decompressor.into(stored, payload)
        return payload.data

    def many(self, bodies: MappedBodies, positions: np.ndarray, out: np.ndarray, rows: np.ndarray) -> int:
        payload = self._coder.payload_in(self._room, out)
        return 0 if payload is None else self._decompressor.into_rows(bodies, positions, out, rows, payload)
