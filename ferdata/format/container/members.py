"""The members of a sample: where every one of its bytes stands in the tar.

In: a tensor spec, the number of classes, bytes set aside for json. Out: heads and offsets. Reads and writes nothing.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.container.tar import TAR_BLOCK_BYTES, HeaderTemplate, Sizes, pad_to_block
from ferdata.sample import TensorSpec

__all__ = ["KEY_PATTERN", "MAX_JSON_BYTES", "MAX_KEY_BYTES", "MAX_TENSOR_BYTES", "SampleMembers", "json_bytes_for"]

MAX_KEY_BYTES = 80
MAX_TENSOR_BYTES = 1 << 28
"""Of one tensor: an index that claims more is refused before any memory is asked for."""
MAX_JSON_BYTES = 1 << 24
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True)
class SampleMembers:
    """The members of one sample as they stand in the tar: ``.cls``, ``.json``, then the tensor member.

    The *head* is everything before the pixels; the *body* is the pixels themselves (or what a codec stores
    in their place), and nothing else, so that a body can be decoded straight into a batch.

    Attributes:
        spec: dtype and shape of every tensor.
        num_classes: Sets the width of the ASCII label.
        json_bytes: Fixed size of the json member, a multiple of 512.
        suffix: Name ending of the tensor member.
        tensor_header: The bytes in front of the body, the same in every sample.
    """

    spec: TensorSpec
    num_classes: int
    json_bytes: int
    suffix: str
    tensor_header: bytes

    def __post_init__(self) -> None:
        if not 0 < self.json_bytes <= MAX_JSON_BYTES or self.json_bytes % TAR_BLOCK_BYTES:
            raise OptionError(
                f"json_bytes: {self.json_bytes} found, "
                f"expected a positive multiple of {TAR_BLOCK_BYTES}, at most {MAX_JSON_BYTES:,}"
            )
        if self.spec.num_bytes > MAX_TENSOR_BYTES:
            raise OptionError(
                f"tensor spec: shape {list(self.spec.shape)} found, expected at most {MAX_TENSOR_BYTES:,} bytes"
            )

    @cached_property
    def label_width(self) -> int:
        """Digits of the ASCII label."""
        return len(str(max(0, self.num_classes - 1)))

    @cached_property
    def head_bytes(self) -> int:
        """Bytes from the start of a sample to its body."""
        return 4 * TAR_BLOCK_BYTES + self.json_bytes + len(self.tensor_header)

    @cached_property
    def _tensor(self) -> HeaderTemplate:
        return HeaderTemplate(self.suffix)

    def padding_bytes(self, body_bytes: Sizes) -> Sizes:
        """Return the zero bytes behind a body of ``body_bytes``, or behind every body of an array of sizes."""
        return pad_to_block(len(self.tensor_header) + body_bytes)

    def sample_bytes(self, body_bytes: Sizes) -> Sizes:
        """Return the bytes of a whole sample with its padding, or of every sample of an array of body sizes."""
        num_bytes: Sizes = self.head_bytes + body_bytes + self.padding_bytes(body_bytes)
        return num_bytes

    def head(self, key: str, label: int, record: Mapping[str, Any], body_bytes: int) -> bytes:
        """Return the head of a sample.

        Raises:
            OptionError: If the key is no member name, the label of no class, or the record larger than ``json_bytes``.
        """
        if not KEY_PATTERN.fullmatch(key):
            raise OptionError(
                f"key {key!r}: expected 1 to {MAX_KEY_BYTES} letters, digits, '_' or '-'; rename the sample"
            )
        if not 0 <= label < max(1, self.num_classes):
            raise OptionError(
                f"{key}: label {label} found, expected 0 to {self.num_classes - 1}; correct the class list"
            )
        try:
            text = json.dumps(record, separators=(",", ":"), sort_keys=True, allow_nan=False).encode("ascii")
        except ValueError as error:
            raise OptionError(
                f"{key}: {error}, expected finite numbers in its json; use null for what is not known"
            ) from error
        if len(text) > self.json_bytes:
            raise OptionError(
                f"{key}: {len(text):,} bytes of json found, expected at most {self.json_bytes:,}; raise json_bytes"
            )
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
            raise ShardCorruptError(
                f"{where}: a sample's head cannot be parsed ({error}); write the shard again"
            ) from error
        if not same:
            raise ShardCorruptError(
                f"{where}: the head of {key!r} is not what ferdata writes for its label and record; "
                "write the shard again"
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
                self._tensor.fill(key, len(self.tensor_header) + body_bytes),
                self.tensor_header,
            )
        )


def json_bytes_for(longest_record: int) -> int:
    """Return the json member's fixed size for records of at most ``longest_record`` bytes."""
    return max(1, math.ceil(longest_record / TAR_BLOCK_BYTES)) * TAR_BLOCK_BYTES


_CLS = HeaderTemplate(".cls")
_JSON = HeaderTemplate(".json")
