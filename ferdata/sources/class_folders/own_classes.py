"""Class folders with expressions of a user's own: under source ``folder`` alone, each folder names its class."""

import re
from collections.abc import Mapping, Sequence

from ferdata.errors import AmbiguousLayoutError, StoreError
from ferdata.labels import AFFECTNET_ALL, canonical_name, meanings, name_key, plain_name
from ferdata.sources.files.listing import Tree, below, is_image_at, name_of, printable, shorten, split_of

__all__ = ["PARTS", "find_own_classes", "holds_images", "is_annotation_file", "merged_spellings"]

PARTS = frozenset((
    "images", "image", "imgs", "img", "jpegimages", "imagesets", "segmentationclass", "segmentationobject",
    "annotations", "annotation", "labels", "label", "xml", "xmls", "json", "bboxes",
    "valence", "arousal", "emotion", "landmarks",
))  # fmt: skip
"""Folders of all images, or all labels, of a data set whose labels are not folder names (COCO, VOC, YOLO, AN-npy)."""

_FORMS = re.compile(
    r"(original|aligned|cropped|resized|mask)s?([ _-]?(images?|faces?))?|(manually|automatically)_annotated.*"
)
_MIN_FOLDERS_WITH_IMAGES = 2
_ANNOTATION_ENDINGS = (
    ".csv", ".tsv", ".json", ".jsonl", ".xml", ".npy", ".parquet", ".pkl", ".pickle", ".lst", ".yaml", ".yml",
)  # fmt: skip


def find_own_classes(tree: Tree, splits: Mapping[str, str], names: Sequence[str]) -> dict[str, str] | None:
    """Return folder name -> class name, or None where the folders are known classes or no class folders at all.

    Folders of all images, such as ``images/`` or ``train2017/``, are no classes. One name that is no known class, a
    number that no known order has, or calm beside neutral makes all of them the user's own. Names alike to
    :func:`ferdata.labels.name_key`, as those that differ in case between splits, are one class under the spelling met
    first.

    Args:
        tree: Listings of the source.
        splits: Split -> split folder.
        names: Names of the class folders of all splits.

    Raises:
        AmbiguousLayoutError: If there are no splits and one folder holds its images further down than the others.
    """
    has_splits = any(split_of(name_of(path)) for path in splits.values())
    holding = [name for name in names if any(holds_images(tree, below(path, name)) for path in splits.values())]
    has_own = any(map(_is_own, names)) or "calm" in map(name_key, meanings(names))
    if not holding or (not has_splits and len(holding) < _MIN_FOLDERS_WITH_IMAGES) or not has_own:
        return None
    is_part = bool(PARTS & {name_key(name) for name in names})
    if is_part or all(map(_names_no_class, holding)) or _is_all_images(tree, splits, holding):
        return None
    if not has_splits:
        _refuse_wrapper(tree, splits, names, holding)
    spelling: dict[str, str] = {}
    for path in splits.values():
        for name in tree.folder(path).dirs:
            if name in names:
                spelling.setdefault(_class_key(name), plain_name(name) or ascii(name))
    return {name: printable(spelling[_class_key(name)]) for name in names}


def merged_spellings(class_folders: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on class folders whose names are spellings of one name and are read as one class, or none."""
    spellings: dict[tuple[str, str], list[str]] = {}
    for name, class_name in class_folders.items():
        spellings.setdefault((class_name, _class_key(name)), []).append(name)
    several = [(class_name, names) for (class_name, _), names in spellings.items() if len(names) > 1]
    shown = [f"{' and '.join(map(ascii, names))} as {class_name}" for class_name, names in several]
    note = f"Class folders whose names are spelled differently are read as one class: {shorten(shown)}."
    return (note,) if shown else ()


def is_annotation_file(name: str) -> bool:
    """Tell whether a file name is that of a table or an annotation file, which may say what images show."""
    lower = name.lower()
    return lower.endswith(_ANNOTATION_ENDINGS) or (
        lower.endswith(".txt") and any(word in lower for word in ("label", "annot", "list"))
    )


def _is_all_images(tree: Tree, splits: Mapping[str, str], holding: Sequence[str]) -> bool:
    """Tell whether the only folder of images has an annotation file in it, beside it or above: it is no class then."""
    if len(set(map(_class_key, holding))) > 1:
        return False
    above = {path.rpartition("/")[0] for path in splits.values()}
    inside = {below(path, name) for path in splits.values() for name in tree.folder(path).dirs if name in holding}
    return any(
        is_annotation_file(name) for path in {*above, *splits.values(), *inside} for name in tree.folder(path).files
    )


def _names_no_class(name: str) -> bool:
    """Tell whether a folder's name says which split or form of the images it holds: ``train2017``, ``aligned``."""
    key = name_key(name)
    return _FORMS.fullmatch(key) is not None or any(map(split_of, re.findall(r"[a-z]+", key)))


def _refuse_wrapper(tree: Tree, splits: Mapping[str, str], names: Sequence[str], holding: Sequence[str]) -> None:
    """Refuse a folder of folders beside folders of images: beside ``plots/1.png``, ``data/smile/1.jpg`` is no class."""
    for path in (below(folder, name) for folder in splits.values() for name in names if name not in holding):
        inside = [name for name in tree.folder(path).dirs if holds_images(tree, below(path, name))]
        if inside:
            raise AmbiguousLayoutError(
                f"{tree.store.path(path)}: images in {', '.join(map(repr, inside[:8]))} found, "
                f"but {', '.join(map(repr, holding[:8]))} beside it hold images of their own, "
                f"expected all classes alike; give {tree.store.path(path)}, or move away what is no class"
            )


def _class_key(name: str) -> str:
    key = name_key(name)
    return str(int(key)) if key.isdecimal() else key


def _is_own(name: str) -> bool:
    key = name_key(name)
    return int(key) >= len(AFFECTNET_ALL) if key.isdecimal() else canonical_name(name) is None


def holds_images(tree: Tree, folder: str) -> bool:
    """Tell whether an image lies in the folder itself; a folder that is not there or cannot be listed holds none."""
    try:
        return bool(tree.peek(folder, lambda name: is_image_at(tree.store, folder, name)))
    except StoreError:
        return False
