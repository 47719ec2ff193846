"""One picture from one seed: the layers of a portrait mixed, lit and put through a camera.

In: a class, a seed and a size. Out: uint8 pixels with 68 landmarks, valence and arousal. Costs about 2.5 ms at 224 px.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ferdata.errors import OptionError
from ferdata.synth.face.brush import paint_masks
from ferdata.synth.face.features import paint_features
from ferdata.synth.face.framing import crop_camera
from ferdata.synth.face.geometry import Camera, Mesh, build_mesh
from ferdata.synth.face.hair import CLOTH, HAIR, SKIN, neck_outline, outlines
from ferdata.synth.face.people import Portrait, sample_portrait
from ferdata.synth.face.shot import develop, paint_background
from ferdata.synth.face.skin import beard_cover, light_field
from ferdata.synth.face.textures import FIELD_SIDE, Bank, crop, load_bank

__all__ = ["LARGEST", "NO_FACE", "SMALLEST", "DrawnFace", "draw_face", "render"]

NO_FACE = 10
SMALLEST, LARGEST = 32, 1024
"""Bounds of a face's size in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFace:
    """A drawn picture and the truth about it.

    Attributes:
        image: The picture, in RGB.
        landmarks: float64 ``[68, 2]``, x and y in pixels of the picture.
        valence: In [-1, 1].
        arousal: In [-1, 1].
    """

    image: Image.Image
    landmarks: np.ndarray
    valence: float
    arousal: float

    @property
    def pixels(self) -> np.ndarray:
        """uint8 ``[H, W, 3]``, a copy."""
        return np.array(self.image)


def draw_face(label: int, seed: int, size: int) -> DrawnFace:
    """Draw one face, framed as AffectNet's crops are; a pure function of its arguments.

    Args:
        label: AffectNet id 0..7; 8 draws none of the eight expressions, 9 a mixture of two, 10 no face at all.
        seed: At least 0.
        size: Pixels across and down, at least 32.

    Raises:
        OptionError: If an argument is outside these bounds.
    """
    if not 0 <= label <= NO_FACE:
        raise OptionError(f"label: {label} found, expected an AffectNet id from 0 to {NO_FACE}")
    if seed < 0:
        raise OptionError(f"seed: {seed} found, expected 0 or more")
    if not SMALLEST <= size <= LARGEST:
        raise OptionError(f"size: {size} found, expected {SMALLEST} to {LARGEST} pixels")
    portrait = sample_portrait(label, seed)
    return render(portrait, crop_camera(portrait, size))


def render(portrait: Portrait, camera: Camera) -> DrawnFace:
    """Draw a portrait as a camera sees it."""
    bank = load_bank()
    mesh = build_mesh(portrait.person.proportions, portrait.expression.pulls, camera)
    planes = paint_background(bank, camera, portrait)
    if portrait.label != NO_FACE:
        _paint_person(planes, bank, mesh, portrait, camera)
    image = develop(planes, bank, portrait)
    return DrawnFace(
        image=image, landmarks=mesh.landmarks, valence=portrait.expression.valence, arousal=portrait.expression.arousal
    )


def _paint_person(planes: list[np.ndarray], bank: Bank, mesh: Mesh, portrait: Portrait, camera: Camera) -> None:
    """Lay skin, clothes and hair over the background planes, in place."""
    person = portrait.person
    masks = paint_masks(camera.height, camera.width, outlines(mesh, person, camera))
    field = light_field(mesh, person, portrait.light, portrait.expression, camera, neck_outline(camera))
    bare = 1.0 - masks[SKIN]
    bare -= masks[HAIR]
    bare -= masks[CLOTH]
    skin = masks[SKIN] * _texture(bank.skin, camera, portrait.dice[3:5])
    shadow = field - np.float32(1.0)
    shadow *= skin
    # Shadows on skin keep more red than blue: light that went through blood fills them.
    for plane, layer, depth in zip(planes, _bare_face(bank, mesh, portrait, camera), (0.92, 1.04, 1.08), strict=True):
        shade = shadow * np.float32(depth)
        shade += skin
        shade *= layer
        plane *= bare
        plane += shade
    # Hair and cloth take the light less sharply than skin.
    field = field * np.float32(0.58)
    field += np.float32(0.42)
    _cover(planes, masks[HAIR], field, _locks(bank, mesh, portrait, camera), (person.hair + 10.0) * portrait.shot.gain)
    _cover(
        planes, masks[CLOTH], field, _texture(bank.cloth, camera, portrait.dice[5:7]), person.cloth * portrait.shot.gain
    )


def _cover(
    planes: Sequence[np.ndarray], mask: np.ndarray, field: np.ndarray, texture: np.ndarray, colour: np.ndarray
) -> None:
    """Add a lit and textured layer where its mask is."""
    # Clothes seldom reach far into a picture, nor short hair far down: the other rows are left alone.
    touched = np.flatnonzero(mask.any(axis=1))
    if len(touched):
        rows = slice(int(touched[0]), int(touched[-1]) + 1)
        weight = mask[rows] * field[rows]
        weight *= texture[rows]
        for plane, value in zip(planes, colour.tolist(), strict=True):
            plane[rows] += weight * np.float32(value)


def _bare_face(bank: Bank, mesh: Mesh, portrait: Portrait, camera: Camera) -> list[np.ndarray]:
    """Return three float32 ``[H, W]`` planes of evenly lit skin with everything that is on a face."""
    person, gain = portrait.person, portrait.shot.gain
    skin = person.skin * gain
    planes = [np.full((camera.height, camera.width), colour, np.float32) for colour in skin.tolist()]
    cover = beard_cover(mesh, person, camera)
    if cover is not None:
        cover = cover * _texture(bank.curls, camera, portrait.dice[3:5])
        cover *= np.float32(0.8)
        np.minimum(cover, 1.0, out=cover)
        for plane, hair, colour in zip(planes, person.hair * gain, skin, strict=True):
            plane += cover * (np.float32(0.8 * hair + 0.08 * colour) - plane)
    paint_features(planes, mesh, portrait, camera)
    return planes


def _locks(bank: Bank, mesh: Mesh, portrait: Portrait, camera: Camera) -> np.ndarray:
    """Return float32 ``[H, W]`` around 1: bright and dark hair, falling from the crown."""
    crown = mesh.part("crown")[0]
    stride = max(1, round(75 / camera.unit))
    row, column = int(60 - crown[1] * stride) % FIELD_SIDE, int(256 - crown[0] * stride) % FIELD_SIDE
    field = bank.curls if portrait.person.style == "curly" else bank.strands
    return crop(field, camera.height * stride, camera.width * stride, row, column)[::stride, ::stride]


def _texture(field: np.ndarray, camera: Camera, dice: np.ndarray) -> np.ndarray:
    row, column = (dice * FIELD_SIDE).astype(int).tolist()
    return crop(field, camera.height, camera.width, row, column)
