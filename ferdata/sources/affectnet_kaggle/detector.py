"""Markers 9 and 10: re-releases whose labels are in one table: Kaggle's ``labels.csv`` and parquet files."""

import contextlib
import re

from ferdata.errors import AmbiguousLayoutError, StoreError
from ferdata.labels import canonical_name
from ferdata.sources.detection import Detection
from ferdata.sources.files.images import open_parquet, parquet_errors
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.files.text_tables import is_table, read_head, role_columns
from ferdata.sources.label_tables import is_class_table

__all__ = ["find_affectnet_kaggle", "find_parquet"]

_PARQUET_DEPTH = 3


def find_affectnet_kaggle(tree: Tree, folder: str) -> Detection | None:
    """Marker 9: a table of images and class names, ``labels.csv`` by rights: AN-kaggle-A without splits, AN-kaggle-B with train and test.

    Raises:
        AmbiguousLayoutError: If one folder holds two such tables, and none of them is ``labels.csv``.
    """
    here = tree.folder(folder)
    labels = _label_table(tree, folder)
    bases = [folder, below(folder, here.dirs[0])] if labels and len(here.dirs) == 1 else [folder]
    for base in bases:
        splits = {split: below(base, name) for name in tree.folder(base).dirs if (split := split_of(name))}
        found = labels or next((path for place in (base, *splits.values()) if (path := _label_table(tree, place))), None)
        if found and splits:
            return _kaggle(tree, folder, "AN-kaggle-B", splits, found)
    for base in bases:
        if labels and any(canonical_name(name) for name in tree.folder(base).dirs):
            return _kaggle(tree, folder, "AN-kaggle-A", {"train": base}, labels)
    return None


def find_parquet(tree: Tree, folder: str, source: str | None) -> Detection | None:
    """Marker 10: parquet files with columns ``image`` and ``label``; the source tells AffectNet from RAF-DB.

    Raises:
        AmbiguousLayoutError: If some file names say their split and others do not.
    """
    tables: dict[str | None, list[str]] = {}
    ignored = []
    for path in _parquet_files(tree, folder, depth=_PARQUET_DEPTH):
        names = set(_column_names(tree, path))
        if {"image", "label"} <= names:
            tables.setdefault(_table_split(path), []).append(path)
        else:
            ignored.append(path)
    if not tables:
        return None
    if None in tables and len(tables) > 1:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: {', '.join(tables[None])} found beside files of named splits, expected train, val or test in "
            f"every name; rename or remove it"
        )
    tables.setdefault("train", tables.pop(None, []))
    is_rafdb = source == "rafdb" or (source is None and "raf" in tree.store.path(folder).rsplit("/", 1)[-1].lower())
    return Detection(
        layout="RAF-parquet" if is_rafdb else "AN-parquet",
        source="rafdb" if is_rafdb else "affectnet",
        root=folder,
        given=tree.store.path(),
        tables={split: tuple(tables[split]) for split in ("train", "val", "test") if tables.get(split)},
        notes=tuple(f"Ignored {path}: no columns image and label." for path in ignored),
    )


def _kaggle(tree: Tree, folder: str, layout: str, splits: dict[str, str], labels: str) -> Detection:
    return Detection(layout=layout, source="affectnet", root=folder, given=tree.store.path(), splits=splits, files={"labels": labels})


def _label_table(tree: Tree, folder: str) -> str | None:
    here = tree.folder(folder)
    path = here.file("labels.csv")
    if path is not None and all(len(columns) == 1 for columns in role_columns(read_head(tree.store, path).header)):
        return path
    paths = [path for path in (below(folder, name) for name in here.files if is_table(name)) if is_class_table(tree, path)]
    if len(paths) > 1:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: {' and '.join(paths)} found, which all name images and classes, expected one table; name the "
            f"one to use labels.csv, or move the others away"
        )
    return paths[0] if paths else None


def _parquet_files(tree: Tree, folder: str, *, depth: int) -> list[str]:
    here = tree.folder(folder)
    found = [below(folder, name) for name in here.files if name.lower().endswith(".parquet")]
    for name in here.dirs if depth and len(here.dirs) <= 16 else ():
        with contextlib.suppress(StoreError):  # one that cannot be listed is an error of whoever has to read it
            found += _parquet_files(tree, below(folder, name), depth=depth - 1)
    return found


def _column_names(tree: Tree, path: str) -> list[str]:
    with parquet_errors(tree.store, path), open_parquet(tree.store, path) as file:
        return list(file.schema_arrow.names)


def _table_split(path: str) -> str | None:
    parts = path.lower().split("/")
    words = [*re.split(r"[^a-z]+", parts[-1]), *reversed(parts[:-1])]
    return next((split for word in words if (split := split_of(word))), None)
