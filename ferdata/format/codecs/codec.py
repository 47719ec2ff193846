"""What a codec is: how a sample's body (its pixels) is stored, and all that the rest of the format must know of it.

In: uint8 pixels. Out: bytes, and back, straight into a row of a batch. Costs are in docs/codecs.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from ferdata.errors import OptionError
from ferdata.format.container import BodyJob, Container, SampleMembers
from ferdata.sample import TensorSpec

__all__ = ["BodyDecoder", "BodyEncoder", "Codec", "image_shape", "own_settings"]

_NPY_HEADER_BYTES = 128


class BodyEncoder(Protocol):
    """Turns one tensor into its body, which the container stores."""

    def __call__(self, pixels: np.ndarray, source: bytes | None, /) -> Any:
        """Return a bytes-like body for uint8 ``[C, H, W]`` pixels; ``source`` is the image file they come from."""


class BodyDecoder(ABC):
    """Turns bodies, as they stand in the file, into pixels. Not to be shared between threads."""

    @abstractmethod
    def one(self, stored: memoryview, row: np.ndarray) -> None:
        """Fill ``row``, uint8 ``[C * H * W]`` contiguous.

        Raises:
            ShardCorruptError: If the stored bytes cannot be decoded; without the file's name, which the reader adds.
        """

    def payload(self, stored: memoryview) -> memoryview:
        """Return a body without what is stored around it, whose checksum is verified; valid until the next call.

        Raises:
            ShardCorruptError: As :meth:`one`.
        """
        return stored

    def many(self, job: BodyJob) -> int:
        """Decode bodies of a mapped file, a whole job in one call, as far as that can be done.

        Returns:
            How many are done. Whether the next one is sound and can be decoded is for the container and :meth:`one`
            to say.
        """
        return 0

    def copy_many(self, job: BodyJob) -> int:
        """Copy payloads of a mapped file as they are; otherwise as :meth:`many`."""
        return 0

    def run(self, job: BodyJob, one: Callable[[int], None]) -> None:
        """Do all bodies of a job; those that are left by a call for many are for ``one``, which gets their number."""
        many = self.many if job.sizes is None else self.copy_many
        done = many(job)
        while done < len(job.positions):
            one(done)
            done += 1
            done += many(job.rest(done))


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(ABC):
    """One way to store bodies, with its settings; as it stands, it stores the tensor itself as an NPY member.

    Attributes:
        name: What an index and the command line call it.
        suffix: Name ending of the tensor member.
        is_copy: Whether a body in the file is the pixels and nothing else, so that reading is a copy.
        verify_once: Whether a checksum costs so much, beside decoding, that it need not be verified at every read.
        needs_source: Whether bodies are the image files' own bytes, so that they cannot be made from pixels.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ".npy"
    is_copy: ClassVar[bool] = False
    verify_once: ClassVar[bool] = False
    needs_source: ClassVar[bool] = False

    def __str__(self) -> str:
        level = self.to_json()["level"]
        return self.name if level is None else f"{self.name} at level {level}"

    @property
    @abstractmethod
    def container(self) -> Container:
        """What its shards are."""

    def tensor_header(self, spec: TensorSpec) -> bytes:
        """Return the bytes in front of every body.

        Raises:
            OptionError: If the codec cannot store such tensors.
        """
        return _npy_header(spec)

    def body_bytes(self, spec: TensorSpec) -> int | None:
        """Return the bytes of every body in the tar; None where they differ."""
        return spec.num_bytes

    def encoder(self, spec: TensorSpec) -> BodyEncoder:
        """Return what makes bodies; not to be shared between threads."""
        return lambda pixels, source: np.ascontiguousarray(pixels)

    @abstractmethod
    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what undoes bodies, with scratch memory of the size of an image."""

    def members(self, spec: TensorSpec, *, num_classes: int, json_bytes: int) -> SampleMembers:
        """Return the members of every sample of a data set."""
        return SampleMembers(
            spec=spec,
            num_classes=num_classes,
            json_bytes=json_bytes,
            suffix=self.suffix,
            tensor_header=self.tensor_header(spec),
        )

    def shard_name(self, split: str, number: int) -> str:
        """Return the file name of shard ``number`` of a split."""
        return f"{split}-{number:06d}{self.container.ending}"

    def to_json(self) -> dict[str, Any]:
        """Return name and settings as an index has them: None where the codec has no such setting."""
        return {"name": self.name, "level": None} | asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the codec of this kind that an index describes.

        Raises:
            OptionError: If a setting is missing, is not one of this codec's, or is outside what is allowed.
        """
        return cls(**own_settings(cls, record))


def own_settings(kind: type[Codec], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a kind of codec has, from a record of all that any has."""
    names = {field.name for field in fields(kind)}
    if (record["level"] is not None) != ("level" in names):
        raise OptionError(
            f"codec {kind.name}: level {record['level']} found, expected {'one' if 'level' in names else 'none'}"
        )
    return {name: record[name] for name in names}


def image_shape(spec: TensorSpec) -> tuple[int, int, int]:
    """Return ``(C, H, W)`` for the codecs that store images alone."""
    if len(spec.shape) != 3:
        raise OptionError(
            f"codec: shape {list(spec.shape)} found, expected [C, H, W]; use codec zstd for other tensors"
        )
    channels, height, width = spec.shape
    return channels, height, width


def _npy_header(spec: TensorSpec) -> bytes:
    """Return the 128 bytes of an NPY 1.0 header for ``spec``, the same for every NumPy version."""
    if spec.dtype != "uint8":
        raise OptionError(f"tensor spec: dtype {spec.dtype} found, expected uint8; convert the tensors first")
    room = _NPY_HEADER_BYTES - 11
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {tuple(spec.shape)}, }}"
    if spec.num_bytes <= 0 or min(spec.shape, default=1) <= 0 or len(text) > room:
        raise OptionError(
            f"tensor spec: shape {list(spec.shape)} found, expected a few positive sizes, such as [3, 224, 224]"
        )
    return (
        b"\x93NUMPY\x01\x00" + (_NPY_HEADER_BYTES - 10).to_bytes(2, "little") + text.ljust(room).encode("ascii") + b"\n"
    )
