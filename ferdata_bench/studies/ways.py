"""The ways of storing images that the codec study compares: each encodes photographs and decodes them into ring rows.

In: pixels and their JPEG files. Out: stored bytes and a function that decodes all of them, as one core's loader would.
"""

import itertools
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ferdata.format import scatter
from ferdata.format.codecs.compact import (
    ARRANGEMENTS,
    COLOURS,
    DEFAULT_FILTER,
    PREDICTORS,
    SLACK_BYTES,
    FilterCoder,
    FilterSpec,
)
from ferdata.format.codecs.jpeg import JpegDecoder
from ferdata.format.container.zstd_frame import Compressor, Decompressor

__all__ = ["LEVELS", "Photographs", "Ring", "Way", "all_ways", "prepare"]

LEVELS = (-7, -5, -4, -3, -2, -1, 1, 2, 3)
FAST_LEVELS = (-20, -10)
"""Levels for plain pixels alone, where speed is all that zstd has to offer."""
FRAME_BYTES = 4 << 20
"""The largest frames of the study; the smallest hold one image."""
Decode: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """Real images of one size.

    Attributes:
        jpegs: The files.
        pixels: uint8 ``[N, 3, H, W]``, what Pillow makes of them.
    """

    jpegs: Sequence[bytes]
    pixels: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(3, H, W)``."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Rows larger than any cache, as a loader's; image ``i`` of the study goes to row ``rows[i]``."""

    memory: np.ndarray
    rows: np.ndarray

    @classmethod
    def create(cls, images: Photographs, cold_bytes: int) -> "Ring":
        """Return touched memory for these images, of at least ``cold_bytes``."""
        count, row_bytes = len(images.pixels), images.pixels[0].size
        num_rows = max(count, cold_bytes // row_bytes)
        memory = np.frombuffer(mmap.mmap(-1, num_rows * row_bytes), np.uint8).reshape(num_rows, row_bytes)
        memory[:] = 1
        return cls(memory=memory, rows=np.random.default_rng(0).permutation(num_rows)[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to store images.

    Attributes:
        codec: ``raw``, ``zstd``, ``compact`` or ``jpeg``.
        level: zstd level, or None.
        filter: Pixel filter of ``compact``, or None.
        images_per_frame: Images in one zstd frame; 1 is decoded straight into its row.
    """

    codec: str
    level: int | None = None
    filter: FilterSpec | None = None
    images_per_frame: int = 1

    @property
    def name(self) -> str:
        """A short name for tables."""
        parts = [self.codec]
        if self.filter is not None:
            parts.append(f"{self.filter.predictor}/{self.filter.colour}/{self.filter.arrangement}")
        if self.level is not None:
            parts.append(f"level {self.level}")
        if self.images_per_frame > 1:
            parts.append(f"{self.images_per_frame} a frame")
        return " ".join(parts)


def all_ways(image_bytes: int, *, quick: bool) -> list[Way]:
    """Return every way the study compares; a tenth of them for a quick look."""
    levels = (-7, -1, 1) if quick else LEVELS
    predictors = ("row", "gradient") if quick else PREDICTORS
    colours = ("green",) if quick else COLOURS
    per_frame = sorted({count for share in (16, 4, 1) if (count := FRAME_BYTES // share // image_bytes) > 1})
    ways = [Way(codec="raw"), Way(codec="jpeg")]
    ways += [Way(codec="zstd", level=level) for level in (*(() if quick else FAST_LEVELS), *levels)]
    ways += [
        Way(
            codec="compact", level=level, filter=FilterSpec(predictor=predictor, colour=colour, arrangement=arrangement)
        )
        for predictor, colour, arrangement, level in itertools.product(predictors, colours, ARRANGEMENTS, levels)
    ]
    for count in per_frame:
        ways += [Way(codec="zstd", level=level, images_per_frame=count) for level in levels if level in (-7, -1, 3)]
        ways.append(Way(codec="compact", level=-1, filter=DEFAULT_FILTER, images_per_frame=count))
    return ways


def prepare(way: Way, images: Photographs, ring: Ring, cold_bytes: int) -> tuple[float, Decode]:
    """Store the images in one way, and again up to ``cold_bytes``, so that no processor cache holds them.

    Returns:
        Stored bytes per image, and a function that decodes all images into their rows; its argument, the number of
        the run, chooses which copy of the stored bytes it reads.
    """
    stored, decode_all = _PREPARE[way.codec](way, images, ring)
    total = sum(map(len, stored))
    copies = [stored]
    while len(copies) * total < cold_bytes:
        copies.append([bytes(bytearray(piece)) for piece in stored])

    def decode(run: int) -> None:
        decode_all(copies[run % len(copies)])

    return total / len(images.pixels), decode


def _prepare_raw(way: Way, images: Photographs, ring: Ring) -> tuple[list[bytes], Callable[[list[bytes]], None]]:
    def decode(stored: list[bytes]) -> None:
        scatter(np.frombuffer(stored[0], np.uint8).reshape(len(ring.rows), -1), ring.memory, ring.rows)

    return [images.pixels.tobytes()], decode


def _prepare_jpeg(way: Way, images: Photographs, ring: Ring) -> tuple[list[bytes], Callable[[list[bytes]], None]]:
    decoder = JpegDecoder(images.shape)

    def decode(stored: list[bytes]) -> None:
        for source, row in zip(stored, ring.rows.tolist(), strict=True):
            decoder.one(source, ring.memory[row])

    return list(images.jpegs), decode


def _prepare_zstd(way: Way, images: Photographs, ring: Ring) -> tuple[list[bytes], Callable[[list[bytes]], None]]:
    assert way.level is not None
    into, compress = Decompressor().into, Compressor(way.level).frame
    per_frame, row_bytes = way.images_per_frame, ring.memory.shape[1]
    groups = [images.pixels[start : start + per_frame] for start in range(0, len(images.pixels), per_frame)]
    scratch = np.empty((per_frame, row_bytes), np.uint8)

    def decode_single(stored: list[bytes]) -> None:
        for frame, row in zip(stored, ring.rows.tolist(), strict=True):
            into(frame, ring.memory[row])

    def decode_groups(stored: list[bytes]) -> None:
        start = 0
        for frame, group in zip(stored, groups, strict=True):
            into(frame, scratch[: len(group)].reshape(-1))
            scatter(scratch[: len(group)], ring.memory, ring.rows[start : start + len(group)])
            start += len(group)

    return [compress(group.tobytes()) for group in groups], decode_single if per_frame == 1 else decode_groups


def _prepare_compact(way: Way, images: Photographs, ring: Ring) -> tuple[list[bytes], Callable[[list[bytes]], None]]:
    assert way.level is not None and way.filter is not None
    into, compress = Decompressor().into, Compressor(way.level).frame
    coder, per_frame = FilterCoder(way.filter, images.shape), way.images_per_frame
    payloads = [coder.encode(pixels).tobytes() for pixels in images.pixels]
    groups = [payloads[start : start + per_frame] for start in range(0, len(payloads), per_frame)]
    sizes = [[len(payload) for payload in group] for group in groups]
    scratch = np.zeros(per_frame * coder.max_bytes + SLACK_BYTES, np.uint8)

    def decode(stored: list[bytes]) -> None:
        rows = iter(ring.rows.tolist())
        for frame, group in zip(stored, sizes, strict=True):
            into(frame, scratch[: sum(group)])
            start = 0
            for size in group:
                coder.decode_into(scratch[start : start + size], ring.memory[next(rows)], slack_bytes=SLACK_BYTES)
                start += size

    return [compress(b"".join(group)) for group in groups], decode


_PREPARE = {"raw": _prepare_raw, "jpeg": _prepare_jpeg, "zstd": _prepare_zstd, "compact": _prepare_compact}
