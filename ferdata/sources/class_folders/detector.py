"""Detect class folders, by name or by number."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import AFFECTNET_ALL, ALPHABETICAL_7, FER2013, KNOWN_NAMES, RAFDB_BASIC, common_name, name_key
from ferdata.sources.affectnet.totals import RELEASE_2021
from ferdata.sources.caers.totals import CAERS_FULL
from ferdata.sources.class_folders.class_tree import refuse_other_classes_inside
from ferdata.sources.class_folders.likeness import named_like, note_likeness
from ferdata.sources.class_folders.orders import find_number_order
from ferdata.sources.class_folders.own_classes import PARTS, find_own_classes, holds_images, merged_spellings
from ferdata.sources.class_folders.reader import scan
from ferdata.sources.fer2013.totals import FER_FOLDERS
from ferdata.sources.files.listing import Tree, below, name_of, split_of
from ferdata.sources.files.matching import in_order
from ferdata.sources.layout import Asked, Detection, Layout
from ferdata.sources.rafdb.totals import RAF_FULL, RAF_REDUCED
from ferdata.sources.sfew.totals import SFEW_SCENES
from ferdata.sources.unread import DERIVED_FOLDERS

__all__ = ["FOLDER_LAYOUTS", "class_places", "find_class_folders"]

_MOST_NAMES = 40


def find_class_folders(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Return the split folders and the class each class folder stands for, or None where there are no class folders.

    Raises:
        LayoutError: If a class folder's name is not known, or numbers do not fit the order that ``labels`` asks for.
        AmbiguousLayoutError: If numbers can be read in several orders and ``labels`` does not say which, or if a class
            folder holds split folders or other classes.
    """
    source = asked.source
    splits = _splits(tree, folder)
    names = sorted({name for path in splits.values() for name in _class_dirs(tree, path)})
    numbers = {name: int(name_key(name)) for name in names if name_key(name).isdecimal()}
    known = {name: alias for name in names if (alias := common_name(name)) in AFFECTNET_ALL}
    has_splits = splits.get("train") != folder
    if split_names := [name for name in names if split_of(name)]:
        classes = names if source == "folder" else [*known, *numbers]
        _refuse_splits_beside_classes(tree, folder, splits, split_names, classes)
        return None
    if source == "folder" and (own := find_own_classes(tree, splits, names)):
        told = (*_split_notes(splits), *merged_spellings(own), *_note_one_class(own))
        return Detection(layout=FOLDER_LAYOUTS[source], root=folder, splits=splits, class_folders=own, notes=told)
    is_likely = bool(known or numbers or has_splits) and 0 < len(names) <= _MOST_NAMES
    if not is_likely or PARTS & {name_key(name) for name in names}:
        return None
    files = _files(tree, splits)
    like = named_like(files)
    for place in class_places(tree, folder):
        refuse_other_classes_inside(tree.store, name_of(place), place, tree.folder(place).dirs, names)
    notes: tuple[str, ...] = ()
    if len(numbers) == len(names):
        if max(numbers.values()) >= len(AFFECTNET_ALL):
            return None
        counts = {split: _counts(tree, path) for split, path in splits.items()}
        where = tree.store.path(folder)
        known, notes = find_number_order(where, numbers, counts, is_rafdb=like == "rafdb", labels=asked.labels)
    unknown = [name for name in names if name not in known]
    is_own = source != "folder" and bool(unknown) and _may_be_own(tree, splits, names)
    are_classes = bool(unknown) and (bool(known) or is_own) and (has_splits or len(known) > 1)
    if are_classes and any(any(_counts(tree, path).values()) for path in splits.values()):
        raise LayoutError(
            f"{tree.store.path(folder)}: class folder {', '.join(map(repr, unknown))} found, "
            f"expected only known class names ({KNOWN_NAMES}); rename the folder or move it away"
            f"{', or use source ' + repr('folder') + ' for classes of your own' if is_own else ''}"
        )
    if unknown:
        return None
    layout = _layout_of(source, like)
    if layout.source in ("folder", "affectnet"):
        notes += note_likeness(FOLDER_LAYOUTS, _totals(tree, splits), known.values(), files)
    return Detection(
        layout=layout,
        root=folder,
        splits=splits,
        class_folders=known,
        notes=(*notes, *_split_notes(splits), *merged_spellings(known)),
    )


