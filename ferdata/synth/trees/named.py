"""The files of one image in the layouts of JAFFE and KDEF: few people, many pictures of each.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Mapping
from dataclasses import replace

from ferdata.labels import JAFFE, KDEF
from ferdata.sources.named.detector import JAFFE_LAYOUT, KDEF_LAYOUT
from ferdata.sources.named.names import CUT_NAMES
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import aligned_camera
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.files import Drawing, PlannedImage, image_bytes, text_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["NAMED_TREES"]

_JAFFE_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
_ANGLES = {"S": 0.0, "HL": -0.45, "HR": 0.45, "FL": -0.8, "FR": 0.8}
"""KDEF's angles, and how far the head is turned in radians."""

_CUT = {proper: cut for cut, proper in CUT_NAMES.items()}


def _draw_jaffe(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a grey picture; beside the first one what comes with the release."""
    person, code = _JAFFE_PEOPLE[(image.person or 0) // 2], tuple(JAFFE)[image.label]
    face = render(portrait, aligned_camera(portrait, image.size)).image.convert("L")
    readme = (("README_FIRST.txt", text_bytes(["Drawn faces."])),) if image.number == 1 else ()
    name = f"{person}.{code}{image.take + 1}.{image.number}.tiff"
    return Drawing(images=((name, image_bytes(face, "TIFF")),), notes=readme)


def _draw_kdef(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a picture, higher than wide, of a head that is turned."""
    session, angle = divmod(image.take, len(_ANGLES))
    number, is_man = divmod(image.person or 0, 2)
    folder = f"{'AB'[session % 2]}{'FM'[is_man]}{number + 1:02d}"
    name = tuple(_ANGLES)[angle]
    turned = replace(portrait, pose=replace(portrait.pose, yaw=_ANGLES[name]))
    camera = aligned_camera(turned, image.size)
    height = round(image.size * 762 / 562)
    face = render(turned, replace(camera, height=height, y=camera.y + (height - image.size) / 2))
    stem = f"{folder}{tuple(KDEF)[image.label]}{name}"
    return Drawing(images=((f"{folder}/{_CUT.get(stem, stem)}.JPG", image_bytes(face.image)),))


NAMED_TREES: Mapping[str, Recipe] = {
    JAFFE_LAYOUT.name: Recipe(
        layout=JAFFE_LAYOUT, draw=_draw_jaffe, folders=(), first_number=1, people=range(0, 20, 2)
    ),
    KDEF_LAYOUT.name: Recipe(layout=KDEF_LAYOUT, draw=_draw_kdef, folders=(), people=range(70)),
}
