"""Codecs: how the body of a sample (its pixels) is stored. The only file that imports a zstd binding.

In: uint8 pixels. Out: stored bytes, and back, straight into a row of a batch. Costs are in docs/codecs.md.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xxhash
import zstandard

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.filters import DEFAULT_FILTER, SLACK_BYTES, FilterCoder, FilterSpec, filter_header
from ferdata.format.jpeg import JpegDecoder, jpeg_problem
from ferdata.format.layout import CHECKSUM_BYTES, npy_header
from ferdata.sample import TensorSpec

__all__ = [
    "CODECS",
    "BodyDecoder",
    "BodyEncoder",
    "CodecOptions",
    "Compressor",
    "Decompressor",
    "check_frame_end",
    "checksum32",
    "codec_names",
    "default_level",
]

DEFAULT_LEVELS = {"zstd": -10, "compact": -1}
"""zstd levels chosen by the codec study (docs/codecs.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecOptions:
    """Which codec, and its settings.

    Attributes:
        name: ``raw``, ``zstd``, ``compact`` or ``jpeg``.
        level: zstd level, -20 to 19; None where the codec has none. Lower is faster and larger.
        filter: JSON-ready description of the pixel filter of ``compact``; None elsewhere.
    """

    name: str
    level: int | None = None
    filter: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.name not in CODECS:
            raise OptionError(f"codec: {self.name!r} found, expected one of {', '.join(codec_names())}")
        if CODECS[self.name].compressed != (self.level is not None):
            raise OptionError(
                f"codec {self.name}: level {self.level} found, expected {'a zstd level' if CODECS[self.name].compressed else 'none'}"
            )
        if self.level is not None and not -20 <= self.level <= 19:
            raise OptionError(f"level: {self.level} found, expected -20 to 19")
        if (self.filter is None) != (CODECS[self.name].default_filter() is None):
            raise OptionError(f"codec {self.name}: filter {self.filter} found, expected {'one' if self.filter is None else 'none'}")

    @classmethod
    def create(cls, name: str, level: int | None = None) -> "CodecOptions":
        """Return the options of a codec, with its default level and filter where none is given."""
        if name not in CODECS:
            raise OptionError(f"codec: {name!r} found, expected one of {', '.join(codec_names())}")
        return cls(name=name, level=default_level(name) if level is None else level, filter=CODECS[name].default_filter())

    @property
    def kind(self) -> "Codec":
        """The codec these options are for."""
        return CODECS[self.name]


class BodyEncoder(Protocol):
    """Turns one tensor into the bytes of its body, before zstd."""

    def __call__(self, pixels: np.ndarray, source: bytes | None) -> Any:
        """Return a bytes-like body for uint8 ``[C, H, W]`` pixels; ``source`` is the image file they come from."""


class BodyDecoder(Protocol):
    """Turns the stored bytes of one body into pixels."""

    def __call__(self, stored: memoryview, row: np.ndarray) -> None:
        """Fill ``row``, uint8 ``[C * H * W]`` contiguous, from the stored bytes.

        Raises:
            ShardCorruptError: If the stored bytes cannot be decoded; without the file's name, which the reader adds.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One way to store bodies.

    Attributes:
        suffix: Name ending of the tensor member.
        compressed: Whether the tar is cut into zstd frames; else it is a plain ``.tar`` with a table of bodies.
        fixed_size: Whether every body of a data set has the same size before zstd.
        body_bytes: Body size for a tensor spec, where it is fixed.
        tensor_header: The bytes in front of the body.
        encoder: Makes the encoder.
        decoder: Makes a decoder with scratch memory of its own; not to be shared between threads.
        needs_source: Whether bodies are the image files' own bytes, so that they cannot be made from pixels.
        default_filter: The filter description new data sets get.
    """

    suffix: str
    compressed: bool
    fixed_size: bool
    body_bytes: Callable[[TensorSpec, dict[str, Any] | None], int]
    tensor_header: Callable[[TensorSpec, dict[str, Any] | None], bytes]
    encoder: Callable[[TensorSpec, CodecOptions], BodyEncoder]
    decoder: Callable[[TensorSpec, CodecOptions], BodyDecoder]
    needs_source: bool = False
    default_filter: Callable[[], dict[str, Any] | None] = lambda: None


def codec_names() -> list[str]:
    """Return the names of all codecs."""
    return list(CODECS)


def default_level(name: str) -> int | None:
    """Return the zstd level a codec uses when none is asked for; None where it uses no zstd."""
    return DEFAULT_LEVELS.get(name)


def checksum32(data: Any) -> int:
    """Return the low 32 bits of XXH64 (seed 0), as zstd's own content checksum takes them."""
    return xxhash.xxh64_intdigest(data) & 0xFFFFFFFF


class Compressor:
    """Makes independent zstd frames with the content checksum and the content size switched on."""

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)

    def frame(self, data: Any) -> bytes:
        """Return one zstd frame that holds ``data``."""
        return self._compressor.compress(data)


