"""A seeded bank of textures that every picture shares: sensor noise, skin, hair strands and background scenes.

In: nothing. Out: read-only float32 fields, made once a process in about 0.25 s and cropped at random afterwards.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["FIELD_SIDE", "Bank", "crop", "load_bank"]

FIELD_SIDE = 512
_MARGIN = 256
_NUM_SCENES = 10
_SEED = 20210327


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Texture fields that wrap around every 512 pixels, stored with a margin of 256 so that most windows are views.

    Attributes:
        noise: float32 ``[3, 768, 768]``, unit variance, correlated over pixels and colours as a demosaicked sensor's.
        skin: float32 ``[768, 768]`` around 1, pores and blotches.
        strands: float32 ``[768, 768]`` around 1, hair that falls from column 256 of row 60.
        curls: float32 ``[768, 768]`` around 1, curly hair.
        cloth: float32 ``[768, 768]`` around 1, a weave.
        scenes: float32 ``[10, 768, 768]``, blurred rooms and greenery in [-1, 1].
    """

    noise: np.ndarray
    skin: np.ndarray
    strands: np.ndarray
    curls: np.ndarray
    cloth: np.ndarray
    scenes: np.ndarray


@cache
def load_bank() -> Bank:
    """Return the process's bank; the same in every process."""
    rng = np.random.default_rng(_SEED)
    skin = 0.7 * _band(rng, 0.03, 0.12) + 0.6 * _band(rng, 0.15, 0.35) + 0.9 * _band(rng, 0.004, 0.03)
    fields = {
        "noise": _sensor_noise(rng),
        "skin": 1.0 + 0.016 * _unit(skin),
        "strands": 1.0 + 0.24 * _strands(rng),
        "curls": 1.0 + 0.2 * _unit(np.sin(2.2 * _band(rng, 0.02, 0.05)) + 0.5 * _band(rng, 0.06, 0.25)),
        "cloth": 1.0
        + 0.06 * _unit(_band(rng, 0.02, 0.3) + 0.5 * np.sin(np.arange(FIELD_SIDE) * 2 * np.pi / 8)[:, None]),
        "scenes": np.stack([_scene(rng, kind) for kind in range(_NUM_SCENES)]),
    }
    return Bank(**{name: _with_margin(field) for name, field in fields.items()})


def crop(field: np.ndarray, height: int, width: int, row: int, column: int) -> np.ndarray:
    """Return a window of a field's last two axes, wrapping around; ``row`` and ``column`` are below ``FIELD_SIDE``."""
    if row + height <= field.shape[-2] and column + width <= field.shape[-1]:
        return field[..., row : row + height, column : column + width]
    rows = np.arange(row, row + height) % FIELD_SIDE
    columns = np.arange(column, column + width) % FIELD_SIDE
    return field[..., rows[:, None], columns[None, :]]


def _with_margin(field: np.ndarray) -> np.ndarray:
    around = [(0, 0)] * (field.ndim - 2) + [(0, _MARGIN)] * 2
    padded: np.ndarray = np.pad(field, around, mode="wrap")
    padded.flags.writeable = False
    return padded


def _unit(field: np.ndarray) -> np.ndarray:
    field = field - field.mean()
    return np.asarray(field / field.std(), np.float32)


def _filtered(rng: np.random.Generator, gain: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft2(rng.standard_normal((FIELD_SIDE, FIELD_SIDE), np.float32))
    return np.asarray(np.fft.irfft2(spectrum * gain, (FIELD_SIDE, FIELD_SIDE)))


def _frequency() -> np.ndarray:
    """Cycles a pixel at every place of a real spectrum, never zero."""
    rows, columns = np.fft.fftfreq(FIELD_SIDE)[:, None], np.fft.rfftfreq(FIELD_SIDE)[None, :]
    return np.asarray(np.maximum(np.hypot(rows, columns), 1.0 / FIELD_SIDE))


def _band(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Noise between two frequencies (cycles a pixel), falling off smoothly, with equal power an octave."""
    frequency = _frequency()
    gain = np.exp(-((frequency / high) ** 2)) * (1.0 - np.exp(-((frequency / low) ** 2))) / frequency
    return _unit(_filtered(rng, gain))


def _sensor_noise(rng: np.random.Generator) -> np.ndarray:
    """White noise on a Bayer mosaic, interpolated to full colour as a camera does it."""
    white = rng.standard_normal((FIELD_SIDE, FIELD_SIDE), np.float32)
    rows, columns = np.indices((FIELD_SIDE, FIELD_SIDE)) % 2
    sites = (rows + columns == 0, rows != columns, rows + columns == 2)
    planes = []
    for site in sites:
        value, weight = np.where(site, white, 0.0), site.astype(np.float32)
        value, weight = _tent(value), _tent(weight)
        planes.append(value / weight)
    # Cameras sharpen the luma and smear the chroma after that.
    luma = sum(planes) / 3.0
    sharp = luma + 0.8 * (luma - _tent(luma))
    return np.stack([_unit(sharp + 0.9 * _tent(plane - luma)) for plane in planes])


def _tent(field: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        field = 0.5 * field + 0.25 * (np.roll(field, 1, axis) + np.roll(field, -1, axis))
    return field


def _strands(rng: np.random.Generator) -> np.ndarray:
    """Noise that changes fast around a crown and slowly away from it."""
    rows, columns = np.indices((FIELD_SIDE, FIELD_SIDE))
    angle = np.arctan2(columns - 256.0, rows - 60.0)
    radius = np.hypot(columns - 256.0, rows - 60.0)
    wave = angle + 0.05 * np.sin(radius / 23.0)
    noise = _band(rng, 0.02, 0.45)
    u = (wave / np.pi * 0.5 + 0.5) * (FIELD_SIDE * 2.4)
    fine = noise[(u.astype(int)) % FIELD_SIDE, (radius * 0.10).astype(int) % FIELD_SIDE]
    broad = noise[(u * 0.23).astype(int) % FIELD_SIDE, (radius * 0.05 + 200).astype(int) % FIELD_SIDE]
    return _unit(_tent(fine) + 0.8 * _tent(broad))


def _scene(rng: np.random.Generator, kind: int) -> np.ndarray:
    """Something out of focus: walls and shelves for even kinds, leaves and lights for odd ones."""
    image = Image.new("L", (FIELD_SIDE, FIELD_SIDE), int(rng.integers(90, 160)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(20, 90)):
        x, y = rng.uniform(0, FIELD_SIDE, 2)
        width, height = rng.uniform(15, 190, 2) if kind % 2 == 0 else np.repeat(rng.uniform(8, 80), 2)
        shape, grey = (draw.rectangle, draw.ellipse)[kind % 2], int(rng.integers(15, 240))
        for left in (x - FIELD_SIDE, x):
            for top in (y - FIELD_SIDE, y):
                shape((left, top, left + width, top + height), fill=grey)
    focus = rng.uniform(0.02, 0.10)
    spectrum = np.fft.rfft2(np.asarray(image, np.float32)) * np.exp(-((_frequency() / focus) ** 2))
    cloud = _unit(_filtered(rng, _frequency() ** rng.uniform(-1.7, -1.2)))
    field = np.fft.irfft2(spectrum, (FIELD_SIDE, FIELD_SIDE)) / 127.5 - 1.0 + 0.16 * cloud
    return np.clip(field, -1.2, 1.2).astype(np.float32)
