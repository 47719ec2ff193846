"""Writes one shard, sample by sample, to an open file.

In: keys, labels, records and tensors. Out: bytes that depend on nothing else, hashed as they pass. Memory: one sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import xxhash

from ferdata.errors import OptionError
from ferdata.format.codecs import Codec
from ferdata.format.container import SampleMembers

__all__ = ["ShardWriter", "WrittenShard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenShard:
    """What a finished shard amounts to; its tail is the table and the end of the tar, as FORMAT.md has it."""

    samples: int
    num_bytes: int
    xxh64: str
    tail_xxh64: str


class ShardWriter:
    """Writes samples to a file that is open for writing; the caller commits or drops the file.

    Args:
        file: Where to.
        members: What all samples have in common, as ``codec.members`` gives it.
        codec: How pixels are stored.
    """

    def __init__(self, file: IO[bytes], members: SampleMembers, codec: Codec) -> None:
        self._file = file
        self._members = members
        self._encode = codec.encoder(members.spec)
        self._container = codec.container.writer(self._put)
        self._hash = xxhash.xxh64()
        self._num_bytes = 0
        self._samples = 0
        self._padding = b""

    @property
    def num_bytes(self) -> int:
        """Bytes written so far."""
        return self._num_bytes

    def add(
        self, key: str, label: int, record: Mapping[str, Any], pixels: np.ndarray, source: bytes | None = None
    ) -> None:
        """Append one sample.

        Args:
            key: Member name without suffix, see ``KEY_PATTERN``.
            label: Class index.
            record: Everything else, JSON-ready.
            pixels: uint8 ``[C, H, W]`` of the members' spec.
            source: The image file's own bytes, for the ``jpeg`` codec.
        """
        spec = self._members.spec
        if pixels.shape != spec.shape or pixels.dtype != np.uint8:
            raise OptionError(
                f"{key}: tensor {pixels.dtype} {list(pixels.shape)} found, expected {spec.dtype} {list(spec.shape)}"
            )
        body = memoryview(self._encode(pixels, source)).cast("B")
        self._container.add(self._padding, self._members.head(key, label, record, len(body)), body)
        self._padding = bytes(self._members.padding_bytes(len(body)))
        self._samples += 1

    def close(self) -> WrittenShard:
        """Write the end of the shard and its table; the file itself stays open."""
        tail = self._container.close(self._padding)
        return WrittenShard(
            samples=self._samples,
            num_bytes=self._num_bytes,
            xxh64=self._hash.hexdigest(),
            tail_xxh64=xxhash.xxh64_hexdigest(tail),
        )

    def _put(self, data: Any) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)
