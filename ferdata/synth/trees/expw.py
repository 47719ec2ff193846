"""The photograph of ExpW's layout, with a row for each of its faces.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Mapping

from PIL import Image

from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.expw.detector import EXPW
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import face_box, photo_camera
from ferdata.synth.face.people import Portrait, sample_portrait
from ferdata.synth.trees.files import Drawing, PlannedImage, Row, image_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["EXPW_TREES"]

_LIST = "label/label.lst"
_WORDS = ("angry_actor", "amazed_teacher", "awe_boss", "happy family")
"""What photographs were searched for, and are called by; a few names have a space."""


def _draw(portrait: Portrait, image: PlannedImage) -> Drawing:
    name = f"{_WORDS[image.number % len(_WORDS)]}_{image.number}.jpg"
    people = [(portrait, image.label)]
    people += [(sample_portrait(AFFECTNET_ALL.index(of), seed), label) for label, of, seed in image.beside]
    photos: list[Image.Image] = []
    rows: list[Row] = []
    for face, (person, label) in enumerate(people):
        drawn = render(person, photo_camera(person, image.size))
        x, y, width, height = face_box(drawn.landmarks)
        left, top = max(0, x) + sum(photo.width for photo in photos), max(0, y)
        right, bottom = left + width + min(0, x), top + height + min(0, y)
        confidence = 20 + 80 * person.dice[29]
        rows.append((_LIST, f"{name} {face} {top} {left} {right} {bottom} {confidence:.6g} {label}"))
        photos.append(drawn.image)
    return Drawing(images=((f"image/origin/{name}", image_bytes(_side_by_side(photos))),), rows=tuple(rows))


def _side_by_side(photos: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(photo.width for photo in photos), max(photo.height for photo in photos)))
    left = 0
    for photo in photos:
        whole.paste(photo, (left, 0))
        left += photo.width
    return whole


EXPW_TREES: Mapping[str, Recipe] = {
    EXPW.name: Recipe(layout=EXPW, draw=_draw, folders=("image/origin",), faces_every=4)
}
