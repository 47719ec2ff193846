"""``raw``: a body is the tensor itself, in a plain tar, so that reading it is a copy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ferdata.format.codecs.codec import BodyDecoder, Codec
from ferdata.format.container import PLAIN_TAR, BodyJob, Container
from ferdata.format.kernels.moves import STREAMING_BYTES
from ferdata.format.kernels.native import load
from ferdata.sample import TensorSpec

__all__ = ["Raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Codec):
    """The codec without settings."""

    name: ClassVar[str] = "raw"
    container: ClassVar[Container] = PLAIN_TAR
    is_copy: ClassVar[bool] = True
    verify_once: ClassVar[bool] = True

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what copies bodies."""
        return _Copier()


class _Copier(BodyDecoder):
    def one(self, stored: memoryview, row: np.ndarray) -> None:
        row[:] = np.frombuffer(stored, np.uint8)

    def many(self, job: BodyJob) -> int:
        kernels = load()
        assert kernels is not None
        done: int = kernels.copy(*job.arguments(), job.chosen(), int(job.out.shape[1] >= STREAMING_BYTES))
        return done
