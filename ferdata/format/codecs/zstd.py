"""``zstd``: a body is the tensor in a zstd frame, which is inflated straight into a row of the batch."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ferdata.format.codecs.codec import BodyDecoder, Codec
from ferdata.format.container import BodyJob, Container, frame_tar
from ferdata.format.container.zstd_frame import Decompressor, check_level
from ferdata.sample import TensorSpec

__all__ = ["Zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zstd(Codec):
    """The codec at a zstd level, -20 to 19; the default is the codec study's choice (docs/codecs.md)."""

    name: ClassVar[str] = "zstd"
    level: int = -10

    def __post_init__(self) -> None:
        check_level(self.level)

    @property
    def container(self) -> Container:
        """A tar of frames at this level."""
        return frame_tar(self.level)

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what inflates frames."""
        return _Inflater()


class _Inflater(BodyDecoder):
    def __init__(self) -> None:
        self._decompressor = Decompressor()

    def one(self, stored: memoryview, row: np.ndarray) -> None:
        self._decompressor.into(stored, row)

    def many(self, job: BodyJob) -> int:
        return self._decompressor.into_rows(job)
