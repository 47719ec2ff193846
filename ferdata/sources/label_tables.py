"""Tables in a source that look like labels: which of them are, and a stop where folders would be believed instead.

In: a tree and what was found in it. Out: notes, or an error that names the table. Costs one read of 64 kB a table, and
the whole of one that has to be compared with class folders.
"""

import re
from collections.abc import Iterator, Mapping

from ferdata.errors import LayoutError
from ferdata.labels import canonical_name, name_key
from ferdata.sources.files.listing import Tree, below, is_image, name_of, shorten
from ferdata.sources.files.matching import whole_number
from ferdata.sources.files.text_tables import find_columns, is_table, iter_rows, plain_name, read_head, role_columns
from ferdata.sources.layout import Detection

__all__ = ["DERIVED_TABLES", "check_tables", "is_class_table", "is_derived"]

DERIVED_TABLES = frozenset((
    "affectnet.csv", "affectnet_train.csv", "affectnet_val.csv",
    "train_annotations_7class.txt", "valid_annotations_7class.txt",
))  # fmt: skip
"""Caches that tools leave in a release, in lower case; never labels."""

_LISTS = (".txt", ".lst")
_NO_TEXT = (".xlsx", ".xls", ".ods", ".npy", ".jsonl")
_HINT = re.compile(r"label|annot|emotion|express")
_SAMPLE_ROWS = 50
_MOST_CLASSES = 11


def is_derived(tree: Tree, path: str) -> bool:
    """Tell whether a file is a cache or a dump that somebody's tool made, by its name or its columns."""
    if name_of(path).lower() in DERIVED_TABLES:
        return True
    if not is_table(path):
        return False
    header = [name.lower() for name in read_head(tree.store, path).header]
    return header[-3:] == ["phase", "img_path", "label"] or {"number", "exp", "val", "aro"} <= set(header)


def is_class_table(tree: Tree, path: str) -> bool:
    """Tell whether a table has a column for images and one for labels, most of which are names of known classes."""
    rows = read_head(tree.store, path).rows
    paths, labels = role_columns(rows[0]) if rows else ([], [])
    if len(paths) != 1 or len(labels) != 1 or is_derived(tree, path):
        return False
    cells = [row[labels[0]] for row in rows[1 : 1 + _SAMPLE_ROWS] if len(row) > labels[0]]
    return bool(cells) and 2 * sum(canonical_name(cell) is not None for cell in cells) > len(cells)


def check_tables(tree: Tree, found: Detection, used: set[str]) -> list[str]:
    """Return notes on the tables that are not read.

    Args:
        tree: Listings of the source.
        found: What was found, with paths relative to the tree.
        used: The paths it reads.

    Raises:
        LayoutError: If class folders give the labels, and a table beside them differs or cannot be understood.
    """
    notes: list[str] = []
    unread: list[str] = []
    for path in _tables(tree, found, used):
        problem = _problem(tree, path)
        if problem is None:
            continue
        if not found.class_folders:
            unread.append(path)
        elif problem:
            raise LayoutError(
                f"{tree.store.path(path)}: {problem} found, expected a table with a header for the image (image, path, "
                "pth, filename) and the label (label, emotion, expression, class); "
                "correct it, or move it away if the class folders are right"
            )
        else:
            _compare_with_folders(tree, path, found)
            notes.append(f"{path} gives every image the class of its folder.")
    if unread:
        notes.append(f"Ignored tables that {found.layout} does not read: {shorten(unread)}.")
    return notes


def _tables(tree: Tree, found: Detection, used: set[str]) -> Iterator[str]:
    for folder in dict.fromkeys((found.root, *found.splits.values())):
        for name in tree.folder(folder).files:
            path, lower = below(folder, name), name.lower()
            is_hinted = lower.endswith(_NO_TEXT) and _HINT.search(lower)
            is_candidate = is_hinted or is_table(name) or lower.endswith(_LISTS)
            if is_candidate and path not in used and not is_derived(tree, path):
                yield path


def _problem(tree: Tree, path: str) -> str | None:
    """Return what keeps a table from being understood, nothing if it can be, None if it does not look like labels."""
    name = name_of(path).lower()
    is_hinted = _HINT.search(name) is not None
    if name.endswith(_NO_TEXT):
        return "a file that is no text" if is_hinted else None
    head = read_head(tree.store, path)
    if not head.rows:
        return "no row of text" if is_hinted and not head.is_text else None
    header, rows = head.rows[0], head.rows[: 1 + _SAMPLE_ROWS]
    paths, labels = role_columns(header)
    if len(paths) == 1 and len(labels) == 1 and len(rows) > 1:
        return ""
    lists_images = any(is_image(cell) for row in rows for cell in row)
    width = max(map(len, rows))
    if width < 2 or not (lists_images or (is_hinted and len(rows) > 1 + _MOST_CLASSES)):
        return None
    others = [cell for row in rows[1:] or rows for cell in row if not is_image(cell)]
    says_class = any(canonical_name(cell) for cell in (*header, *others))
    says_number = any((number := whole_number(cell)) is not None and 0 <= number < _MOST_CLASSES for cell in others)
    if not (says_class or is_hinted or (says_number and not paths)):
        return None
    return f"header {shorten(header)}" if any(map(plain_name, header)) else "no header"


def _compare_with_folders(tree: Tree, path: str, found: Detection) -> None:
    rows = iter_rows(tree.store, path)
    image, label = find_columns(next(rows)[1], tree.store.path(path))
    folders = _folders_of_names(tree, found)
    num_rows = num_equal = 0
    for _, fields in rows:
        num_rows += 1
        if len(fields) > max(image, label):
            num_equal += _agrees(fields[image].strip(), fields[label].strip(), found.class_folders, folders)
    if num_equal < num_rows:
        raise LayoutError(
            f"{tree.store.path(path)}: labels of {num_rows - num_equal:,} in {num_rows:,} rows found that are not the "
            "class of the image's folder, expected class folders and table to agree; "
            "move the table away if the folders are right, else read it with source 'table'"
        )


def _agrees(image: str, label: str, classes: Mapping[str, str], folders: Mapping[str, set[str]]) -> bool:
    parts = image.replace("\\", "/").split("/")
    holding = {parts[-2]} if len(parts) > 1 else folders.get(parts[-1], set())
    return len(holding) == 1 and _class_of(label, classes) == _class_of(next(iter(holding)), classes)


def _class_of(name: str, classes: Mapping[str, str]) -> str:
    number = whole_number(name)
    same_number = (one for one in classes if one.isdecimal() and int(one) == number)
    key = name if name in classes else next(same_number, name)
    return name_key(classes.get(key) or canonical_name(name) or name)


def _folders_of_names(tree: Tree, found: Detection) -> dict[str, set[str]]:
    """Return image name -> class folders that hold an image of this name."""
    names: dict[str, set[str]] = {}
    for split in found.splits.values() or (found.root,):
        here = set(tree.folder(split).dirs)
        for folder in filter(here.__contains__, found.class_folders):
            for name in tree.folder(below(split, folder)).images:
                names.setdefault(name, set()).add(folder)
    return names
