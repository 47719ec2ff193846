"""Small pictures that are formulas, their files, and what Pillow makes of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, features

from ferdata.images.transform import (
    Transform,
    TransformOptions,
)
from ferdata.sample import SourceItem

WEBP = ["WEBP"] if features.check("webp") else []
"""So that the tests pass with a Pillow that cannot write it, too."""

WIDTH = 40


HEIGHT = 30


ORIENTATION_TAG = 0x0112


def gradient(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """An RGB picture whose every pixel differs from its neighbours and whose corners all differ."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 6 % 256, y * 8 % 256, (x * 3 + y * 5) % 256], axis=2).astype(np.uint8))


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def item(**fields: object) -> SourceItem:
    return SourceItem(**({"key": "a", "path": "a.jpg", "split": "train", "label": 0, "source_label": "0"} | fields))


def apply(data: bytes, *, size: int = 24, crop: str = "box", channels: int = 3, **fields: object):
    return Transform(TransformOptions(size=size, crop=crop, channels=channels)).apply(data, item(**fields))


def expected(image: Image.Image, size: int = 24) -> np.ndarray:
    """What plain Pillow gives."""
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def sixteen_bit_rgb_png(values: np.ndarray) -> bytes:
    """Pillow writes none, so the chunks are made here."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
