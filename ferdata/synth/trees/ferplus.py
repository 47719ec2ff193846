"""The rows and the file of one image in FERPlus's layouts: FER2013's pixels, and ten votes.

In: a portrait and its place in the tree. Out: a :class:`Drawing`.
"""

from collections.abc import Mapping

from ferdata.labels import FER2013, FERPLUS
from ferdata.sources.ferplus.detector import FERPLUS_CSV, FERPLUS_FOLDERS
from ferdata.sources.ferplus.votes import VOTE_COLUMNS
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.fer2013 import FER_HEADER, USAGES, fer_row, grey_face
from ferdata.synth.trees.files import Drawing, PlannedImage, image_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["FERPLUS_TREES"]

_PIXELS, _VOTES = "fer2013.csv", "fer2013new.csv"
_FOLDERS = {"train": "FER2013Train", "val": "FER2013Valid", "test": "FER2013Test"}
_FIRST = {"train": 0, "val": 28638, "test": 32220}
"""Number of each split's first image in the release."""
_VOTERS = 10
_EMOTIONS = 8
_NEUTRAL = FER2013.index("Neutral")


def _draw_csv(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a row of pixels and one of votes; after a spoiled image also those of one that no vote calls a face."""
    votes = f"{USAGES[image.split]},{_name(image)},{','.join(map(str, _votes(portrait, image.label)))}"
    name = FERPLUS[image.label]
    pixels = fer_row(portrait, FER2013.index(name) if name in FER2013 else _NEUTRAL, image.split)
    no_face = f"{USAGES[image.split]},,0,0,0,0,0,0,0,0,0,{_VOTERS}"
    spoiled = ((_PIXELS, pixels), (_VOTES, no_face)) if image.spoiled else ()
    return Drawing(images=(), rows=((_PIXELS, pixels), (_VOTES, votes), *spoiled))


def _draw_folders(portrait: Portrait, image: PlannedImage) -> Drawing:
    folder, name = _FOLDERS[image.split], _name(image)
    votes = ",".join(map(str, _votes(portrait, image.label)))
    return Drawing(
        images=((f"{folder}/{name}", image_bytes(grey_face(portrait), "PNG")),),
        rows=((f"{folder}/label.csv", f'{name},"(0, 0, 48, 48)",{votes}'),),
    )


def _name(image: PlannedImage) -> str:
    return f"fer{_FIRST[image.split] + image.number:07d}.png"


def _votes(portrait: Portrait, label: int) -> list[int]:
    """Return votes that most agree on, or, for an image of no class, four, three and three."""
    votes = [0] * len(VOTE_COLUMNS)
    other = int(portrait.dice[30] * _EMOTIONS)
    if FERPLUS[label] == "Unknown":
        for step, number in enumerate((4, 3, 3)):
            votes[(other + step) % _EMOTIONS] = number
        return votes
    agreed = 6 + int(portrait.dice[29] * 5)
    votes[label] = agreed
    votes[other if other != label else (other + 1) % _EMOTIONS] += _VOTERS - agreed
    return votes


FERPLUS_TREES: Mapping[str, Recipe] = {
    FERPLUS_CSV.name: Recipe(
        layout=FERPLUS_CSV,
        draw=_draw_csv,
        folders=(),
        headers={_PIXELS: FER_HEADER, _VOTES: f"Usage,Image name,{','.join(VOTE_COLUMNS)}"},
        has_bad_row=True,
        is_fixed=True,
    ),
    FERPLUS_FOLDERS.name: Recipe(layout=FERPLUS_FOLDERS, draw=_draw_folders, folders=(), is_fixed=True),
}
