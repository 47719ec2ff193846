"""Detect SFEW where it has folders of aligned faces, beside its scenes, among them or alone."""

import re
from dataclasses import replace

from ferdata.errors import LayoutError
from ferdata.labels import ALPHABETICAL_7, common_name
from ferdata.sources.class_folders.reader import scan as scan_class_folders
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.files.matching import in_order
from ferdata.sources.layout import Asked, Detection, Layout
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan
from ferdata.sources.sfew.totals import SFEW_FACES, SFEW_SCENES
from ferdata.store import Store

__all__ = ["SFEW_ALIGNED"]

_FACES = re.compile(r"(train|val|test)_aligned_faces(_new)?", re.IGNORECASE)
_SPLITS = ("train", "val", "test")


def _scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Read the aligned faces, or the scenes if they are asked for.

    Raises:
        LayoutError: If they are asked for and not there.
        SourceError: If no class folder holds an image.
    """
    if options.rafdb_images == "aligned":
        return scan_class_folders(store, detection, options)
    if not detection.folders:
        raise LayoutError(
            f"{detection.root}: rafdb_images original asked for, but only aligned faces found, expected class folders "
            "in Train/ and Val/; leave rafdb_images= out, or unpack the scenes too"
        )
    return scan_class_folders(store, replace(detection, splits=in_order(detection.folders)), options)


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for folders such as ``Train_Aligned_Faces`` that hold class folders, here or in the splits' own folders.

    Raises:
        LayoutError: If a class folder's name is not known.
    """
    own = {split: below(folder, name) for name in tree.folder(folder).dirs if (split := split_of(name)) in _SPLITS}
    faces: dict[str, str] = {}
    same: list[str] = []
    for path in (below(place, name) for place in (folder, *own.values()) for name in tree.folder(place).dirs):
        if (match := _FACES.fullmatch(path.rpartition("/")[2])) is None:
            continue
        split = match[1].lower()
        # Those called new are the release's own correction.
        same += [other for other in (faces.get(split),) if other is not None and match[2]]
        same += [path] if split in faces and not match[2] else []
        faces[split] = path if match[2] else faces.get(split, path)
    names = {name for split in ("train", "val") if split in faces for name in tree.folder(faces[split]).dirs}
    classes = {name: found for name in names if (found := common_name(name)) in ALPHABETICAL_7}
    if not classes:
        return None  # frames of videos are called like this too: AFEW
    if unknown := sorted(names - classes.keys()):
        raise LayoutError(
            f"{tree.store.path(folder)}: class folder {', '.join(map(repr, unknown))} found in aligned faces, "
            f"expected only {', '.join(ALPHABETICAL_7)}; rename the folder or move it away"
        )
    scenes = {split: path for split, path in own.items() if _holds_classes(tree, path, split, classes)}
    notes = [f"Aligned faces are read; rafdb_images=original reads the scenes in {', '.join(scenes.values())}."]
    return Detection(
        layout=SFEW_ALIGNED,
        root=folder,
        splits=in_order(faces),
        folders=scenes,
        class_folders=classes,
        same=tuple(same),
        notes=tuple(notes) if scenes else (),
    )


def _holds_classes(tree: Tree, path: str, split: str, classes: dict[str, str]) -> bool:
    """Tell whether a split's own folder holds scenes: in class folders, but for test."""
    here = tree.folder(path)
    classes.update({name: found for name in here.dirs if (found := common_name(name)) in ALPHABETICAL_7})
    return bool(set(here.dirs) & classes.keys()) or (split == "test" and bool(here.images))


SFEW_ALIGNED = Layout(
    name="SFEW-aligned",
    source="sfew",
    detector=_find,
    scan=_scan,
    sign="Train_Aligned_Faces with class folders",
    evidence="names",
    classes=ALPHABETICAL_7,
    releases=(SFEW_FACES, replace(SFEW_SCENES, is_only=False)),
    has_originals=True,
)
