"""Read class folders: AffectNet's, RAF-DB's, or a tree with expressions of its own.

In: split folders (or none: everything is train) whose sub-folders are classes. Out: a :class:`Scan`. Costs one listing of each
folder; no image is opened.
"""

from collections.abc import Mapping, Sequence

from ferdata.errors import SourceError
from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.class_folders.class_tree import ClassTree, list_class_tree
from ferdata.sources.class_rules import ClassRules
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import below, natural_key
from ferdata.sources.files.matching import KeyMaker, stem_of
from ferdata.sources.rafdb.reader import RAF_STEM
from ferdata.sources.scan import Scan, ScanBuilder, ScanOptions
from ferdata.sources.totals import finish_scan
from ferdata.store import Store

__all__ = ["own_classes", "scan"]


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every image of a tree of class folders into accepted, skipped or rejected.

    Detection says which class each folder is; folders it does not name are no class folders. Where a class is none of
    AffectNet's, the source has classes of its own.

    Raises:
        AmbiguousLayoutError: If a class folder holds split folders or other classes.
        SourceError: If no class folder holds an image.
    """
    builder = ScanBuilder()
    keys = KeyMaker()
    folders = detection.class_folders
    own = own_classes(folders)
    rules = ClassRules(builder, options, source=detection.source)
    trees = {split: list_class_tree(store, folder, only=folders.keys()) for split, folder in (detection.splits or {"train": ""}).items()}
    if not any(paths for tree in trees.values() for paths in tree.by_class.values()):
        raise SourceError(f"{store.path()}: no image in class folders {', '.join(folders)}, expected images in them; unpack archives first")
    for split, tree in trees.items():
        for name, path in tree.images():
            if not name:
                builder.reject(path, "label_missing", "in no class folder", split=split)
                continue
            label = own.index(folders[name]) if own else rules.label(folders[name], split)
            if label is not None:
                builder.accept(key=keys.make(_key(split, tree, path, detection)), path=path, split=split, label=label, source_label=name)
        builder.notes += tree.notes
        _note_gaps(split, tree, own or rules.names, folders, builder)
    return finish_scan(builder, detection, own or rules.names, left_out=rules.left_out)


def own_classes(class_folders: Mapping[str, str]) -> tuple[str, ...]:
    """Return the class names of a source with expressions of its own, in natural order; none where all are AffectNet's."""
    names = set(class_folders.values())
    if names <= set(AFFECTNET_ALL):
        return ()
    return tuple(sorted(names, key=natural_key))


def _key(split: str, tree: ClassTree, path: str, detection: Detection) -> str:
    """Return the stem of an official RAF-DB image, else the split and the path without its extension."""
    official = RAF_STEM.fullmatch(stem_of(path.rsplit("/", 1)[-1])) if detection.source == "rafdb" else None
    return f"{official[1].lower()}_{official[2]}" if official else f"{split}_{stem_of(tree.inside(path))}"


def _note_gaps(split: str, tree: ClassTree, classes: Sequence[str], folders: Mapping[str, str], builder: ScanBuilder) -> None:
    empty = [name for name, paths in tree.by_class.items() if not paths and name in folders]
    builder.notes += [f"Warning: class folder {below(tree.folder, name)} is empty." for name in empty]
    present = {folders[name] for name in tree.by_class if name in folders}
    absent = [name for name in classes if name in set(folders.values()) and name not in present]
    if absent:
        builder.notes.append(f"Warning: {split} has no folder of {', '.join(absent)}, which other splits have.")
