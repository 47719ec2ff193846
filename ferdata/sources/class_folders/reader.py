"""Read class folders: AffectNet's, RAF-DB's, or a tree with expressions of its own.

In: split folders (or none: everything is train) of class folders. Out: a :class:`Scan`. Lists each folder once; opens
no image.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ferdata.errors import SourceError
from ferdata.labels import AFFECTNET_ALL, map_ids, union_classes
from ferdata.sources.class_folders.class_tree import ClassTree, list_class_tree
from ferdata.sources.class_folders.likeness import FRAME_NAME
from ferdata.sources.files.listing import below, name_of, natural_key
from ferdata.sources.files.matching import stem_of
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.rafdb.label_list import official_key
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["scan"]


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every image of a tree of class folders into accepted, skipped or rejected.

    Detection says which class each folder is; folders it does not name are no class folders. Where a class is none of
    AffectNet's, the source has classes of its own.

    Raises:
        AmbiguousLayoutError: If a class folder holds split folders or other classes.
        SourceError: If no class folder holds an image.
    """
    folders, classes = _own_classes(detection)
    if not set(classes) <= set(AFFECTNET_ALL):
        options = replace(options, keep_non_emotion=True)  # among classes of one's own, none is one of them
    builder = LayoutScan(store, detection, options, classes=classes)
    trees = {
        split: list_class_tree(store, folder, only=folders.keys())
        for split, folder in (detection.splits or {"train": ""}).items()
    }
    if not any(paths for tree in trees.values() for paths in tree.by_class.values()):
        raise SourceError(
            f"{store.path()}: no image in class folders {', '.join(folders)}, expected images in them; "
            "unpack archives first"
        )
    for split, tree in trees.items():
        for name, path in tree.images():
            if not name:
                builder.reject(path, "label_missing", "in no class folder", split=split)
                continue
            verdict = builder.judge_name(folders[name], name)
            if builder.passes(verdict, path, split=split):
                official = official_key(path) if detection.layout.source == "rafdb" else None
                key = builder.keys.make(official or f"{split}_{stem_of(tree.inside(path))}")
                builder.accept(key, path, split, verdict.label, name, **_frame(path, detection))
        builder.notes += tree.notes
        _note_gaps(split, tree, folders, builder)
    return builder.finish()


def _frame(path: str, detection: Detection) -> dict[str, Any]:
    """Return the clip that a frame of SFEW is of, and its number; nothing for other images."""
    if detection.layout.source != "sfew" or (match := FRAME_NAME.fullmatch(name_of(path))) is None:
        return {}
    return {"sequence": match["sequence"], "extra": {"frame": int(match["frame"])}}


def _own_classes(detection: Detection) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return folder name -> class, and the classes that are there; of a known data set all that it can have, as ()."""
    if detection.layout.source != "folder":
        return detection.class_folders, ()
    names = sorted(set(detection.class_folders.values()), key=natural_key)
    classes = union_classes(names)
    called = {name: classes[number] for name, number in zip(names, map_ids(names, classes), strict=True)}
    return {folder: called[name] for folder, name in detection.class_folders.items()}, classes


def _note_gaps(split: str, tree: ClassTree, folders: Mapping[str, str], builder: LayoutScan) -> None:
    empty = [name for name, paths in tree.by_class.items() if not paths and name in folders]
    builder.notes += [f"Warning: class folder {below(tree.folder, name)} is empty." for name in empty]
    if not tree.by_class:
        return  # its images have no labels, which each is rejected for
    present = {folders[name] for name in tree.by_class if name in folders}
    absent = [name for name in builder.classes if name in set(folders.values()) and name not in present]
    if absent:
        builder.notes.append(f"Warning: {split} has no folder of {', '.join(absent)}, which other splits have.")
