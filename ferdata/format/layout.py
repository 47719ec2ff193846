"""Names, constants and arithmetic of a shard: where every byte of a sample stands before anything is compressed.

In: a tensor spec, the number of classes, the bytes set aside for json. Out: tar headers and offsets. Nothing here reads or writes.
FORMAT.md beside this file is the specification; this is its arithmetic.
"""

import json
import math
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.sample import TensorSpec

__all__ = [
    "CHECKSUM_BYTES",
    "END_OF_TAR",
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "KEY_PATTERN",
    "MAX_JSON_BYTES",
    "MAX_KEY_BYTES",
    "MAX_SAMPLES",
    "MAX_TENSOR_BYTES",
    "TABLE_NAME",
    "TAR_BLOCK_BYTES",
    "SampleLayout",
    "pad_to_block",
    "shard_name",
]

FORMAT_VERSION = 2
TAR_BLOCK_BYTES = 512
HEADER_BYTES = 128
"""Bytes of the tensor header in front of the pixels: NPY's own header, or the filter header of ``compact``."""
MAX_KEY_BYTES = 80
MAX_TENSOR_BYTES = 1 << 28
"""Of one tensor: an index that claims more is refused before any memory is asked for."""
MAX_JSON_BYTES = 1 << 24
MAX_SAMPLES = (1 << 31) - 1
"""Of a whole data set; positions are int32."""
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,80}")
TABLE_NAME = "__table__"
"""Last member of an uncompressed shard; webdataset skips names of the form ``__*__``."""
END_OF_TAR = bytes(2 * TAR_BLOCK_BYTES)
CHECKSUM_BYTES = 4
"""Of a zstd frame, its last ones."""

_CHECKSUM_FIELD = slice(148, 156)


def pad_to_block(num_bytes: int) -> int:
    """Return the zero bytes that fill ``num_bytes`` up to tar's 512-byte block."""
    return -num_bytes % TAR_BLOCK_BYTES


def shard_name(split: str, number: int, *, compressed: bool) -> str:
    """Return the file name of shard ``number`` of a split."""
    return f"{split}-{number:06d}.tar" + (".zst" if compressed else "")


def npy_header(spec: TensorSpec) -> bytes:
    """Return the 128 bytes of an NPY 1.0 header for ``spec``, the same for every NumPy version."""
    if spec.dtype != "uint8":
        raise OptionError(f"tensor spec: dtype {spec.dtype} found, expected uint8; convert the tensors first")
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {tuple(spec.shape)}, }}"
    if spec.num_bytes <= 0 or min(spec.shape, default=1) <= 0 or len(text) > HEADER_BYTES - 11:
        raise OptionError(f"tensor spec: shape {list(spec.shape)} found, expected a few positive sizes, such as [3, 224, 224]")
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text.ljust(HEADER_BYTES - 11).encode("ascii") + b"\n"


class HeaderTemplate:
    """A USTAR header of one kind of member; only the name and the size differ between samples."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix.encode("ascii")
        info = tarfile.TarInfo("")
        info.mode, info.mtime = 0o644, 0
        blank = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
        blank[_CHECKSUM_FIELD] = b" " * 8
        self._blank = bytes(blank)
        self._sum_of_blank = sum(blank[:124]) + sum(blank[135:])

    def fill(self, key: str, num_bytes: int) -> bytes:
        """Return the 512-byte header of member ``key + suffix``; the checksum is POSIX's sum of all bytes."""
        name = key.encode("ascii") + self._suffix
        size = b"%011o" % num_bytes
        # What the name covers is zero in the blank: only what was filled in is summed for each sample.
        checksum = b"%06o\0 " % (self._sum_of_blank + sum(name) + sum(size))
        return b"".join((name, self._blank[len(name) : 124], size, self._blank[135:148], checksum, self._blank[156:]))


