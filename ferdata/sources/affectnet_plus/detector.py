"""Detect AffectNet+: ``human_annotated/``, ``no_human_annotated/``, or ``annotations/<id>.json`` beside ``images/``."""

from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.affectnet.find_pairs import PARTS, find_pairs
from ferdata.sources.affectnet.values import CROP_SIDE
from ferdata.sources.affectnet_plus.reader import scan
from ferdata.sources.files.listing import Tree, below
from ferdata.sources.files.split_folders import split_folders
from ferdata.sources.layout import Asked, Detection, Layout, Release

__all__ = ["AN_PLUS"]

_HUMAN, _AUTOMATIC = "human_annotated", "no_human_annotated"
_MAX_WRAPPERS = 8


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    here = tree.folder(folder)
    automatic = _with_pairs(tree, here.dir(_AUTOMATIC))
    human = here.dir(_HUMAN)
    for _ in range(_MAX_WRAPPERS):
        human = (human and tree.folder(human).dir(_HUMAN)) or human
    splits = split_folders(tree, human, PARTS) if human else {}
    if splits or automatic:
        folders = {"automatic": automatic} if automatic else {}
        return Detection(layout=AN_PLUS, root=folder, splits=splits, folders=folders)
    return find_pairs(tree, folder, AN_PLUS, ".json")


def _with_pairs(tree: Tree, folder: str | None) -> str | None:
    for _ in range(_MAX_WRAPPERS):
        here = tree.folder(folder) if folder is not None else None
        if here is None or all(map(here.dir, PARTS)):
            return folder
        folder = below(here.path, here.dirs[0]) if len(here.dirs) == 1 else None
    return None


AN_PLUS = Layout(
    name="AN-plus",
    source="affectnet",
    detector=_find,
    scan=scan,
    sign="human_annotated/",
    classes=AFFECTNET_ALL,
    releases=(Release(title="the human-annotated part of AffectNet+", splits={"train": 414799, "val": 5500}),),
    automatic=Release(title="AffectNet+ without human labels", splits={"train": 539607}),
    side=CROP_SIDE,
    parts=PARTS,
)
