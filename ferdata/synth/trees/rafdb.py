"""The files of one image in RAF-DB's layout: the aligned face, and the original photograph with its annotations.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ferdata.sources.rafdb.detector import RAF_BASIC
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import aligned_camera, face_box, photo_camera
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.files import Drawing, PlannedImage, image_bytes, text_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["RAFDB_TREES"]

_LABEL_LIST = "EmoLabel/list_patition_label.txt"
"""The misspelling is the release's own."""

# Brows, the bridge, tip and base of the nose, eyes, and the outline of the lips: 37 points.
_AUTO_POINTS = [*range(17, 27), 27, 30, 33, *range(36, 48), *range(48, 60)]


def _draw_raf_aligned(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return an aligned face and its line in the label list."""
    stem = _stem(image)
    face = render(portrait, aligned_camera(portrait, image.size))
    content = image_bytes(face.image)
    row = f"{stem}.jpg {image.label + 1}"
    return Drawing(images=((f"Image/aligned/{stem}_aligned.jpg", content),), rows=((_LABEL_LIST, row),))


def _draw_raf_original(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return an aligned face, the photograph it comes from, and the photograph's annotation files."""
    stem = _stem(image)
    aligned = _draw_raf_aligned(portrait, image)
    face = render(portrait, photo_camera(portrait, 2 * image.size))
    marks, person = face.landmarks, portrait.person
    manual = _points([marks[36:42].mean(axis=0), marks[42:48].mean(axis=0), marks[30], marks[48], marks[54]])
    dark = bool(person.skin.mean() < 120.0)
    facts = [int(person.feminine), int(dark), 2 + int(person.age > 0.5) + int(person.age > 0.85)]
    x, y, width, height = face_box(marks)
    box = f"{x:.3f} {y:.3f} {x + width:.3f} {y + height:.3f} "
    return Drawing(
        images=(*aligned.images, (f"Image/original/{stem}.jpg", image_bytes(face.image))),
        notes=(
            (f"Annotation/manual/{stem}_manu_attri.txt", text_bytes([*manual, *map(str, facts)])),
            (f"Annotation/auto/{stem}_auto_attri.txt", text_bytes(_points(marks[_AUTO_POINTS]))),
            (f"Annotation/boundingbox/{stem}_boundingbox.txt", text_bytes([box])),
        ),
        rows=aligned.rows,
    )


def _stem(image: PlannedImage) -> str:
    return f"train_{image.number:05d}" if image.split == "train" else f"test_{image.number:04d}"


def _points(points: Iterable[np.ndarray]) -> list[str]:
    return [f"{x:.3f}\t{y:.3f}" for x, y in points]


_RAF_BASIC = Recipe(layout=RAF_BASIC, first_number=1, draw=_draw_raf_aligned, folders=("Image/aligned",))
_RAF_ORIGINAL = replace(
    _RAF_BASIC,
    draw=_draw_raf_original,
    folders=(
        "Image/aligned", "Image/original", "Annotation/manual", "Annotation/auto", "Annotation/boundingbox",
    ),
)  # fmt: skip
RAFDB_TREES: Mapping[str, Recipe] = {RAF_BASIC.name: _RAF_BASIC, "RAF-original": _RAF_ORIGINAL}
"""RAF-original is RAF-basic with photographs and annotations."""
