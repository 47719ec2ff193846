"""The row or the file of one image in FER2013's layouts: 48 x 48 grey pixels.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from ferdata.sources.class_folders.detector import FOLDER_LAYOUTS
from ferdata.sources.fer2013.detector import FER_CSV
from ferdata.sources.files.pixel_rows import SIDE
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import crop_camera
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.files import Drawing, PlannedImage, image_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["FER2013_TREES", "FER_HEADER", "USAGES", "fer_row", "grey_face"]

FER_HEADER = "emotion,pixels,Usage"
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
_CSV, _ICML = "fer2013.csv", "icml_face_data.csv"
_FER_FOLDERS = FOLDER_LAYOUTS["fer2013"]
_FOLDER_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def grey_face(portrait: Portrait) -> Image.Image:
    """Return a face as FER2013 has it: grey, 48 x 48."""
    return render(portrait, crop_camera(portrait, SIDE)).image.convert("L")


def fer_row(portrait: Portrait, label: int, split: str) -> str:
    """Return a face's row of ``fer2013.csv``."""
    return f"{label},{_pixels(portrait)},{USAGES[split]}"


def _pixels(portrait: Portrait) -> str:
    return " ".join(map(str, np.asarray(grey_face(portrait)).ravel().tolist()))


def _draw_csv(portrait: Portrait, image: PlannedImage) -> Drawing:
    return Drawing(images=(), rows=((_CSV, fer_row(portrait, image.label, image.split)),))


def _draw_icml(portrait: Portrait, image: PlannedImage) -> Drawing:
    return Drawing(images=(), rows=((_ICML, f"{image.label},{USAGES[image.split]},{_pixels(portrait)}"),))


def _draw_challenge(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a row of ``train.csv``, or one of ``test.csv`` without its label."""
    if image.split == "train":
        return Drawing(images=(), rows=(("train.csv", f'{image.label},"{_pixels(portrait)}"'),))
    return Drawing(images=(), rows=(("test.csv", f'"{_pixels(portrait)}"'),))


def _draw_folders(portrait: Portrait, image: PlannedImage) -> Drawing:
    prefix = "Training" if image.split == "train" else ("PublicTest", "PrivateTest")[image.number % 2]
    path = f"{image.split}/{_FOLDER_NAMES[image.label]}/{prefix}_{image.number}.jpg"
    return Drawing(images=((path, image_bytes(grey_face(portrait))),))


_FER_CSV = Recipe(layout=FER_CSV, draw=_draw_csv, folders=(), headers={_CSV: FER_HEADER}, is_fixed=True)
FER2013_TREES: Mapping[str, Recipe] = {
    FER_CSV.name: _FER_CSV,
    "FER-icml": replace(_FER_CSV, draw=_draw_icml, headers={_ICML: "emotion, Usage, pixels"}),
    "FER-challenge": replace(
        _FER_CSV, draw=_draw_challenge, headers={"train.csv": "emotion,pixels", "test.csv": "pixels"}
    ),
    _FER_FOLDERS.name: Recipe(layout=_FER_FOLDERS, draw=_draw_folders, folders=(), first_number=1),
}
"""FER-icml and FER-challenge are FER-csv too: other names and columns, and a ``test.csv`` without labels."""
