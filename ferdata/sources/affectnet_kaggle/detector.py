"""Detect the Kaggle copies of AffectNet, whose labels are in one table beside class folders."""

from dataclasses import replace
from functools import partial

from ferdata.errors import AmbiguousLayoutError
from ferdata.labels import AFFECTNET_ALL, canonical_name
from ferdata.sources.affectnet.totals import TENTH
from ferdata.sources.affectnet_kaggle.reader import scan
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.files.text_tables import is_table, read_head, role_columns
from ferdata.sources.label_tables import is_class_table
from ferdata.sources.layout import Asked, Detection, Layout, Release

__all__ = ["AN_KAGGLE_A", "AN_KAGGLE_B"]


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for a table of images and class names, ``labels.csv`` by rights: AN-kaggle-A without splits, B with them.

    Raises:
        AmbiguousLayoutError: If one folder holds two such tables, and none of them is ``labels.csv``.
    """
    here = tree.folder(folder)
    labels = _label_table(tree, folder)
    bases = [folder, below(folder, here.dirs[0])] if labels and len(here.dirs) == 1 else [folder]
    for base in bases:
        splits = {split: below(base, name) for name in tree.folder(base).dirs if (split := split_of(name))}
        places = (base, *splits.values())
        found = labels or next((path for place in places if (path := _label_table(tree, place))), None)
        if found and asked.source == "folder" and not is_class_table(tree, found):
            return None  # classes of the user's own, for which AffectNet's readers have no use
        if found and splits:
            return Detection(layout=AN_KAGGLE_B, root=folder, splits=splits, files={"labels": found})
    for base in bases:
        if labels and any(canonical_name(name) for name in tree.folder(base).dirs):
            return Detection(layout=AN_KAGGLE_A, root=folder, splits={"train": base}, files={"labels": labels})
    return None


def _label_table(tree: Tree, folder: str) -> str | None:
    here = tree.folder(folder)
    path = here.file("labels.csv")
    if path is not None and all(len(columns) == 1 for columns in role_columns(read_head(tree.store, path).header)):
        return path
    paths = [path for path in here.paths(is_table) if is_class_table(tree, path)]
    if len(paths) > 1:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: {' and '.join(paths)} found, which all name images and classes, "
            "expected one table; name the one to use labels.csv, or move the others away"
        )
    return paths[0] if paths else None


AN_KAGGLE_A = Layout(
    name="AN-kaggle-A",
    source="affectnet",
    detector=_find,
    scan=partial(scan, names_all=True),
    sign="labels.csv with pth and label",
    classes=AFFECTNET_ALL,
    releases=(Release(title="the Kaggle set affectnet-training-data", splits={"train": 29042}, remark=TENTH),),
)
AN_KAGGLE_B = replace(AN_KAGGLE_A, name="AN-kaggle-B", scan=partial(scan, names_all=False), releases=())
