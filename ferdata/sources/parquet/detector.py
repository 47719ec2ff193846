"""Detect parquet files with the columns ``image`` and ``label``."""

import contextlib
import re
from dataclasses import replace

from ferdata.errors import AmbiguousLayoutError, StoreError
from ferdata.sources.affectnet.totals import TENTH
from ferdata.sources.files.images import open_parquet, parquet_errors
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.layout import Asked, Detection, Layout, Release
from ferdata.sources.parquet.reader import scan

__all__ = ["AN_PARQUET", "RAF_PARQUET"]

_PARQUET_DEPTH = 3


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for parquet files with columns ``image`` and ``label``; the source tells AffectNet from RAF-DB.

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
            f"{tree.store.path(folder)}: {', '.join(tables[None])} found beside files of named splits, expected train, "
            "val or test in every name; rename or remove it"
        )
    tables.setdefault("train", tables.pop(None, []))
    is_rafdb = asked.source == "rafdb" or (
        asked.source is None and "raf" in tree.store.path(folder).rsplit("/", 1)[-1].lower()
    )
    return Detection(
        layout=RAF_PARQUET if is_rafdb else AN_PARQUET,
        root=folder,
        tables={split: tuple(tables[split]) for split in ("train", "val", "test") if tables.get(split)},
        notes=tuple(f"Ignored {path}: no columns image and label." for path in ignored),
    )


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


AN_PARQUET = Layout(
    name="AN-parquet",
    source="affectnet",
    detector=_find,
    scan=scan,
    sign="parquet files with image and label",
    evidence="columns",
    releases=(Release(title="Piro17/affectnethq", splits={"train": 27823}, is_only=False, remark=TENTH),),
    may_need_order=True,
)
RAF_PARQUET = replace(
    AN_PARQUET,
    name="RAF-parquet",
    source="rafdb",
    releases=(
        Release(
            title="deanngkl/raf-db-7emotions",
            splits={"train": 20471},
            is_only=False,
            remark="deanngkl/raf-db-7emotions mixes in other data, so it is not RAF-DB proper",
        ),
    ),
)
