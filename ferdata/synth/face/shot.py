"""What is behind a person and what a camera makes of it all: background, blur, colour cast and sensor noise.

In: float32 planes ``[H, W]``. Out: the same planes, or uint8 pixels. Costs about 0.6 ms at 224 px.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ferdata.synth.face.brush import soften
from ferdata.synth.face.geometry import Camera
from ferdata.synth.face.people import Portrait
from ferdata.synth.face.textures import FIELD_SIDE, Bank, crop

__all__ = ["develop", "paint_background"]


def paint_background(bank: Bank, camera: Camera, portrait: Portrait) -> list[np.ndarray]:
    """Return three float32 ``[H, W]`` planes: two blurred scenes in related colours, or a studio's plain wall."""
    dice = portrait.dice[8:24]
    near = _window(bank.scenes, camera, dice[0:3])
    far = _window(bank.scenes, camera, dice[3:6])
    level, depth = 55.0 + 130.0 * dice[6], 1.0
    kind = dice[15]
    if kind < 0.24:
        # Walls so dark or bright that a camera cannot tell them from black or white, or of one colour.
        level, depth = ((-6.0, 0.15), (262.0, 0.15), (level, 0.12))[int(kind / 0.08)]
    colour = level + (dice[7:10] - 0.5) * 34.0 * min(1.0, depth + 0.4)
    swing = (26.0 + 34.0 * dice[10] + (dice[11:14] - 0.5) * 20.0) * depth
    tint = (24.0 * (dice[14] - 0.5) + (dice[12:15] - 0.5) * 36.0) * depth
    planes = []
    for weights in (np.stack([swing, tint, colour]) * portrait.shot.gain).T.astype(np.float32):
        plane = near * weights[0]
        plane += far * weights[1]
        plane += weights[2]
        planes.append(plane)
    return planes


def _window(scenes: np.ndarray, camera: Camera, dice: np.ndarray) -> np.ndarray:
    number, row, column = (dice * (len(scenes), FIELD_SIDE, FIELD_SIDE)).astype(int).tolist()
    return crop(scenes[number], camera.height, camera.width, row, column)


def develop(planes: Sequence[np.ndarray], bank: Bank, portrait: Portrait) -> Image.Image:
    """Return what a lens and a sensor make of red, green and blue planes, an RGB picture. Overwrites the planes."""
    shot = portrait.shot
    height, width = planes[0].shape
    row, column = (portrait.dice[24:26] * FIELD_SIDE).astype(int).tolist()
    noise = crop(bank.noise, height, width, row, column)
    if shot.blur:
        for plane in planes:
            soften(plane, shot.blur)
    if shot.grey:
        grey = planes[0] * np.float32(0.3) + planes[1] * np.float32(0.6) + planes[2] * np.float32(0.1)
        planes, noise = [grey] * 3, noise[[1, 1, 1]]
    # Shot noise grows with the light; green stands for luma.
    strength = planes[1] * np.float32(0.0035 * shot.noise)
    strength += np.float32(0.55 * shot.noise)
    scratch = np.empty((height, width), np.float32)
    bands = []
    for plane, grain in zip(planes, noise, strict=True):
        np.multiply(grain, strength, out=scratch)
        scratch += plane
        np.clip(scratch, 0.0, 255.0, out=scratch)
        bands.append(Image.fromarray(scratch.astype(np.uint8)))
    return Image.merge("RGB", bands)
