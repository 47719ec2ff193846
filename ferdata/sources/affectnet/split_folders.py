"""Markers 1 to 5: releases whose split folders hold images and labels side by side (AN-plus, AN-npy, AN-va, AN-yolo)."""

import os
from collections.abc import Mapping, Sequence

from ferdata.errors import AmbiguousLayoutError
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import Folder, Tree, below, iter_names, split_of

__all__ = ["find_affectnet_npy", "find_affectnet_plus", "find_affectnet_va", "find_one_split", "find_yolo", "split_folders"]

_HUMAN, _AUTOMATIC = "human_annotated", "no_human_annotated"
_ENOUGH_NAMES = 4096
_ENOUGH_JSON = 16
_MAX_WRAPPERS = 8


def split_folders(tree: Tree, folder: str, kinds: Sequence[str]) -> dict[str, str]:
    """Return split -> folder for the split folders that hold a sub-folder of one of these ``kinds``, in any case.

    A split folder inside another one is taken for what its own name says: an archive of the val set is known to unpack as
    ``test_set/val_set``.

    Raises:
        AmbiguousLayoutError: If two folders claim the same split.
    """
    found: dict[str, str] = {}
    for name in tree.folder(folder).dirs:
        split, path = split_of(name), below(folder, name)
        if split is None:
            continue
        inner = tree.folder(path)
        if not any(inner.dir(kind) for kind in kinds):
            inside = [child for child in inner.dirs if split_of(child)]
            if len(inside) != 1:
                continue
            split, path = split_of(inside[0]) or split, below(path, inside[0])
            if not any(tree.folder(path).dir(kind) for kind in kinds):
                continue
        if split in found:
            raise AmbiguousLayoutError(
                f"{tree.store}: {found[split]!r} and {path!r} found, expected one folder for split {split}; move one of them away"
            )
        found[split] = path
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def find_affectnet_plus(tree: Tree, folder: str) -> Detection | None:
    """Marker 1: ``human_annotated/`` or ``no_human_annotated/``, or split folders with ``annotations/*.json``."""
    here = tree.folder(folder)
    automatic = _with_pairs(tree, here.dir(_AUTOMATIC))
    human = here.dir(_HUMAN)
    for _ in range(_MAX_WRAPPERS):
        human = (human and tree.folder(human).dir(_HUMAN)) or human
    splits = split_folders(tree, human, ("images", "annotations")) if human else {}
    if not splits and not automatic:
        splits = split_folders(tree, folder, ("images", "annotations"))
        if not _any_annotation(tree, splits, "AN-plus"):
            return None
    return _detection(tree, folder, "AN-plus", splits, folders={"automatic": automatic} if automatic else {})


def find_affectnet_npy(tree: Tree, folder: str) -> Detection | None:
    """Marker 2: split folders with ``images/`` and ``annotations/*_exp.npy``."""
    splits = split_folders(tree, folder, ("images", "annotations"))
    return _detection(tree, folder, "AN-npy", splits) if _any_annotation(tree, splits, "AN-npy") else None


def find_one_split(tree: Tree, folder: str) -> Detection | None:
    """Marker 3: ``images/`` and ``annotations/`` directly in the folder; its own name, or a parent's, says which split it is.

    Raises:
        AmbiguousLayoutError: If no name says which split it is.
    """
    here = tree.folder(folder)
    annotations = here.dir("annotations")
    if not here.dir("images") or not annotations:
        return None
    layout = _annotation_layout(tree, annotations)
    if layout is None:
        return None
    full = os.path.abspath(tree.store.path(folder)) if tree.store.is_local else tree.store.path(folder)
    names = full.rstrip("/").split("/")[::-1][: 1 + len([part for part in folder.split("/") if part])]
    if layout == "AN-plus" and names[0].lower() == _AUTOMATIC:
        return _detection(tree, folder, layout, {}, folders={"automatic": folder})
    split = next((split for split in map(split_of, names) if split), None)
    if split is None:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: one split of {layout} found (images/ and annotations/), expected a folder name that says which: "
            f"train_set or val_set; rename the folder or give the folder above it"
        )
    return _detection(tree, folder, layout, {split: folder})


