"""The file of one image in the layouts of CAER-S and SFEW: frames of films, or the faces in them, as class folders.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Mapping
from dataclasses import replace

from ferdata.labels import ALPHABETICAL_7
from ferdata.sources.class_folders.detector import FOLDER_LAYOUTS
from ferdata.sources.sfew.detector import SFEW_ALIGNED
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import crop_camera, photo_camera
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.files import Drawing, File, PlannedImage, image_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["SCENE_TREES"]

_CAERS, _SFEW = FOLDER_LAYOUTS["caers"], FOLDER_LAYOUTS["sfew"]
_ANGER = "Anger"
_FILMS = ("Airheads", "AboutABoy", "Harry_Potter")
_SCENES = {"train": "Train", "val": "Val", "test": "Test"}
_FACES = {"train": "Train_Aligned_Faces", "val": "Val_Aligned_Faces_new", "test": "Test_Aligned_Faces"}


def _draw_caers(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a frame; the class is called Angry in train and Anger in test."""
    name = ALPHABETICAL_7[image.label]
    called = "Angry" if (name, image.split) == (_ANGER, "train") else name
    frame = render(portrait, photo_camera(portrait, image.size))
    return Drawing(images=((f"{image.split}/{called}/{image.number:04d}.png", image_bytes(frame.image, "PNG")),))


def _draw_sfew(portrait: Portrait, image: PlannedImage) -> Drawing:
    frame = render(portrait, photo_camera(portrait, image.size))
    return Drawing(images=_with_test(_SCENES, image, image_bytes(frame.image, "PNG")))


def _draw_sfew_aligned(portrait: Portrait, image: PlannedImage) -> Drawing:
    face = render(portrait, crop_camera(portrait, image.size))
    return Drawing(images=_with_test(_FACES, image, image_bytes(face.image, "PNG")))


def _with_test(folders: Mapping[str, str], image: PlannedImage, content: bytes) -> tuple[File, ...]:
    """Return an image in its class folder; a spoiled one stands in test too, where images have no label."""
    called = "Angry" if ALPHABETICAL_7[image.label] == _ANGER else ALPHABETICAL_7[image.label]
    name = f"{_FILMS[image.number % len(_FILMS)]}_{40 * image.number:09d}_{image.number % 60:08d}.png"
    unlabelled = ((f"{folders['test']}/{name}", content),) if image.spoiled else ()
    return ((f"{folders[image.split]}/{called}/{name}", content), *unlabelled)


_ALIGNED = Recipe(layout=SFEW_ALIGNED, draw=_draw_sfew_aligned, folders=(), first_number=1, has_bad_row=True)
SCENE_TREES: Mapping[str, Recipe] = {
    _CAERS.name: Recipe(layout=_CAERS, draw=_draw_caers, folders=(), first_number=1),
    _SFEW.name: replace(_ALIGNED, layout=_SFEW, draw=_draw_sfew, weights=_ALIGNED.totals()),
    SFEW_ALIGNED.name: _ALIGNED,
}
