"""Detect CK+: folders of sequences beside those of their emotions, or class folders of frames with CK+'s names."""

import re

from ferdata.errors import LayoutError
from ferdata.labels import CKPLUS, canonical_name
from ferdata.sources.ckplus.class_reader import scan_classes
from ferdata.sources.ckplus.frames import FRAME_NAME, SUBJECT
from ferdata.sources.ckplus.sequence_reader import scan_sequences
from ferdata.sources.files.listing import Tree, below, is_image, walk
from ferdata.sources.files.matching import stem_of
from ferdata.sources.layout import Asked, Detection, Layout, Release

__all__ = ["CKPLUS_48", "CKPLUS_SEQUENCES", "LABELLED"]

_KINDS = {"_emotion.txt": "emotions", "_landmarks.txt": "landmarks", "_facs.txt": "action units"}
_LEVELS = 2
_SAMPLE = 64
_PARTS = re.compile(r"cohn|kanade|emotion|landmark|facs|ck", re.IGNORECASE)
"""In the names of folders of sequences, and of those they lie in."""


def _find_sequences(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for ``S005/001/`` with images, and for the same with ``_emotion.txt``, in whatever folders.

    Raises:
        LayoutError: If there are sequences and no emotions.
    """
    found: dict[str, str] = {}
    for place in walk(tree, folder, lambda name: _PARTS.search(name) is not None, levels=_LEVELS):
        if any(SUBJECT.fullmatch(name) for name in place.dirs) and (kind := _kind(tree, place.path)):
            found.setdefault(kind, place.path)
    if "images" not in found:
        return None
    if "emotions" not in found:
        raise LayoutError(
            f"{tree.store.path(found['images'])}: sequences of CK+ found, but no "
            "S005/001/S005_001_00000011_emotion.txt beside them, expected both; "
            "unpack Emotion_labels.zip into the same folder"
        )
    return Detection(layout=CKPLUS_SEQUENCES, root=folder, folders=found)


def _kind(tree: Tree, folder: str) -> str | None:
    """Return what the first files of the sequences in a folder are; most folders of emotions are empty."""
    for subject in tree.folder(folder).dirs:
        for session in tree.folder(below(folder, subject)).dirs:
            inside = tree.folder(below(folder, subject, session))
            if any(FRAME_NAME.fullmatch(stem_of(name)) for name in inside.images):
                return "images"
            for name in inside.files:
                for ending, kind in _KINDS.items():
                    if name.lower().endswith(ending):
                        return kind
    return None


def _find_classes(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for class folders, most of whose images are called like frames of CK+."""
    classes = {name: known for name in tree.folder(folder).dirs if (known := canonical_name(name))}
    for name in classes:
        images = tree.peek(below(folder, name), is_image, at_most=_SAMPLE)
        if images:
            is_ckplus = 2 * sum(FRAME_NAME.fullmatch(stem_of(image)) is not None for image in images) > len(images)
            return Detection(layout=CKPLUS_48, root=folder, class_folders=classes) if is_ckplus else None
    return None


LABELLED = dict(zip(CKPLUS[1:], (45, 18, 59, 25, 69, 28, 83), strict=True))
"""Sequences of the release that have an emotion."""

CKPLUS_SEQUENCES = Layout(
    name="CK+-sequences",
    source="ckplus",
    detector=_find_sequences,
    scan=scan_sequences,
    sign="cohn-kanade-images/S005/001/ beside Emotion/S005/001/",
    classes=CKPLUS,
    releases=(Release(title="CK+ (labelled sequences)", splits={"train": LABELLED}),),
    has_sequences=True,
)
CKPLUS_48 = Layout(
    name="CK+48",
    source="ckplus",
    detector=_find_classes,
    scan=scan_classes,
    sign="anger/S010_004_00000017.png",
    classes=CKPLUS[1:],
    releases=(
        Release(
            title="CK+48",
            splits={"train": {name: 3 * number for name, number in LABELLED.items()}},
        ),
    ),
    side=48,
)
