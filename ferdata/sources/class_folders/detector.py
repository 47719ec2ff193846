"""Markers 11 and 12: class folders, by name or by number, and the order that settles what a number means."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import AFFECTNET_8, AFFECTNET_ALL, ALPHABETICAL_7, ALPHABETICAL_8, FER2013, RAFDB_BASIC, canonical_name, name_key
from ferdata.sources.class_folders.class_tree import refuse_other_classes_inside
from ferdata.sources.class_folders.own_classes import PARTS, find_own_classes, holds_images, merged_spellings
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.rafdb.detector import RAF_BASIC_STEM
from ferdata.sources.totals import AFFECTNET_TRAIN, RAFDB_TRAIN
from ferdata.sources.unread import DERIVED_FOLDERS

__all__ = ["class_places", "find_class_folders", "find_number_order"]

_TABLES = (
    dict(AFFECTNET_TRAIN),
    {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8},
    {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8[:7]},
    dict(RAFDB_TRAIN),
)
_OTHER_NAMES = {"none": "None", "uncertain": "Uncertain", "no-face": "No-Face", "noface": "No-Face", "no_face": "No-Face"}
_MOST_NAMES = 40
_ALIASES = (
    "neutral, normal, calm, happy, happiness, joy, sad, sadness, surprise, surprised, fear, fearful, afraid, disgust, disgusted, "
    "anger, angry, contempt"
)


@dataclass(frozen=True, slots=True)
class _Order:
    """One way to read numbers: class names in number order, what to call it, and the option that asks for it."""

    names: tuple[str, ...]
    title: str
    option: str | None


def find_class_folders(tree: Tree, folder: str, *, source: str | None, labels: str | None) -> Detection | None:
    """Return the split folders and the class each class folder stands for, or None where there are no class folders.

    Raises:
        LayoutError: If a class folder's name is not known, or numbers do not fit the order that ``labels`` asks for.
        AmbiguousLayoutError: If numbers can be read in several orders and ``labels`` does not say which, or if a class folder holds
            split folders or other classes.
    """
    splits = _splits(tree, folder)
    names = sorted({name for path in splits.values() for name in _class_dirs(tree, path)})
    numbers = {name: int(name_key(name)) for name in names if name_key(name).isdecimal()}
    known = {name: alias for name in names if (alias := canonical_name(name) or _OTHER_NAMES.get(name_key(name)))}
    has_splits = splits.get("train") != folder
    if split_names := [name for name in names if split_of(name)]:
        _refuse_splits_beside_classes(tree, folder, splits, split_names, names if source == "folder" else [*known, *numbers])
        return None
    if source == "folder" and (own := find_own_classes(tree, splits, names)):
        given, notes = tree.store.path(), (*_split_notes(splits), *merged_spellings(own), *_note_one_class(own))
        return Detection(layout="folder", source="folder", root=folder, given=given, splits=splits, class_folders=own, notes=notes)
    if not (known or numbers or has_splits) or not 0 < len(names) <= _MOST_NAMES or PARTS & {name_key(name) for name in names}:
        return None
    is_rafdb = _has_raf_stems(tree, splits)
    for place in class_places(tree, folder):
        refuse_other_classes_inside(tree.store, place.rsplit("/", 1)[-1], place, tree.folder(place).dirs, names)
    notes = ()
    if len(numbers) == len(names):
        if max(numbers.values()) >= len(AFFECTNET_ALL):
            return None
        counts = {split: _counts(tree, path) for split, path in splits.items()}
        known, notes = find_number_order(tree.store.path(folder), numbers, counts, is_rafdb=is_rafdb, labels=labels)
    unknown = [name for name in names if name not in known]
    is_own = source != "folder" and bool(unknown) and _may_be_own(tree, splits, names)
    if (
        unknown
        and (known or is_own)
        and (has_splits or len(known) > 1)
        and any(any(_counts(tree, path).values()) for path in splits.values())
    ):
        raise LayoutError(
            f"{tree.store.path(folder)}: class folder {', '.join(map(repr, unknown))} found, expected only known class names ({_ALIASES}); "
            f"rename the folder or move it away{', or use source ' + repr('folder') + ' for classes of your own' if is_own else ''}"
        )
    if unknown:
        return None
    is_rafdb = is_rafdb or source == "rafdb"
    layout, of_source = ("RAF-folders", "rafdb") if is_rafdb else ("AN-folders", "affectnet")
    if source == "folder":
        layout, of_source = "folder", "folder"
    notes += (*_split_notes(splits), *merged_spellings(known))
    return Detection(layout=layout, source=of_source, root=folder, given=tree.store.path(), splits=splits, class_folders=known, notes=notes)


def _may_be_own(tree: Tree, splits: Mapping[str, str], names: Sequence[str]) -> bool:
    try:
        return find_own_classes(tree, splits, names) is not None
    except AmbiguousLayoutError:
        return False


def class_places(tree: Tree, folder: str) -> list[str]:
    """Return the paths that are class folders if ``folder`` holds class folders at all: below its split folders, else its own."""
    return [below(path, name) for path in _splits(tree, folder).values() for name in _class_dirs(tree, path)]


def find_number_order(
    where: str, numbers: Mapping[str, int], counts: Mapping[str, Mapping[str, int]], *, is_rafdb: bool, labels: str | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return folder name -> class name for numeric class folders, and notes.

    Args:
        where: The path to name in an error.
        numbers: Folder name -> its number.
        counts: Split -> folder name -> images.
        is_rafdb: Every image has a RAF-DB basic stem.
        labels: The order the user asks for, one of ``LABEL_ORDERS``, or None.
    """
    orders = _orders(set(numbers.values()))
    train = Counter[int]()
    for name, number in counts.get("train", {}).items():
        train[numbers[name]] += number
    first = _first(set(numbers.values()))
    proven = [order for order in orders if _equals_a_table(order, train, first)]
    if labels is not None:
        chosen = next((order for order in orders if order.option == labels), None)
        if chosen is None:
            raise LayoutError(
                f"{where}: numeric class folders {_span(numbers)} found, expected numbers that fit --labels {labels}; "
                f"{'use ' + ' or '.join(sorted({f'--labels {o.option}' for o in orders if o.option})) + ' or ' if orders else ''}"
                f"rename them to class names"
            )
        if len(proven) == 1 and proven[0].names != chosen.names:
            note = f"Warning: --labels {labels} was asked for, but the counts of train equal the known totals in {proven[0].title}."
            return _named(numbers, chosen, first), (note,)
        return _named(numbers, chosen, first), (f"Numeric class folders read in {chosen.title}, as --labels {labels} asks.",)
    if len(proven) == 1:
        return _named(numbers, proven[0], first), (
            f"Numeric class folders read in {proven[0].title}: only there the counts of train equal the known totals.",
        )
    raf_ids = next((order for order in orders if first == 1 and order.option == "rafdb"), None)
    if is_rafdb and raf_ids is not None:
        return _named(numbers, raf_ids, first), ("Numeric class folders 1 to 7 with RAF-DB's file names: read as RAF-DB ids.",)
    raise AmbiguousLayoutError(_question(where, numbers, counts, orders))


