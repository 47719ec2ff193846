"""Detect split folders, or one split, with ``images/`` beside ``annotations/``: AffectNet of 2021, or AffectNet+.

In: listings. Out: a :class:`Detection` of the layout asked for. Of many annotations only the first names are read.
"""

import os

from ferdata.errors import AmbiguousLayoutError
from ferdata.sources.files.listing import Tree, below, iter_names, split_of
from ferdata.sources.files.split_folders import split_folders
from ferdata.sources.layout import Detection, Layout

__all__ = ["PARTS", "find_pairs"]

PARTS = ("images", "annotations")
"""Folders in each split folder."""

_ENOUGH_NAMES = 4096
_ENOUGH_JSON = 16


def find_pairs(tree: Tree, folder: str, layout: Layout, ending: str) -> Detection | None:
    """Return the split folders of ``folder``, or itself as one split, if their annotations have this ``ending``.

    Args:
        tree: Listings of the source.
        folder: Where to look.
        layout: What it would be.
        ending: ``.json`` (AffectNet+) or ``_exp.npy``.

    Raises:
        AmbiguousLayoutError: If ``folder`` is one split, and neither its name nor that of a folder above says which.
    """
    splits = split_folders(tree, folder, PARTS)
    endings = {
        _ending(tree, annotations) for path in splits.values() if (annotations := tree.folder(path).dir("annotations"))
    }
    if ending in endings:
        return Detection(layout=layout, root=folder, splits=splits)
    here = tree.folder(folder)
    annotations = here.dir("annotations")
    if endings - {None} or not here.dir("images") or not annotations or _ending(tree, annotations) != ending:
        return None
    return _one_split(tree, folder, layout)


def _one_split(tree: Tree, folder: str, layout: Layout) -> Detection:
    full = os.path.abspath(tree.store.path(folder)) if tree.store.is_local else tree.store.path(folder)
    names = full.rstrip("/").split("/")[::-1][: 1 + len([part for part in folder.split("/") if part])]
    if layout.automatic and names[0].lower() == "no_human_annotated":
        return Detection(layout=layout, root=folder, folders={"automatic": folder})
    split = next((split for split in map(split_of, names) if split), None)
    if split is None:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: one split of {layout} found (images/ and annotations/), expected a folder "
            "name that says which: train_set or val_set; rename the folder or give the folder above it"
        )
    return Detection(layout=layout, root=folder, splits={split: folder})


def _ending(tree: Tree, annotations: str) -> str | None:
    """Return the ending of a folder's annotation files; of a million ``.npy`` files only the first are looked at.

    AffectNet+ has one JSON file an image; a folder whose first ones belong to no image holds another data set's (COCO).
    """
    has_npy = False
    others = 0
    for count, (name, is_dir) in enumerate(iter_names(tree.store, annotations)):
        lower = name.lower()
        if lower.endswith(".json") and not is_dir and others < _ENOUGH_JSON:
            if _is_of_image(tree, annotations, name[: -len(".json")]):
                return ".json"
            others += 1
        has_npy = has_npy or lower.endswith("_exp.npy")
        if has_npy and count >= _ENOUGH_NAMES:
            break
    return "_exp.npy" if has_npy else None


def _is_of_image(tree: Tree, annotations: str, stem: str) -> bool:
    images = tree.folder(annotations.rpartition("/")[0]).dir("images")
    return stem.isdecimal() or any(
        tree.store.exists(below(images or "", stem + suffix)) for suffix in (".jpg", ".png", ".jpeg")
    )
