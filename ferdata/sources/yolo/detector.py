"""Detect AffectNet in YOLO format: split folders with ``images/`` and ``labels/``."""

from ferdata.sources.files.listing import Folder, Tree, below
from ferdata.sources.files.split_folders import note_missing, split_folders
from ferdata.sources.layout import Asked, Detection, Layout
from ferdata.sources.yolo.reader import scan

__all__ = ["AN_YOLO"]

_PARTS = ("images", "labels")


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for split folders with ``images/`` and ``labels/*.txt``; ``data.yaml`` beside them or one folder up."""
    here = tree.folder(folder)
    names = _names_file(here)
    bases = [folder, below(folder, here.dirs[0])] if names and len(here.dirs) == 1 else [folder]
    for base in bases:
        splits = split_folders(tree, base, _PARTS)
        has = {split: (tree.folder(path).dir("images"), _labels(tree, path)) for split, path in splits.items()}
        splits = {split: path for split, path in splits.items() if any(has[split])}
        if any(map(all, has.values())):
            inside = (f"{tree.folder(path).dir('labels')}/classes.txt" for path in splits.values())
            names = names or _names_file(tree.folder(base)) or next(filter(tree.store.exists, inside), None)
            files = {"names": names} if names else {}
            return Detection(layout=AN_YOLO, root=folder, splits=splits, files=files, notes=note_missing(splits))
    return None


def _names_file(folder: Folder) -> str | None:
    """Return the file with the class names: ``data.yaml``, else the only other YAML file, else a list of names."""
    yamls = folder.paths(lambda name: name.lower().endswith((".yaml", ".yml")))
    official = folder.file("data.yaml") or folder.file("data.yml")
    only = yamls[0] if len(yamls) == 1 else None
    return official or only or folder.file("classes.txt") or folder.file("obj.names")


def _labels(tree: Tree, split_folder: str) -> bool:
    labels = tree.folder(split_folder).dir("labels")
    return labels is not None and bool(tree.peek(labels, lambda name: name.lower().endswith(".txt")))


AN_YOLO = Layout(
    name="AN-yolo",
    source="affectnet",
    detector=_find,
    scan=scan,
    sign="split folders with images/ and labels/",
    may_need_order=True,
    parts=_PARTS,
)
