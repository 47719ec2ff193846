"""Markers 7 and 8: RAF-DB's own label list (basic, compound) and the Kaggle form with a CSV file a split."""

import re

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.sources.csv_head import read_head
from ferdata.sources.detection import Detection
from ferdata.sources.listing import Tree, below, split_of

__all__ = ["RAF_BASIC_STEM", "RAF_STEM", "find_rafdb_kaggle", "find_rafdb_list"]

RAF_STEM = re.compile(r"(train|test)_(\d+)(?:_aligned)?\.\w+", re.IGNORECASE)
RAF_BASIC_STEM = re.compile(r"(?:train_\d{5}|test_\d{4})(?:_aligned)?\.\w+", re.IGNORECASE)
_CLASS_FOLDERS = frozenset("1234567")
_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_DIGITS = {("train", 5): "RAF-basic", ("test", 4): "RAF-basic", ("train", 4): "RAF-compound", ("test", 3): "RAF-compound"}
_MAX_LABEL = {"RAF-basic": 7, "RAF-compound": 11}


def find_rafdb_list(tree: Tree, folder: str) -> Detection | None:
    """Marker 7: the label list, normally in ``EmoLabel/``; the digits of its stems tell basic from compound.

    Raises:
        AmbiguousLayoutError: If two different lists are found.
        LayoutError: If digits and labels disagree, or if the list names no RAF-DB images.
    """
    here = tree.folder(folder)
    labels = here.dir("EmoLabel")
    places = [here, tree.folder(labels)] if labels else [here]
    lists = [path for place in places for name in _LISTS if (path := place.file(name)) is not None]
    if not lists:
        return None
    if len({tree.store.read(path) for path in lists}) > 1:
        raise AmbiguousLayoutError(f"{tree.store}: {' and '.join(lists)} differ, expected one label list; move the other away")
    layout = _basic_or_compound(f"{tree.store.path(lists[0])}", tree.store.read(lists[0]).decode("utf-8-sig", errors="replace"))
    return Detection(layout=layout, source="rafdb", root=folder, given=tree.store.path(), files={"labels": lists[0]})


def find_rafdb_kaggle(tree: Tree, folder: str) -> Detection | None:
    """Marker 8: ``train_labels.csv`` or ``test_labels.csv`` with the header ``image,label``, and class folders 1..7."""
    here = tree.folder(folder)
    files = {}
    for name in ("train", "test"):
        path = here.file(f"{name}_labels.csv")
        if path is not None and [column.lower() for column in next(iter(read_head(tree.store, path)), [])[:2]] == ["image", "label"]:
            files[name] = path
    if not files:
        return None
    for base in (folder, *(below(folder, name) for name in here.dirs)):
        inner = tree.folder(base)
        splits: dict[str, str] = {}
        for name in inner.dirs:
            split = split_of(name)
            if split is not None and any(child in _CLASS_FOLDERS for child in tree.folder(below(base, name)).dirs):
                splits[split] = below(base, name)
        if splits:
            return Detection(layout="RAF-kaggle", source="rafdb", root=folder, given=tree.store.path(), files=files, splits=splits)
    return None


def _basic_or_compound(where: str, text: str) -> str:
    digits: dict[str, set[str]] = {}
    largest, smallest, num_rows = 0, 1, 0
    for line in text.splitlines():
        fields = line.split()
        stem = RAF_STEM.fullmatch(fields[0]) if len(fields) > 1 else None
        if stem is None:
            continue
        num_rows += 1
        layout = _DIGITS.get((stem[1].lower(), len(stem[2])), "neither")
        digits.setdefault(layout, set()).add(f"{stem[1]}_{len(stem[2])} digits")
        if fields[1].isdecimal():
            largest, smallest = max(largest, int(fields[1])), min(smallest, int(fields[1]))
    if not num_rows:
        raise LayoutError(
            f"{where}: no line like 'train_00001.jpg 5' found, expected RAF-DB's label list; "
            f"RAF-ML and RAF-CE are other data sets and are not read"
        )
    found = ", ".join(sorted(name for names in digits.values() for name in names))
    if len(digits) > 1 or "neither" in digits:
        raise LayoutError(
            f"{where}: stems of {found} found, expected train 5 and test 4 digits (basic) or train 4 and test 3 (compound); "
            f"keep the two sets apart"
        )
    layout = next(iter(digits))
    if largest > _MAX_LABEL[layout] or smallest < 1:
        raise LayoutError(
            f"{where}: {layout} by its digits ({found}), but labels from {smallest} to {largest} found, expected 1 to "
            f"{_MAX_LABEL[layout]}; this is a 0-based list, or basic and compound are mixed"
        )
    return layout
