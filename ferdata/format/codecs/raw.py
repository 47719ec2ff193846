"""``raw``: a body is the tensor itself, in a plain tar, so that reading it is a copy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ferdata.format.codecs.codec import BodyDecoder, Codec
from ferdata.format.container import PLAIN_TAR, Container
from ferdata.sample import TensorSpec

__all__ = ["Raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Codec):
    """The codec without settings."""

    name: ClassVar[str] = "raw"
    container: ClassVar[Container] = PLAIN_TAR
    is_copy: ClassVar[bool] = True

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what copies a body that is not mapped; mapped ones are copied many at a time, by the reader."""

        def decode(stored: memoryview, row: np.ndarray) -> None:
            row[:] = np.frombuffer(stored, np.uint8)

        return decode