def find_affectnet_va(tree: Tree, folder: str) -> Detection | None:
    """Marker 4: split folders with ``images/``, ``valence/``, ``arousal/`` and ``emotion/``."""
    kinds = ("images", "valence", "arousal", "emotion")
    splits = split_folders(tree, folder, kinds)
    whole = any(all(tree.folder(path).dir(kind) for kind in kinds) for path in splits.values())
    return _detection(tree, folder, "AN-va", splits, wanted=("train", "val", "test")) if whole else None


def find_yolo(tree: Tree, folder: str) -> Detection | None:
    """Marker 5: split folders with ``images/`` and ``labels/*.txt``; ``data.yaml`` beside them or one folder up."""
    here = tree.folder(folder)
    names = _names_file(here)
    bases = [folder, below(folder, here.dirs[0])] if names and len(here.dirs) == 1 else [folder]
    for base in bases:
        splits = {
            split: path
            for split, path in split_folders(tree, base, ("images", "labels")).items()
            if tree.folder(path).dir("images") or _labels(tree, path)
        }
        if any(tree.folder(path).dir("images") and _labels(tree, path) for path in splits.values()):
            inside = (f"{labels}/classes.txt" for path in splits.values() if (labels := tree.folder(path).dir("labels")))
            names = names or _names_file(tree.folder(base)) or next(filter(tree.store.exists, inside), None)
            wanted = ("train", "val", "test")
            return _detection(tree, folder, "AN-yolo", splits, files={"names": names} if names else {}, wanted=wanted)
    return None


def _names_file(folder: Folder) -> str | None:
    """Return the file with the names of the classes: ``data.yaml``, else the only other YAML file, else a list of names."""
    yamls = [name for name in folder.files if name.lower().endswith((".yaml", ".yml"))]
    official = folder.file("data.yaml") or folder.file("data.yml")
    only = below(folder.path, yamls[0]) if len(yamls) == 1 else None
    return official or only or folder.file("classes.txt") or folder.file("obj.names")


def _labels(tree: Tree, split_folder: str) -> bool:
    labels = tree.folder(split_folder).dir("labels")
    return labels is not None and bool(tree.peek(labels, lambda name: name.lower().endswith(".txt")))


def _with_pairs(tree: Tree, folder: str | None) -> str | None:
    for _ in range(_MAX_WRAPPERS):
        here = tree.folder(folder) if folder is not None else None
        if here is None or (here.dir("images") and here.dir("annotations")):
            return folder
        folder = below(here.path, here.dirs[0]) if len(here.dirs) == 1 else None
    return None


def _any_annotation(tree: Tree, splits: Mapping[str, str], layout: str) -> bool:
    found = (tree.folder(path).dir("annotations") for path in splits.values())
    return any(_annotation_layout(tree, annotations) == layout for annotations in found if annotations)


def _annotation_layout(tree: Tree, annotations: str) -> str | None:
    """Return the layout whose annotation files a folder holds; of a folder of a million ``.npy`` files only the first are read.

    AN-plus has one JSON file an image; a folder whose first ones belong to no image holds another data set's (COCO).
    """
    has_npy = False
    others = 0
    for count, (name, is_dir) in enumerate(iter_names(tree.store, annotations)):
        lower = name.lower()
        if lower.endswith(".json") and not is_dir and others < _ENOUGH_JSON:
            if _is_of_image(tree, annotations, name[: -len(".json")]):
                return "AN-plus"
            others += 1
        has_npy = has_npy or lower.endswith("_exp.npy")
        if has_npy and count >= _ENOUGH_NAMES:
            break
    return "AN-npy" if has_npy else None


def _is_of_image(tree: Tree, annotations: str, stem: str) -> bool:
    images = tree.folder(annotations.rpartition("/")[0]).dir("images")
    return stem.isdecimal() or any(tree.store.exists(below(images or "", stem + suffix)) for suffix in (".jpg", ".png", ".jpeg"))


def _detection(
    tree: Tree,
    folder: str,
    layout: str,
    splits: Mapping[str, str],
    *,
    files: Mapping[str, str] | None = None,
    folders: Mapping[str, str] | None = None,
    wanted: tuple[str, ...] = (),
) -> Detection:
    missing = [split for split in wanted if split not in splits]
    notes = (f"No {' and no '.join(missing)} split found.",) if missing else ()
    return Detection(
        layout=layout,
        source="affectnet",
        root=folder,
        given=tree.store.path(),
        splits=splits,
        files=files or {},
        folders=folders or {},
        notes=notes,
    )
