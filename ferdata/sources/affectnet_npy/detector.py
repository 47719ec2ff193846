"""Detect AffectNet's release of 2021: split folders with ``images/`` and ``.npy`` files, in one folder or several."""

from functools import partial

from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.affectnet.find_pairs import PARTS, find_pairs
from ferdata.sources.affectnet.totals import RELEASE_2021
from ferdata.sources.affectnet.values import CROP_SIDE
from ferdata.sources.affectnet_npy.npy_values import KINDS
from ferdata.sources.affectnet_npy.reader import scan
from ferdata.sources.files.listing import Tree
from ferdata.sources.files.split_folders import note_missing, split_folders
from ferdata.sources.layout import Asked, Detection, Layout

__all__ = ["AN_NPY", "AN_VA"]

_VA_FOLDERS = {"exp": "emotion", "val": "valence", "aro": "arousal"}
_VA_PARTS = ("images", "valence", "arousal", "emotion")


def _find_npy(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    return find_pairs(tree, folder, AN_NPY, "_exp.npy")


def _find_va(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    splits = split_folders(tree, folder, _VA_PARTS)
    is_whole = any(all(map(tree.folder(path).dir, _VA_PARTS)) for path in splits.values())
    return Detection(layout=AN_VA, root=folder, splits=splits, notes=note_missing(splits)) if is_whole else None


AN_NPY = Layout(
    name="AN-npy",
    source="affectnet",
    detector=_find_npy,
    scan=partial(scan, kinds=dict.fromkeys(KINDS, "annotations")),
    sign="train_set/ or val_set/ with images/ and annotations/",
    classes=AFFECTNET_ALL,
    releases=(RELEASE_2021,),
    side=CROP_SIDE,
    parts=PARTS,
)
AN_VA = Layout(
    name="AN-va",
    source="affectnet",
    detector=_find_va,
    scan=partial(scan, kinds=_VA_FOLDERS),
    sign="split folders with images/ and emotion/",
    classes=AFFECTNET_ALL,
    parts=_VA_PARTS,
)
