"""``raw``: a body is the tensor itself, in a plain tar, so that reading it is a copy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ferdata.format.codecs.codec import BodyDecoder, Codec
from ferdata.format.container import PLAIN_TAR, Container
from ferdata.format.kernels import scatter
from ferdata.sample import TensorSpec

__all__ = ["Raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Codec):
    """The codec without settings."""

    name: ClassVar[str] = "raw"
    container: ClassVar[Container] = PLAIN_TAR
    is_copy: ClassVar[bool] = True

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what copies bodies."""
        return _Copier()


class _Copier(BodyDecoder):
    def one(self, stored: memoryview, row: np.ndarray) -> None:
        row[:] = np.frombuffer(stored, np.uint8)

    def many(self, file: np.ndarray, starts: np.ndarray, stops: np.ndarray, out: np.ndarray, rows: np.ndarray) -> int:
        row_bytes = out.shape[1]
        stretches = np.ndarray((len(file) - row_bytes + 1, row_bytes), np.uint8, file, strides=(1, 1))
        scatter(stretches, out, rows, picks=starts)
        return len(starts)
