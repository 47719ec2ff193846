"""The picture of one image and its row in a table, as people make them for images of their own.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Mapping
from dataclasses import replace

from ferdata.labels import AFFECTNET_7
from ferdata.sources.layout import Release
from ferdata.sources.tables.detector import TABLE
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import face_box, photo_camera
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.files import Drawing, PlannedImage, image_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["TABLE_TREES"]

_TABLE = "labels.csv"
_HEADER = "image,emotion,set,subject,left,top,width,height,valence,arousal"
_WORDS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
_SETS = {"train": "Training", "val": "validation", "test": "TEST"}
_IMAGES_OF_ONE = 4


def _draw(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a photograph, and a row with its class, its split, who is shown and where the face is."""
    face = render(portrait, photo_camera(portrait, image.size))
    path = f"images/{image.split}_{image.number:05d}.jpg"
    who = f"{image.split[:2]}{image.number // _IMAGES_OF_ONE:04d}"
    box = ",".join(f"{value:.1f}" for value in face_box(face.landmarks))
    row = f"{path},{_WORDS[image.label]},{_SETS[image.split]},{who},{box},{face.valence:.3f},{face.arousal:.3f}"
    return Drawing(images=((path, image_bytes(face.image)),), rows=((_TABLE, row),))


_COUNTS = {"train": dict.fromkeys(AFFECTNET_7, 700)} | {
    name: dict.fromkeys(AFFECTNET_7, 100) for name in ("val", "test")
}
TABLE_TREES: Mapping[str, Recipe] = {
    TABLE.name: Recipe(
        layout=replace(TABLE, classes=AFFECTNET_7, releases=(Release(title="drawn faces", splits=_COUNTS),)),
        draw=_draw,
        folders=("images",),
        headers={_TABLE: _HEADER},
    )
}