def _orders(numbers: set[int]) -> list[_Order]:
    top = max(numbers)
    if 0 in numbers and top > 7:
        return [_Order(AFFECTNET_ALL, "AffectNet order (official ids)", "affectnet")]
    if top == 7 + _first(numbers):
        return [
            _Order(AFFECTNET_8, "AffectNet order", "affectnet"),
            _Order(ALPHABETICAL_8, "alphabetical order", "alphabetical"),
        ]
    if top > 7:
        return []
    # Folders 1..7 under AffectNet's order could be official ids or these plus one, so no option asks for it.
    return [
        _Order(AFFECTNET_8[:7], "AffectNet order", "affectnet" if 0 in numbers else None),
        _Order(RAFDB_BASIC, "RAF id - 1" if 0 in numbers else "RAF ids", "rafdb"),
        _Order(ALPHABETICAL_7, "alphabetical order", "alphabetical" if numbers >= {0} or numbers == set(range(1, 8)) else None),
        _Order(FER2013, "FER2013 order", None),
    ]


def _first(numbers: set[int]) -> int:
    return 0 if 0 in numbers else 1


def _equals_a_table(order: _Order, train: Mapping[int, int], first: int) -> bool:
    found = {name: train.get(number, 0) for number, name in enumerate(order.names, first)}
    return found in _TABLES


