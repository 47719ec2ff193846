"""Markers 7 and 8: RAF-DB's own label list (basic, compound) and the Kaggle form with a CSV file a split."""

import re
from collections.abc import Iterator

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.files.matching import stem_of
from ferdata.sources.files.text_tables import are_equal, is_table, iter_rows, read_head, role_columns
from ferdata.store import Store

__all__ = ["RAF_BASIC_STEM", "RAF_STEM", "find_rafdb_kaggle", "find_rafdb_list", "iter_list"]

RAF_STEM = re.compile(r"(train|test)_(\d+)(?:_aligned)?\.\w+", re.IGNORECASE)
RAF_BASIC_STEM = re.compile(r"(?:train_\d{5}|test_\d{4})(?:_aligned)?\.\w+", re.IGNORECASE)
_CLASS_FOLDERS = frozenset("1234567")
_LISTS = ("list_patition_label", "list_partition_label")
_DIGITS = {("train", 5): "RAF-basic", ("test", 4): "RAF-basic", ("train", 4): "RAF-compound", ("test", 3): "RAF-compound"}


def find_rafdb_list(tree: Tree, folder: str) -> Detection | None:
    """Marker 7: the label list, normally in ``EmoLabel/``; the digits of its stems tell basic from compound.

    Raises:
        AmbiguousLayoutError: If two different lists are found.
        LayoutError: If basic and compound are mixed, or if the list names no RAF-DB images.
    """
    here = tree.folder(folder)
    labels = here.dir("EmoLabel")
    places = [here, tree.folder(labels)] if labels else [here]
    lists = [below(place.path, name) for place in places for stem in _LISTS for name in place.files if _is_list(name, stem)]
    if not lists:
        return None
    if not are_equal(tree.store, lists):
        raise AmbiguousLayoutError(f"{tree.store}: {' and '.join(lists)} differ, expected one label list; move the other away")
    layout = _basic_or_compound(tree.store, lists[0])
    return Detection(layout=layout, source="rafdb", root=folder, given=tree.store.path(), files={"labels": lists[0]})


def iter_list(store: Store, path: str) -> Iterator[tuple[int, str, str | None]]:
    """Yield ``(line, name, label)`` for every line of a label list that is not blank, a header included; the label is None where it lacks.

    The name comes first unless a header says otherwise, or the label alone stands before it. Names hold no spaces, so a tab is one.

    Raises:
        SourceError: If the file is no table.
    """
    delimiter = read_head(store, path).delimiter
    columns: tuple[list[int], list[int]] | None = None
    for line, row in iter_rows(store, path, " " if delimiter == "\t" else delimiter):
        fields = [field.strip() for field in row]
        if columns is None:
            columns = role_columns(fields) if not any(map(_is_raf, fields)) else ([], [])
        if all(len(found) == 1 for found in columns):
            order = columns[0][0], columns[1][0]
        else:
            order = (1, 0) if len(fields) == 2 and _is_raf(fields[1]) and not _is_raf(fields[0]) else (0, 1)
        name, label = (fields[at] if at < len(fields) else "" for at in order)
        yield line, name, label or None


def find_rafdb_kaggle(tree: Tree, folder: str) -> Detection | None:
    """Marker 8: ``train_labels.csv`` or ``test_labels.csv`` with the header ``image,label``, and class folders 1..7."""
    here = tree.folder(folder)
    files = {}
    for name in ("train", "test"):
        tables = [below(folder, file) for file in here.files if is_table(file) and stem_of(file).lower() == f"{name}_labels"]
        if tables and all(len(columns) == 1 for columns in role_columns(read_head(tree.store, tables[0]).header)):
            files[name] = tables[0]
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


def _basic_or_compound(store: Store, path: str) -> str:
    digits: dict[str, set[str]] = {}
    for _, name, label in iter_list(store, path):
        stem = RAF_STEM.fullmatch(_file_of(name)) if label is not None else None
        if stem is not None:
            layout = _DIGITS.get((stem[1].lower(), len(stem[2])), "neither")
            digits.setdefault(layout, set()).add(f"{stem[1]}_{len(stem[2])} digits")
    if not digits:
        raise LayoutError(
            f"{store.path(path)}: no line like 'train_00001.jpg 5' found, expected RAF-DB's label list; "
            f"RAF-ML and RAF-CE are other data sets and are not read"
        )
    if len(digits) > 1 or "neither" in digits:
        found = ", ".join(sorted(name for names in digits.values() for name in names))
        raise LayoutError(
            f"{store.path(path)}: stems of {found} found, expected train 5 and test 4 digits (basic) or train 4 and test 3 (compound); "
            f"keep the two sets apart"
        )
    return next(iter(digits))


def _is_list(name: str, stem: str) -> bool:
    return (is_table(name) or name.lower().endswith(".txt")) and stem_of(name).lower() == stem


def _is_raf(field: str) -> bool:
    return RAF_STEM.fullmatch(_file_of(field)) is not None


def _file_of(field: str) -> str:
    return field.replace("\\", "/").rsplit("/", 1)[-1]
