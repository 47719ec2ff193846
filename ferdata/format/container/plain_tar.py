"""A plain tar whose last member is a table of its bodies: any tar program reads it, and a raw body needs a copy alone.

In: heads and bodies. Out: a file in which they stand as they are. The table has the size of every body, and checksums
of bodies and heads.
"""

import struct
from typing import Any

import numpy as np
import xxhash

from ferdata.errors import ShardCorruptError
from ferdata.format.container.container import Container, OpenShard, Put
from ferdata.format.container.members import SampleMembers
from ferdata.format.container.shard_file import ShardFile
from ferdata.format.container.tar import END_OF_TAR, TAR_BLOCK_BYTES, HeaderTemplate, pad_to_block

__all__ = ["PLAIN_TAR", "body_table", "checksum"]

TABLE_NAME = "__table__"
"""webdataset skips members of the form ``__*__``."""
TABLE_VERSION = 1
_TABLE_MAGIC = b"FERTABLE"
_TABLE_HEADER = struct.Struct("<8sII")


class _PlainWriter:
    """Writes heads and bodies as they are, then the table member."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._entries: list[tuple[int, int, int]] = []

    def add(self, padding: bytes, head: bytes, body: memoryview) -> None:
        """Append a sample."""
        self._put(padding + head)
        self._put(body)
        self._entries.append((len(body), checksum(body), checksum(head)))

    def close(self, padding: bytes) -> bytes:
        """Write the table and the end of the tar."""
        tail = _table_member(body_table(np.array(self._entries, np.uint32).reshape(-1, 3)))
        self._put(padding + tail)
        return tail


class _PlainShard(OpenShard):
    """An open shard whose bodies stand in the file as they are."""

    def __init__(self, file: ShardFile, members: SampleMembers, samples: int, tail_xxh64: str) -> None:
        super().__init__(file, members)
        content, tail_bytes = _body_table_bytes(samples), _tail_bytes(samples)
        tail = file.read(max(0, file.num_bytes - tail_bytes), min(file.num_bytes, tail_bytes))
        content_bytes = tail[TAR_BLOCK_BYTES : TAR_BLOCK_BYTES + content]
        table = _parse_body_table(content_bytes, num_samples=samples, where=file.where)
        self._check_tail(tail, tail_xxh64)
        if tail != _table_member(content_bytes):
            raise ShardCorruptError(
                f"{file.where}: the last member of the tar is not its table; copy or write the shard again"
            )
        self.body_bytes = table[:, 0].copy()
        sample_bytes = members.sample_bytes(self.body_bytes)
        if int(sample_bytes.sum()) + tail_bytes != file.num_bytes:
            raise ShardCorruptError(
                f"{file.where}: its bodies add up to another size than the file's {file.num_bytes:,} bytes; "
                "write the shard again"
            )
        self.starts = np.cumsum(sample_bytes) - sample_bytes + members.head_bytes
        self.stops = self.starts + self.body_bytes
        self._checksums, self._head_checksums = table[:, 1:].astype(np.uint32).T.copy()
        self.checksums = self._checksums

    def head(self, position: int) -> bytes:
        """Return the head of a sample."""
        num_bytes = self._members.head_bytes
        head = self._file.read(int(self.starts[position]) - num_bytes, num_bytes)
        if checksum(head) != self._head_checksums[position]:
            raise self.mismatch(f"the head of sample {position}")
        return head

    def bodies(self, first: int, count: int) -> list[memoryview]:
        """Return the bodies of neighbouring samples, whose checksums fit."""
        bodies = super().bodies(first, count)
        for position, body in enumerate(bodies, first):
            if checksum(body) != self._checksums[position]:
                raise self.mismatch(f"sample {position}")
        return bodies


def checksum(data: Any) -> int:
    """Return the low 32 bits of XXH64 (seed 0), as zstd's own content checksum takes them."""
    return xxhash.xxh64_intdigest(data) & 0xFFFFFFFF


def _table_member(content: bytes) -> bytes:
    """Return all that stands behind the last sample."""
    return HeaderTemplate("").fill(TABLE_NAME, len(content)) + content + bytes(pad_to_block(len(content))) + END_OF_TAR


def body_table(entries: np.ndarray) -> bytes:
    """Return the table member's content.

    Args:
        entries: uint32 ``[n, 3]`` of (body bytes, body checksum, head checksum); a checksum is the low half of XXH64.
    """
    content = (
        _TABLE_HEADER.pack(_TABLE_MAGIC, TABLE_VERSION, len(entries)) + np.ascontiguousarray(entries, "<u4").tobytes()
    )
    return content + struct.pack("<Q", xxhash.xxh64_intdigest(content))


def _tail_bytes(samples: int) -> int:
    """Return the bytes behind the last sample."""
    content = _body_table_bytes(samples)
    return TAR_BLOCK_BYTES + content + pad_to_block(content) + len(END_OF_TAR)


def _body_table_bytes(num_samples: int) -> int:
    """Return the size of the table member's content."""
    return _TABLE_HEADER.size + 12 * num_samples + 8


def _parse_body_table(data: bytes, *, num_samples: int, where: str) -> np.ndarray:
    """Return int64 ``[n, 3]`` of (body bytes, body checksum, head checksum).

    Raises:
        ShardCorruptError: If the table is damaged or is for another number of samples.
    """
    sound = len(data) == _body_table_bytes(num_samples) and xxhash.xxh64_intdigest(data[:-8]) == int.from_bytes(
        data[-8:], "little"
    )
    if not sound or _TABLE_HEADER.unpack_from(data) != (_TABLE_MAGIC, TABLE_VERSION, num_samples):
        raise ShardCorruptError(
            f"{where}: the table of bodies at its end is damaged, expected {num_samples:,} samples; "
            "write the shard again"
        )
    return np.frombuffer(data, "<u4", 3 * num_samples, _TABLE_HEADER.size).reshape(-1, 3).astype(np.int64)


PLAIN_TAR = Container(ending=".tar", writer=_PlainWriter, open=_PlainShard, end_bytes=_tail_bytes)
"""The container of uncompressed shards."""
