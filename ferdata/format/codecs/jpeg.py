"""``jpeg``: a body is the image file itself, decoded straight into a row of the batch, to the pixels Pillow gives.

In: a JPEG file's bytes. Out: uint8 ``[3, H, W]``, planar, in memory that is there already. Costs libjpeg-turbo's
decoding and about a twentieth more for the planes; a decoder keeps one image of scratch.
"""

import functools
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codecs.codec import BodyDecoder, BodyEncoder, Codec, image_shape
from ferdata.format.container import PLAIN_TAR, BodyJob, Container
from ferdata.format.kernels import deinterleave_into
from ferdata.format.kernels.native import address, load
from ferdata.sample import TensorSpec

__all__ = ["Jpeg", "JpegDecoder"]

_COLOURS = ("YCbCr", "RGB", "Gray")
"""What simplejpeg may turn to RGB; it would turn CMYK too, in a way of its own."""

_VECTOR_BYTES = 32

FastDecode = Callable[[Any, np.ndarray, bool], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg(Codec):
    """The codec without settings."""

    name: ClassVar[str] = "jpeg"
    container: ClassVar[Container] = PLAIN_TAR
    suffix: ClassVar[str] = ".jpg"
    needs_source: ClassVar[bool] = True

    def tensor_header(self, spec: TensorSpec) -> bytes:
        """Return nothing: the member is the file."""
        if len(spec.shape) != 3 or spec.shape[0] != 3:
            raise OptionError(
                f"codec jpeg: shape {list(spec.shape)} found, expected [3, H, W]; use codec zstd for other tensors"
            )
        return b""

    def body_bytes(self, spec: TensorSpec) -> None:
        """Return None: files are of any size."""

    def encoder(self, spec: TensorSpec) -> BodyEncoder:
        """Return what keeps a file once decoding it has given the pixels: nothing can be compared later."""

        def encode(pixels: np.ndarray, source: bytes | None) -> bytes:
            problem = "pixels without their image file" if source is None else _problem(source, pixels)
            if source is None or problem:
                raise OptionError(f"jpeg: {problem}, expected a JPEG whose own pixels these are; use codec zstd")
            return source

        return encode

    def decoder(self, spec: TensorSpec) -> BodyDecoder:
        """Return what decodes files."""
        return JpegDecoder(image_shape(spec))


class JpegDecoder(BodyDecoder):
    """Decodes images of one shape, with scratch memory of its own.

    Args:
        shape: ``(3, H, W)`` of every image.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._pixels = _cached_pixels((*shape[1:], 3))
        self._fast = find_fast_decoder()

    def one(self, stored: Any, row: np.ndarray) -> None:
        """Fill ``row``, contiguous uint8 of ``3 * H * W`` elements in any shape, from a JPEG file's bytes.

        Raises:
            OptionError: If ``row`` is other memory.
            ShardCorruptError: If the bytes are no whole JPEG, or its size differs, or it is neither RGB nor grey.
        """
        if row.dtype != np.uint8 or row.size != self._pixels.size or not row.flags.c_contiguous:
            raise OptionError(
                f"jpeg: {row.dtype} {list(row.shape)} found, "
                f"expected contiguous uint8 memory for pixels {list(self.shape)}"
            )
        is_done = self._fast is not None and self._fast(stored, self._pixels, False)
        deinterleave_into(self._pixels if is_done else _pillow_decode(stored, self.shape), row.reshape(self.shape))

    def many(self, job: BodyJob) -> int:
        """Fill rows image by image, as simplejpeg decodes them, with nothing else per image but what gives planes."""
        kernels, decode, pixels, row_bytes = load(), self._fast, self._pixels, self._pixels.size
        bodies, out = job.bodies, job.out
        if kernels is None or decode is None or out.shape[1] != row_bytes or not out.flags.c_contiguous:
            return 0
        plain: int = kernels.plain_jpegs(bodies.at, address(job.positions), len(job.positions), *self.shape[1:])
        positions = job.positions[:plain]
        if bodies.checksums is not None:
            positions = positions[: bodies.num_sound(positions)]
        file, out_at, pixels_at, num_pixels = (
            memoryview(bodies.file.data),
            address(out),
            address(pixels),
            row_bytes // 3,
        )
        starts, stops, rows = bodies.starts[positions], bodies.stops[positions], job.rows[: len(positions)]
        each = zip(starts.tolist(), stops.tolist(), rows.tolist(), strict=True)
        for done, (start, stop, row) in enumerate(each):
            if not decode(file[start:stop], pixels, True):
                return done
            kernels.planes(pixels_at, 3, num_pixels, out_at + row * row_bytes, 1)
        return len(positions)


def _cached_pixels(shape: tuple[int, int, int]) -> np.ndarray:
    """Return uint8 memory that begins off the boundaries of vectors.

    Rows on them are written past the cache by libjpeg-turbo, so splitting them into planes fetches them from memory
    again: a sixth of the time at 224 px.
    """
    num_bytes = math.prod(shape)
    memory = np.empty(num_bytes + _VECTOR_BYTES, np.uint8)
    start = (4 - address(memory)) % _VECTOR_BYTES
    return memory[start : start + num_bytes].reshape(shape)


def _problem(source: bytes, pixels: np.ndarray) -> str:
    """Return why ``source`` cannot stand for uint8 ``[3, H, W]`` pixels; empty where decoding it gives exactly them."""
    try:
        decoded = np.empty(pixels.shape, np.uint8)
        JpegDecoder(pixels.shape).one(source, decoded)
    except ShardCorruptError as error:
        return str(error)
    return "" if np.array_equal(decoded, pixels) else "the transform changed its pixels"


def _pillow_decode(source: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """Return uint8 ``[H, W, 3]``; slower than the fast way, and the judge of what it refuses."""
    try:
        with Image.open(io.BytesIO(source), formats=("JPEG",)) as image:
            found = f"{image.mode} {image.height} x {image.width}"
            if image.mode not in ("RGB", "L") or (image.height, image.width) != shape[1:]:
                raise ShardCorruptError(f"a JPEG of {found} pixels found, expected RGB or L {shape[1]} x {shape[2]}")
            return np.ascontiguousarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        detail = "no JPEG begins here" if isinstance(error, UnidentifiedImageError) else error
        raise ShardCorruptError(f"{len(source):,} bytes are not a whole JPEG ({detail})") from error


@functools.cache
def find_fast_decoder() -> FastDecode | None:
    """Return a decoder that fills uint8 ``[H, W, 3]`` and says whether it could; None where there is no good one.

    Its third argument says that the file is known to be of this size and not CMYK.
    simplejpeg may be missing; and Pillow may be linked to a libjpeg that gives other pixels than the one in simplejpeg.
    """
    try:
        from simplejpeg import decode_jpeg, decode_jpeg_header
    except (ImportError, ValueError):  # ValueError where it was built for another NumPy
        return None

    def decode(source: Any, out: np.ndarray, is_plain: bool) -> bool:
        try:
            if not is_plain:
                height, width, colours, _ = decode_jpeg_header(source)
                if (height, width) != out.shape[:2] or colours not in _COLOURS:
                    return False
            return bool(decode_jpeg(source, colorspace="RGB", buffer=out).shape == out.shape)
        except ValueError:
            return False

    shape = (3, 45, 61)
    rows, columns = np.indices(shape[1:])
    sample = np.stack([rows * columns, 5 * rows, 7 * columns + rows], axis=2).astype(np.uint8)
    out = np.empty((*shape[1:], 3), np.uint8)
    for subsampling in (0, 1, 2):
        file = io.BytesIO()
        Image.fromarray(sample).save(file, "JPEG", quality=80, subsampling=subsampling, progressive=subsampling == 1)
        if not decode(file.getvalue(), out, False) or not np.array_equal(out, _pillow_decode(file.getvalue(), shape)):
            return None
    return decode
