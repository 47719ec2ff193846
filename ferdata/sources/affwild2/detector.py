"""Detect Aff-Wild2: text files with a line a frame, by their first line, and folders of frames called like them."""

import re

from ferdata.errors import LayoutError
from ferdata.labels import AFFWILD2, canonical_name
from ferdata.sources.affwild2.reader import scan
from ferdata.sources.files.listing import Tree, below, split_of, walk
from ferdata.sources.files.matching import stem_of
from ferdata.sources.files.text_tables import plain_name, read_head
from ferdata.sources.layout import Asked, Detection, Layout

__all__ = ["AFFWILD2_LAYOUT"]

_LEVELS = 3
_OF_TEXTS = re.compile(r"annot|abaw|challenge|expr|va_|aff", re.IGNORECASE)
"""In the names of folders of texts, and of those they lie in."""


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for ``Train_Set/`` or ``Validation_Set/`` with texts, and for the folders of their videos.

    Raises:
        LayoutError: If there are texts and no frames, or the texts of one split are in two folders.
    """
    found: dict[str, str] = {}
    for place in walk(tree, folder, lambda name: _OF_TEXTS.search(name) is not None, levels=_LEVELS - 1):
        for name in place.dirs:
            split, path = split_of(name), below(place.path, name)
            kind = _kind(tree, path) if split in ("train", "val") else None
            if kind is None:
                continue
            role = f"{kind} {split}"
            if role in found:
                raise LayoutError(
                    f"{tree.store}: {found[role]} and {path} found, which both hold the {role} annotations of "
                    "Aff-Wild2, expected those of one competition; move the others away"
                )
            found[role] = path
    if not found:
        return None
    videos = {stem_of(name) for path in found.values() for name in tree.folder(path).files}
    # Folders of videos are not entered: they hold tens of thousands of frames, which the reader lists.
    places = walk(tree, folder, lambda name: name not in videos, levels=_LEVELS)
    frames = [place.path for place in places if not videos.isdisjoint(place.dirs)]
    if not frames:
        raise LayoutError(
            f"{tree.store.path(folder)}: annotations of Aff-Wild2 in {', '.join(found.values())} found, but no folder "
            "of a video they name, expected cropped_aligned/<video>/00001.jpg; unpack cropped_aligned.zip there"
        )
    frames.sort(key=lambda path: "aligned" not in path.lower())  # aligned ones first where cropped ones are there too
    found |= {f"frames {number}": path for number, path in enumerate(frames)}
    return Detection(layout=AFFWILD2_LAYOUT, root=folder, folders=found)


def _kind(tree: Tree, folder: str) -> str | None:
    """Return what a folder of texts holds a line of for every frame, by the first of them."""
    texts = tree.peek(folder, lambda name: name.lower().endswith(".txt"))
    header = [plain_name(cell) for cell in read_head(tree.store, below(folder, texts[0])).header] if texts else []
    if header == ["valence", "arousal"]:
        return "valence"
    known = {canonical_name(cell) for cell in header} - {None}
    return "expression" if len(header) in (len(AFFWILD2), len(AFFWILD2) - 1) and len(known) == 7 else None


AFFWILD2_LAYOUT = Layout(
    name="Aff-Wild2-frames",
    source="affwild2",
    detector=_find,
    scan=scan,
    sign="EXPR_Classification_Challenge/Train_Set/ or VA_Estimation_Challenge/Train_Set/ beside cropped_aligned/",
    classes=AFFWILD2,
    has_sequences=True,
)
