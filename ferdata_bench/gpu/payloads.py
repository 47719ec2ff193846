"""Payloads of ``compact`` for decoders on other devices: sound, damaged and forged, and what the kernels say.

In: shapes and seeds. Out: images, their payloads, and the verdicts of the C kernels. The tests use them too.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs.compact import PixelCoder

__all__ = ["Shape", "by_the_kernels", "damaged", "encoded", "joined", "pictures"]

Shape = tuple[int, int, int]


def encoded(pixels: np.ndarray) -> bytes:
    """Return the payload of uint8 ``[C, H, W]``."""
    return PixelCoder(pixels.shape).encode(pixels).tobytes()


def by_the_kernels(payload: bytes, shape: Shape) -> np.ndarray | None:
    """Return the pixels as the decoder of the format has them, or None where it refuses."""
    pixels = np.empty(shape, np.uint8)
    try:
        PixelCoder(shape).decode_into(payload, pixels)
    except ShardCorruptError:
        return None
    return pixels


def joined(payloads: Sequence[bytes], before: bytes = b"", behind: bytes = b"") -> tuple[torch.Tensor, torch.Tensor]:
    """Return one buffer and its offsets; what is before the first payload and behind the last belongs to none."""
    buffer = before + b"".join(payloads) + behind
    sizes = [len(before), *map(len, payloads)]
    return torch.from_numpy(np.frombuffer(buffer, np.uint8).copy()), torch.from_numpy(np.cumsum(sizes))


def pictures(shape: Shape) -> np.ndarray:
    """Return uint8 ``[N, C, H, W]``: flat, ramps, edges, a photograph's smoothness, and noise of every strength."""
    rng = np.random.default_rng(shape)
    place = np.arange(np.prod(shape)).reshape(shape)
    channel, y, x = np.indices(shape)
    smooth = 128 + 70 * np.sin(x / 9 + channel) * np.cos(y / 7)
    kinds = [0 * place, 0 * place + 255, place // 3 + 2 * x, place % 2 * 255, (place // 5 % 7 == 0) * 200, smooth]
    kinds += [rng.integers(0, amplitude, shape) for amplitude in (2, 3, 9, 30, 100, 256)]
    kinds += [smooth + rng.normal(0, deviation, shape) for deviation in (1, 4, 16)]
    kinds += [smooth + 200 * (rng.random(shape) < share) for share in (0.01, 0.3)]
    return np.stack([kind.astype(np.int64) % 256 for kind in kinds]).astype(np.uint8)


def damaged(shape: Shape, count: int, seed: int) -> Iterator[bytes]:
    """Yield payloads with flipped bits, cut and lengthened ones, forged nibbles and lengths, and noise."""
    rng = np.random.default_rng(seed)
    sound = [np.frombuffer(encoded(pixels), np.uint8) for pixels in pictures(shape)]
    words = -(-int(np.prod(shape)) // 64)
    for number in range(count):
        payload = sound[rng.integers(len(sound))].copy()
        kind = number % 6
        if kind == 0:
            payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        elif kind == 1:
            payload[rng.integers(12 + words)] ^= 1 << rng.integers(8)
        elif kind == 2:
            payload = payload[: rng.integers(len(payload))]
        elif kind == 3:
            payload = np.concatenate([payload, rng.integers(0, 256, rng.integers(1, 70), np.uint8)])
        elif kind == 4:
            lengths = payload[:12].view("<u4")
            lengths[rng.integers(3)] = rng.choice([0, 1, 8, 64 * words, 64 * words + 1, (1 << 31) - 1, (1 << 32) - 1])
        else:
            payload = _forged(rng, words)
        yield payload.tobytes()


def _forged(rng: np.random.Generator, words: int) -> np.ndarray:
    """Return a payload of random bits whose sections and lengths agree, as no writer makes it; sometimes one is off."""
    nibbles = rng.integers(0, 9, 2 * words)
    has_quotients = (nibbles > 0) & (nibbles < 8)
    first = rng.integers(0, 256, 4 * np.count_nonzero(has_quotients), np.uint8)
    low = rng.integers(0, 256, 4 * int((nibbles - has_quotients).sum()), np.uint8)
    lengths, steps, count = [], [], int(np.unpackbits(first).sum())
    for planes in (1, 1, 2):
        step = rng.integers(0, 256, -(-count // 8), np.uint8)
        lengths.append(count)
        steps += [step] * planes
        count = int(np.unpackbits(step, bitorder="little")[:count].sum())
    if rng.random() < 0.2:
        lengths[rng.integers(3)] ^= 1
    header = np.array(lengths, "<u4").view(np.uint8)
    return np.concatenate([header, (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8), first, low, *steps])