def _layout_of(source: str | None, like: str | None) -> Layout:
    """Return the layout of class folders: what the images' names prove, unless they are to be read as any others."""
    if source == "folder":
        return FOLDER_LAYOUTS[source]
    return FOLDER_LAYOUTS.get(like or source or "affectnet", FOLDER_LAYOUTS["folder"])


def _may_be_own(tree: Tree, splits: Mapping[str, str], names: Sequence[str]) -> bool:
    try:
        return find_own_classes(tree, splits, names) is not None
    except AmbiguousLayoutError:
        return False


def class_places(tree: Tree, folder: str) -> list[str]:
    """Return what class folders ``folder`` would have: those below its split folders, else its own."""
    return [below(path, name) for path in _splits(tree, folder).values() for name in _class_dirs(tree, path)]


def _refuse_splits_beside_classes(
    tree: Tree, folder: str, splits: Mapping[str, str], split_names: Sequence[str], class_names: Sequence[str]
) -> None:
    others = [name for name in class_names if name not in split_names]
    if holding := [name for name in others if any(holds_images(tree, below(path, name)) for path in splits.values())]:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: split folder {', '.join(map(repr, split_names))} found beside class folder "
            f"{', '.join(map(repr, holding[:8]))}, expected class folders below split folders alone; "
            "move one of them away"
        )


def _splits(tree: Tree, folder: str) -> dict[str, str]:
    """Return split -> folder where one split folder at least holds folders; one of images alone is without labels."""
    named = [(split, name) for name in tree.folder(folder).dirs if (split := split_of(name))]
    with_classes = [name for _, name in named if _class_dirs(tree, below(folder, name))]
    found: dict[str, str] = {}
    for split, name in named if with_classes else ():
        if name not in with_classes and not tree.folder(below(folder, name)).images:
            continue
        if split in found:
            raise AmbiguousLayoutError(
                f"{tree.store.path(folder)}: "
                f"{found[split]!r} and {name!r} found, expected one folder for split {split}; move one away"
            )
        found[split] = below(folder, name)
    return in_order(found) or {"train": folder}


def _split_notes(splits: Mapping[str, str]) -> tuple[str, ...]:
    if "train" not in splits:
        return ("No train split found.",)
    return ("No val and no test split found.",) if len(splits) == 1 else ()


def _note_one_class(class_folders: Mapping[str, str]) -> tuple[str, ...]:
    first, *more = set(class_folders.values())
    return () if more else (f"Warning: all images are of one class, {first}, as there is one class folder.",)


def _class_dirs(tree: Tree, split_folder: str) -> list[str]:
    return [name for name in tree.folder(split_folder).dirs if name.lower() not in DERIVED_FOLDERS]


def _counts(tree: Tree, split_folder: str) -> dict[str, int]:
    return {name: len(tree.folder(below(split_folder, name)).images) for name in _class_dirs(tree, split_folder)}


def _totals(tree: Tree, splits: Mapping[str, str]) -> dict[str, int]:
    return {split: sum(_counts(tree, path).values()) for split, path in splits.items()}


def _files(tree: Tree, splits: Mapping[str, str]) -> list[str]:
    """Return what the images in class folders are called."""
    folders = [tree.folder(below(path, name)) for path in splits.values() for name in _class_dirs(tree, path)]
    return [file for folder in folders for file in folder.images]


_AN_FOLDERS = Layout(
    name="AN-folders",
    source="affectnet",
    detector=find_class_folders,
    scan=scan,
    evidence="names",
    releases=(replace(RELEASE_2021, is_only=False),),
)
FOLDER_LAYOUTS: Mapping[str, Layout] = {
    layout.source: layout
    for layout in (
        _AN_FOLDERS,
        replace(
            _AN_FOLDERS,
            name="RAF-folders",
            source="rafdb",
            classes=RAFDB_BASIC,
            releases=(replace(RAF_FULL, is_only=False), RAF_REDUCED),
        ),
        replace(_AN_FOLDERS, name="FER-folders", source="fer2013", classes=FER2013, releases=FER_FOLDERS),
        replace(_AN_FOLDERS, name="CAER-S-folders", source="caers", classes=ALPHABETICAL_7, releases=(CAERS_FULL,)),
        replace(_AN_FOLDERS, name="SFEW-folders", source="sfew", classes=ALPHABETICAL_7, releases=(SFEW_SCENES,)),
        replace(_AN_FOLDERS, name="folder", source="folder", releases=()),
    )
}
"""Source -> the layout of its class folders; which one a tree is, the user says."""
