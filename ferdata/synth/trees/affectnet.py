"""The files of one image in AffectNet's layouts: the cropped faces of 2021 and the photographs of 2017.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.affectnet_csv.detector import AN_CSV
from ferdata.sources.affectnet_npy.detector import AN_NPY
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import crop_camera, face_box, photo_camera
from ferdata.synth.face.people import Portrait, sample_portrait
from ferdata.synth.trees.files import Drawing, PlannedImage, image_bytes, npy_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["AFFECTNET_TREES"]

_CSV_HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
_PHOTO_FOLDER = "Manually_Annotated_Images"

_PHOTOS_A_FOLDER = 300
_EXTENSIONS = ("jpg",) * 26 + ("JPG", "JPG", "jpeg", "png")
_CSV_FILES = {"train": "training.csv", "val": "validation.csv"}
_HAPPY = AFFECTNET_ALL.index("Happy")
_WITHOUT_SCORES = (AFFECTNET_ALL.index("Uncertain"), AFFECTNET_ALL.index("No-Face"))


def _draw_an_npy(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a face crop with its four annotation files."""
    face = render(portrait, crop_camera(portrait, image.size))
    folder = f"{image.split}_set"
    notes = f"{folder}/annotations/{image.number}"
    return Drawing(
        images=((f"{folder}/images/{image.number}.jpg", image_bytes(face.image)),),
        notes=(
            (f"{notes}_exp.npy", npy_bytes(np.array(str(image.label)))),
            (f"{notes}_val.npy", npy_bytes(np.array(_score(face.valence)))),
            (f"{notes}_aro.npy", npy_bytes(np.array(_score(face.arousal)))),
            (f"{notes}_lnd.npy", npy_bytes(face.landmarks.ravel())),
        ),
    )


def _draw_an_csv(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a photograph and its row; after a spoiled image also those of the release's one bad row."""
    drawing = _photograph(portrait, image)
    if not image.spoiled:
        return drawing
    happy = replace(image, label=_HAPPY, number=-1)
    bad = _photograph(sample_portrait(_HAPPY, int(portrait.dice[31] * 2**32)), happy)
    ((path, row),) = bad.rows
    fields = row.split(",")
    bad_row = ",".join([fields[0], "NULL", "NULL", "-1", "-1", *fields[5:]])
    return Drawing(images=(*drawing.images, *bad.images), rows=(*drawing.rows, (path, bad_row)))


def _photograph(portrait: Portrait, image: PlannedImage) -> Drawing:
    face = render(portrait, photo_camera(portrait, image.size))
    name = hashlib.sha224(f"{image.split}/{image.number}/{portrait.dice[31]}".encode()).hexdigest()
    extension = _EXTENSIONS[int(name[:6], 16) % len(_EXTENSIONS)]
    folder = 1 + int(name[6:12], 16) % (1 + max(0, image.number) // _PHOTOS_A_FOLDER)
    path = f"{folder}/{name}.{extension}"
    box = ",".join(str(value) for value in face_box(face.landmarks))
    landmarks = ";".join(f"{value:.2f}" for value in face.landmarks.ravel().tolist())
    scores = "-2,-2" if image.label in _WITHOUT_SCORES else f"{_score(face.valence)},{_score(face.arousal)}"
    content = image_bytes(face.image, "PNG" if extension == "png" else "JPEG")
    row = f"{path},{box},{landmarks},{image.label},{scores}"
    return Drawing(images=((f"{_PHOTO_FOLDER}/{path}", content),), rows=((_CSV_FILES[image.split], row),))


def _score(value: float) -> str:
    return f"{value:.6g}"


AFFECTNET_TREES: Mapping[str, Recipe] = {
    AN_NPY.name: Recipe(
        layout=AN_NPY,
        gaps=True,
        draw=_draw_an_npy,
        folders=("train_set/images", "train_set/annotations", "val_set/images", "val_set/annotations"),
    ),
    AN_CSV.name: Recipe(
        layout=AN_CSV,
        draw=_draw_an_csv,
        folders=(_PHOTO_FOLDER,),
        headers={_CSV_FILES["train"]: _CSV_HEADER},
        has_bad_row=True,
    ),
}