def _named(numbers: Mapping[str, int], order: _Order, first: int) -> dict[str, str]:
    return {name: order.names[number - first] for name, number in numbers.items()}


def _question(where: str, numbers: Mapping[str, int], counts: Mapping[str, Mapping[str, int]], orders: Sequence[_Order]) -> str:
    found = "; ".join(
        f"{split}: " + ", ".join(f"{name}: {here[name]:,}" for name in sorted(here, key=lambda name: numbers[name]))
        for split, here in counts.items()
    )
    readings = " or ".join(order.title for order in orders) or "no order with so many classes is known"
    options = sorted({order.option for order in orders if order.option})
    settle = f"name it with --labels {'|'.join(options)}, or " if options else ""
    return (
        f"{where}: {_span(numbers)} are numeric class folders, expected names or an order: {readings}? "
        f"Counts: {found}. Please name the order: {settle}rename the folders to class names"
    )


def _span(numbers: Mapping[str, int]) -> str:
    return ", ".join(sorted(numbers, key=lambda name: numbers[name]))


def _refuse_splits_beside_classes(
    tree: Tree, folder: str, splits: Mapping[str, str], split_names: Sequence[str], class_names: Sequence[str]
) -> None:
    others = [name for name in class_names if name not in split_names]
    if holding := [name for name in others if any(holds_images(tree, below(path, name)) for path in splits.values())]:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: split folder {', '.join(map(repr, split_names))} found beside class folder "
            f"{', '.join(map(repr, holding[:8]))}, expected class folders below split folders alone; move one of them away"
        )


def _splits(tree: Tree, folder: str) -> dict[str, str]:
    """Return split -> folder where one split folder at least holds folders; one that holds nothing but images is a split without labels."""
    named = [(split, name) for name in tree.folder(folder).dirs if (split := split_of(name))]
    with_classes = [name for _, name in named if _class_dirs(tree, below(folder, name))]
    found: dict[str, str] = {}
    for split, name in named if with_classes else ():
        if name not in with_classes and not tree.folder(below(folder, name)).images:
            continue
        if split in found:
            raise AmbiguousLayoutError(
                f"{tree.store.path(folder)}: {found[split]!r} and {name!r} found, expected one folder for split {split}; move one away"
            )
        found[split] = below(folder, name)
    return {split: found[split] for split in ("train", "val", "test") if split in found} or {"train": folder}


def _split_notes(splits: Mapping[str, str]) -> tuple[str, ...]:
    if "train" not in splits:
        return ("No train split found.",)
    return ("No val and no test split found.",) if len(splits) == 1 else ()


def _note_one_class(class_folders: Mapping[str, str]) -> tuple[str, ...]:
    only = set(class_folders.values())
    return tuple(f"Warning: all images are of one class, {name}, as there is one class folder." for name in only if len(only) == 1)


def _class_dirs(tree: Tree, split_folder: str) -> list[str]:
    return [name for name in tree.folder(split_folder).dirs if name.lower() not in DERIVED_FOLDERS]


def _counts(tree: Tree, split_folder: str) -> dict[str, int]:
    return {name: len(tree.folder(below(split_folder, name)).images) for name in _class_dirs(tree, split_folder)}


def _has_raf_stems(tree: Tree, splits: Mapping[str, str]) -> bool:
    folders = [tree.folder(below(path, name)) for path in splits.values() for name in _class_dirs(tree, path)]
    files = [file for folder in folders for file in folder.images]
    return bool(files) and all(RAF_BASIC_STEM.fullmatch(file) for file in files)