@dataclass(frozen=True)
class SampleLayout:
    """Offsets inside one sample as it stands in the tar: ``.cls``, ``.json``, then the tensor member.

    The *head* is everything before the pixels; the *body* is the pixels themselves (or what a codec stores
    in their place), and nothing else, so that a body can be decoded straight into a batch.

    Attributes:
        spec: dtype and shape of every tensor.
        num_classes: Sets the width of the ASCII label.
        json_bytes: Fixed size of the json member, a multiple of 512.
        suffix: Name ending of the tensor member: ``.npy``, ``.fpx`` or ``.jpg``.
        tensor_header: The 128 bytes in front of the pixels; empty for ``.jpg``.
    """

    spec: TensorSpec
    num_classes: int
    json_bytes: int
    suffix: str
    tensor_header: bytes

    def __post_init__(self) -> None:
        if not 0 < self.json_bytes <= MAX_JSON_BYTES or self.json_bytes % TAR_BLOCK_BYTES:
            raise OptionError(
                f"json_bytes: {self.json_bytes} found, expected a positive multiple of {TAR_BLOCK_BYTES}, at most {MAX_JSON_BYTES:,}"
            )
        if self.spec.num_bytes > MAX_TENSOR_BYTES:
            raise OptionError(f"tensor spec: shape {list(self.spec.shape)} found, expected at most {MAX_TENSOR_BYTES:,} bytes")

    @cached_property
    def label_width(self) -> int:
        """Digits of the ASCII label."""
        return len(str(max(0, self.num_classes - 1)))

    @cached_property
    def head_bytes(self) -> int:
        """Bytes from the start of a sample to its body."""
        return 4 * TAR_BLOCK_BYTES + self.json_bytes + len(self.tensor_header)

    def member_bytes(self, body_bytes: int) -> int:
        """Size of the tensor member that holds a body of ``body_bytes``."""
        return len(self.tensor_header) + body_bytes

    def sample_bytes(self, body_bytes: int) -> int:
        """Bytes of a whole sample with its padding: the stride between samples where all bodies are of one size."""
        return self.head_bytes + body_bytes + pad_to_block(self.member_bytes(body_bytes))

    def head(self, key: str, label: int, record: Mapping[str, Any], body_bytes: int) -> bytes:
        """Return the head of a sample.

        Raises:
            OptionError: If the key cannot be a member name, the label is of no class, or the record does not fit ``json_bytes``.
        """
        if not KEY_PATTERN.fullmatch(key):
            raise OptionError(f"key {key!r}: expected 1 to {MAX_KEY_BYTES} letters, digits, '_' or '-'; rename the sample")
        if not 0 <= label < max(1, self.num_classes):
            raise OptionError(f"{key}: label {label} found, expected 0 to {self.num_classes - 1}; correct the class list")
        try:
            text = json.dumps(record, separators=(",", ":"), sort_keys=True, allow_nan=False).encode("ascii")
        except ValueError as error:
            raise OptionError(f"{key}: {error}, expected finite numbers in its json; use null for what is not known") from error
        if len(text) > self.json_bytes:
            raise OptionError(f"{key}: {len(text):,} bytes of json found, expected at most {self.json_bytes:,}; raise json_bytes")
        return self._join(key, label, text.ljust(self.json_bytes), body_bytes)

    def parse_head(self, head: bytes, body_bytes: int, where: str) -> tuple[str, int, dict[str, Any]]:
        """Return ``(key, label, record)`` of a head, or say what is wrong with it.

        Raises:
            ShardCorruptError: If any byte outside the json is not what :meth:`head` writes for these values.
        """
        try:
            key = head[: head.index(b"\0")].decode("ascii").removesuffix(".cls")
            label = int(head[TAR_BLOCK_BYTES : TAR_BLOCK_BYTES + self.label_width])
            start = 3 * TAR_BLOCK_BYTES
            text = head[start : start + self.json_bytes]
            record = json.loads(text)
            sound = isinstance(record, dict) and KEY_PATTERN.fullmatch(key) and 0 <= label < max(1, self.num_classes)
            same = sound and self._join(key, label, text, body_bytes) == head
        except (ValueError, RecursionError) as error:
            raise ShardCorruptError(f"{where}: a sample's head cannot be parsed ({error}); write the shard again") from error
        if not same:
            raise ShardCorruptError(
                f"{where}: the head of {key!r} is not what ferdata writes for its label and record; write the shard again"
            )
        return key, label, record

    def _join(self, key: str, label: int, padded_text: bytes, body_bytes: int) -> bytes:
        digits = b"%0*d" % (self.label_width, label)
        return b"".join(
            (
                _CLS.fill(key, len(digits)),
                digits.ljust(TAR_BLOCK_BYTES, b"\0"),
                _JSON.fill(key, self.json_bytes),
                padded_text,
                _template(self.suffix).fill(key, self.member_bytes(body_bytes)),
                self.tensor_header,
            )
        )


def json_bytes_for(longest_record: int) -> int:
    """Return the json member's fixed size for records of at most ``longest_record`` bytes."""
    return max(1, math.ceil(longest_record / TAR_BLOCK_BYTES)) * TAR_BLOCK_BYTES


_CLS = HeaderTemplate(".cls")
_JSON = HeaderTemplate(".json")
_TENSOR = {suffix: HeaderTemplate(suffix) for suffix in (".npy", ".fpx", ".jpg")}


def _template(suffix: str) -> HeaderTemplate:
    return _TENSOR[suffix]