_WORD = struct.Struct("<I")

_UNUSED_BIT = 1 << 4
"""Of the frame header descriptor: zstd's own decoder does not look at it, and nobody sets it."""

_SMALLEST_WINDOW = 1 << 10


class Decompressor:
    """Decodes one zstd frame at a time into memory that is there already.

    Reading through ``readinto`` with room for the whole frame makes libzstd decode in one pass into that memory;
    a fresh output buffer per frame cost up to half of the speed in page faults. One pass is also what checks the
    checksum: libzstd's other way, block by block, may stop when the memory is full and the checksum not yet read, and it
    can be entered by one flipped bit in a block's header. It is shut out by the smallest window libzstd knows; frames
    that fit that window are decoded apart and copied.
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_SMALLEST_WINDOW)

    def into(self, stored: Any, out: Any) -> None:
        """Fill ``out`` from one frame that holds exactly ``len(out)`` bytes; :func:`check_frame_end` says whether it is all there is.

        Raises:
            ShardCorruptError: If the frame is damaged or holds another number of bytes.
        """
        try:
            parameters = zstandard.get_frame_parameters(stored)
            if parameters.content_size != len(out) or not parameters.has_checksum or stored[4] & _UNUSED_BIT:
                raise ShardCorruptError(f"a zstd frame of {parameters.content_size:,} bytes found, expected {len(out):,} with a checksum")
            if len(out) <= _SMALLEST_WINDOW:
                memoryview(out)[:] = self._decompressor.decompress(stored)
            elif self._decompressor.stream_reader(stored).readinto(out) != len(out):
                raise ShardCorruptError(f"a zstd frame ends early, expected {len(out):,} bytes")
        except zstandard.ZstdError as error:
            raise ShardCorruptError(f"a zstd frame is damaged ({error})") from error


def check_frame_end(stored: Any) -> None:
    """Check that a frame which was decoded without an error is the whole of ``stored``: libzstd does not say what it left unread.

    A block's header has 3 bytes and is read here with the byte before it. From bit 8: whether it is the last block, 2 bits of type, of
    which 1 is a repeated byte, and 21 bits of size. Costs a third of a microsecond and a fifth for every further block of 128 KiB.
    """
    end = zstandard.frame_header_size(stored)
    word = 0
    while not word & 0x100:
        (word,) = _WORD.unpack_from(stored, end - 1)
        end += 4 if word & 0x600 == 0x200 else 3 + (word >> 11)
    end += CHECKSUM_BYTES
    if end != len(stored):
        raise ShardCorruptError(f"a zstd frame of {len(stored):,} bytes ends after {end:,}, expected nothing behind it")


def _pixels_encoder(spec: TensorSpec, options: CodecOptions) -> BodyEncoder:
    def encode(pixels: np.ndarray, source: bytes | None) -> np.ndarray:
        return np.ascontiguousarray(pixels)

    return encode


def _raw_decoder(spec: TensorSpec, options: CodecOptions) -> BodyDecoder:
    def decode(stored: memoryview, row: np.ndarray) -> None:
        row[:] = np.frombuffer(stored, np.uint8)

    return decode


def _zstd_decoder(spec: TensorSpec, options: CodecOptions) -> BodyDecoder:
    into = Decompressor().into

    def decode(stored: memoryview, row: np.ndarray) -> None:
        into(stored, row)

    return decode


def _filter_encoder(spec: TensorSpec, options: CodecOptions) -> BodyEncoder:
    coder = FilterCoder(FilterSpec.from_json(options.filter or {}), _image_shape(spec))

    def encode(pixels: np.ndarray, source: bytes | None) -> np.ndarray:
        return coder.encode(pixels)

    return encode


def _filter_decoder(spec: TensorSpec, options: CodecOptions) -> BodyDecoder:
    """Inflate a payload into scratch that stays in the processor's cache, and unfilter it from there into the row."""
    coder = FilterCoder(FilterSpec.from_json(options.filter or {}), _image_shape(spec))
    into = Decompressor().into
    scratch = np.zeros(coder.max_bytes + SLACK_BYTES, np.uint8)

    def decode(stored: memoryview, row: np.ndarray) -> None:
        num_bytes = _inflated_bytes(stored)
        if not 0 <= num_bytes <= coder.max_bytes:
            raise ShardCorruptError(f"a zstd frame of {num_bytes:,} bytes found, expected at most {coder.max_bytes:,}")
        payload = scratch[:num_bytes]
        into(stored, payload)
        coder.decode_into(payload, row, slack_bytes=SLACK_BYTES)

    return decode


