"""Writes one shard, sample by sample, to an open file.

In: keys, labels, records and tensors. Out: bytes that depend on nothing else, hashed as they pass. Memory: one sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import xxhash

from ferdata.errors import OptionError
from ferdata.format.codec import CodecOptions, Compressor, checksum32
from ferdata.format.layout import CHECKSUM_BYTES, END_OF_TAR, TABLE_NAME, HeaderTemplate, SampleLayout, pad_to_block
from ferdata.format.tables import body_table, seek_table
from ferdata.sample import TensorSpec

__all__ = ["ShardWriter", "WrittenShard", "make_layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenShard:
    """What a finished shard amounts to; its tail is the table and the end of the tar, as FORMAT.md has it."""

    samples: int
    num_bytes: int
    xxh64: str
    tail_xxh64: str


def make_layout(spec: TensorSpec, codec: CodecOptions, *, num_classes: int, json_bytes: int) -> SampleLayout:
    """Return the layout of samples under a codec."""
    return SampleLayout(
        spec=spec,
        num_classes=num_classes,
        json_bytes=json_bytes,
        suffix=codec.kind.suffix,
        tensor_header=codec.kind.tensor_header(spec, codec.filter),
    )


class ShardWriter:
    """Writes samples to a file that is open for writing; the caller commits or drops the file.

    Compressed codecs give zstd frames ``head, body, padding + head, body, ..., padding + end of tar`` and a seek
    table; the others give a plain tar with a table of bodies as its last member.
    """

    def __init__(self, file: IO[bytes], layout: SampleLayout, codec: CodecOptions) -> None:
        self._file = file
        self._layout = layout
        self._encode = codec.kind.encoder(layout.spec, codec)
        self._compressor = Compressor(codec.level) if codec.level is not None else None
        self._hash = xxhash.xxh64()
        self._num_bytes = 0
        self._padding = b""
        self._last_frame = b""
        self._frames: list[tuple[int, int]] = []
        self._bodies: list[tuple[int, int, int]] = []

    @property
    def num_bytes(self) -> int:
        """Bytes written so far."""
        return self._num_bytes

    def add(self, key: str, label: int, record: Mapping[str, Any], pixels: np.ndarray, source: bytes | None = None) -> None:
        """Append one sample.

        Args:
            key: Member name without suffix, see ``KEY_PATTERN``.
            label: Class index.
            record: Everything else, JSON-ready.
            pixels: uint8 ``[C, H, W]`` of the layout's spec.
            source: The image file's own bytes, for the ``jpeg`` codec.
        """
        spec = self._layout.spec
        if pixels.shape != spec.shape or pixels.dtype != np.uint8:
            raise OptionError(f"{key}: tensor {pixels.dtype} {list(pixels.shape)} found, expected {spec.dtype} {list(spec.shape)}")
        body = memoryview(self._encode(pixels, source)).cast("B")
        head = self._layout.head(key, label, record, len(body))
        if self._compressor is not None:
            self._put_frame(self._padding + head)
            self._put_frame(body)
        else:
            self._put(self._padding + head)
            self._put(body)
            self._bodies.append((len(body), checksum32(body), checksum32(head)))
        self._padding = bytes(pad_to_block(self._layout.member_bytes(len(body))))

    def close(self) -> WrittenShard:
        """Write the end of the shard and its table; the file itself stays open."""
        if self._compressor is not None:
            samples = len(self._frames) // 2
            last_checksum = self._last_frame[-CHECKSUM_BYTES:]
            self._put_frame(self._padding + END_OF_TAR)
            table = seek_table(np.array(self._frames, np.uint32).reshape(-1, 2))
            self._put(table)
            tail = last_checksum + self._last_frame + table
        else:
            samples = len(self._bodies)
            table = body_table(np.array(self._bodies, np.uint32).reshape(-1, 3))
            tail = HeaderTemplate("").fill(TABLE_NAME, len(table)) + table + bytes(pad_to_block(len(table))) + END_OF_TAR
            self._put(self._padding + tail)
        return WrittenShard(
            samples=samples, num_bytes=self._num_bytes, xxh64=self._hash.hexdigest(), tail_xxh64=xxhash.xxh64_hexdigest(tail)
        )

    def _put_frame(self, data: Any) -> None:
        assert self._compressor is not None
        stored = self._compressor.frame(data)
        self._frames.append((len(stored), len(data)))
        self._last_frame = stored
        self._put(stored)

    def _put(self, data: Any) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)
