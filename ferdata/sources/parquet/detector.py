"""Detect parquet files with the columns ``image`` and ``label``."""

import contextlib
from dataclasses import replace

from ferdata.errors import AmbiguousLayoutError, StoreError
from ferdata.labels import RAFDB_BASIC
from ferdata.sources.affectnet.totals import TENTH
from ferdata.sources.files.image_bytes import open_parquet, parquet_errors, read_apart
from ferdata.sources.files.listing import Tree, below, name_of, split_in
from ferdata.sources.files.matching import in_order
from ferdata.sources.layout import Asked, Detection, Layout, Release
from ferdata.sources.parquet.reader import scan
from ferdata.store import Store

__all__ = ["AN_PARQUET", "RAF_PARQUET", "parquet_files"]

_PARQUET_DEPTH = 3


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for parquet files with columns ``image`` and ``label``; the source tells AffectNet from RAF-DB.

    Raises:
        AmbiguousLayoutError: If some file names say their split and others do not.
    """
    tables: dict[str, list[str]] = {}
    ignored: list[str] = []
    files = parquet_files(tree, folder)
    for path, names in zip(files, read_apart(_column_names, tree.store, files), strict=True):
        is_used = {"image", "label"} <= set(names)
        (tables.setdefault(split_in(path) or "", []) if is_used else ignored).append(path)
    if not tables:
        return None
    unnamed = tables.pop("", [])
    if unnamed and tables:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: {', '.join(unnamed)} found beside files of named splits, expected train, "
            "val or test in every name; rename or remove it"
        )
    tables = tables or {"train": unnamed}
    is_named_raf = "raf" in name_of(tree.store.path(folder)).lower()
    is_rafdb = asked.source == "rafdb" or (asked.source is None and is_named_raf)
    return Detection(
        layout=RAF_PARQUET if is_rafdb else AN_PARQUET,
        root=folder,
        tables={split: tuple(paths) for split, paths in in_order(tables).items()},
        notes=tuple(f"Ignored {path}: no columns image and label." for path in ignored),
    )


def parquet_files(tree: Tree, folder: str, *, depth: int = _PARQUET_DEPTH) -> list[str]:
    """Return the parquet files in a folder and in those below it, as far down as data sets are nested."""
    here = tree.folder(folder)
    found = here.paths(lambda name: name.lower().endswith(".parquet"))
    for name in here.dirs if depth and len(here.dirs) <= 16 else ():
        with contextlib.suppress(StoreError):  # one that cannot be listed is an error of whoever has to read it
            found += parquet_files(tree, below(folder, name), depth=depth - 1)
    return found


def _column_names(store: Store, path: str) -> list[str]:
    with parquet_errors(store, path), open_parquet(store, path) as file:
        return list(file.schema_arrow.names)


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
    classes=RAFDB_BASIC,
    releases=(
        Release(
            title="deanngkl/raf-db-7emotions",
            splits={"train": 20471},
            is_only=False,
            remark="deanngkl/raf-db-7emotions mixes in other data, so it is not RAF-DB proper",
        ),
    ),
)