def _inflated_bytes(stored: Any) -> int:
    try:
        return int(zstandard.frame_content_size(stored))
    except zstandard.ZstdError as error:
        raise ShardCorruptError(f"a zstd frame is damaged ({error})") from error


def _source_encoder(spec: TensorSpec, options: CodecOptions) -> BodyEncoder:
    """Keep the image file itself, after proof that decoding it gives the pixels: what is stored cannot be checked against them later."""

    def encode(pixels: np.ndarray, source: bytes | None) -> bytes:
        problem = "pixels without their image file" if source is None else jpeg_problem(source, pixels)
        if source is None or problem:
            raise OptionError(f"jpeg: {problem}, expected a JPEG whose own pixels these are; use codec zstd")
        return source

    return encode


def _source_decoder(spec: TensorSpec, options: CodecOptions) -> BodyDecoder:
    decoder = JpegDecoder(_image_shape(spec))

    def decode(stored: memoryview, row: np.ndarray) -> None:
        decoder.decode_into(stored, row)

    return decode


def _no_header(spec: TensorSpec, filter: dict[str, Any] | None) -> bytes:
    if len(spec.shape) != 3 or spec.shape[0] != 3:
        raise OptionError(f"codec jpeg: shape {list(spec.shape)} found, expected [3, H, W]; use codec zstd for other tensors")
    return b""


def _image_shape(spec: TensorSpec) -> tuple[int, int, int]:
    if len(spec.shape) != 3:
        raise OptionError(f"codec: shape {list(spec.shape)} found, expected [C, H, W]; use codec zstd for other tensors")
    channels, height, width = spec.shape
    return channels, height, width


def _spec_bytes(spec: TensorSpec, filter: dict[str, Any] | None) -> int:
    return spec.num_bytes


CODECS: dict[str, Codec] = {
    "raw": Codec(
        suffix=".npy",
        compressed=False,
        fixed_size=True,
        body_bytes=_spec_bytes,
        tensor_header=lambda spec, filter: npy_header(spec),
        encoder=_pixels_encoder,
        decoder=_raw_decoder,
    ),
    "zstd": Codec(
        suffix=".npy",
        compressed=True,
        fixed_size=True,
        body_bytes=_spec_bytes,
        tensor_header=lambda spec, filter: npy_header(spec),
        encoder=_pixels_encoder,
        decoder=_zstd_decoder,
    ),
    "compact": Codec(
        suffix=".fpx",
        compressed=True,
        fixed_size=False,
        body_bytes=_spec_bytes,
        tensor_header=lambda spec, filter: filter_header(FilterSpec.from_json(filter or {}), _image_shape(spec)),
        encoder=_filter_encoder,
        decoder=_filter_decoder,
        default_filter=DEFAULT_FILTER.to_json,
    ),
    "jpeg": Codec(
        suffix=".jpg",
        compressed=False,
        fixed_size=False,
        body_bytes=_spec_bytes,
        tensor_header=_no_header,
        encoder=_source_encoder,
        decoder=_source_decoder,
        needs_source=True,
    ),
}
