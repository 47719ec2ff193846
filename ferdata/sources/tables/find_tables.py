"""Which files are the tables of a source, and the split that each is of.

In: a folder, or files that the user names. Out: open tables. Costs a listing, and the start of every table there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.sources.files.listing import Tree, is_within, name_of, shorten, split_in, split_of
from ferdata.sources.files.text_tables import is_table
from ferdata.sources.parquet.detector import parquet_files
from ferdata.sources.tables.rows import Table, open_tables
from ferdata.store import Store

__all__ = ["TableOfSplit", "absolute", "find_tables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOfSplit:
    """A table, and the split that its name tells, if it does."""

    table: Table
    split: str | None


def find_tables(store: Store, named: Sequence[str], asked: Mapping[str, str]) -> list[TableOfSplit]:
    """Return the tables to read.

    Args:
        store: The folder of the source.
        named: The files that the user names, from the current folder or else from that of the source.
        asked: What the user says of their columns.

    Raises:
        LayoutError: If there is no such file, or none that can be understood.
        AmbiguousLayoutError: If there are several and nothing says which one is meant.
    """
    tables = [_named(store, path, asked) for path in named] or _look(store, asked)
    found = [TableOfSplit(table=table, split=split_in(_told(table, store))) for table in tables]
    without = [each.table.where for each in found if each.split is None]
    if without and len(without) < len(found):
        raise AmbiguousLayoutError(
            f"{store}: {shorten(without)} found beside files of named splits, expected train, val or test in every "
            "name; rename it, or name the files to read with table="
        )
    return found


def absolute(store: Store) -> Store:
    """Return a store by its whole path, with which absolute paths in tables can be compared."""
    return Store(os.path.abspath(store.root)) if store.is_local else store


def _told(table: Table, source: Store) -> str:
    """Return what of a table's path can tell its split: its name, and folders below that of the source."""
    inside = is_within(table.where, source.root)
    return table.where[len(source.root) :].strip("/") if inside else name_of(table.path)


def _named(store: Store, path: str, asked: Mapping[str, str]) -> Table:
    folder, _, name = path.rpartition("/")
    here = absolute(Store(folder or ("/" if path.startswith("/") else ".")))
    is_whole = path.startswith("/") or "://" in path
    if not here.exists(name):
        if is_whole or not store.exists(path):
            raise LayoutError(f"{path}: no such file, expected a table (csv, tsv or parquet); check table=")
        here, name = store, path
    found = open_tables(here, [name], asked)[0]
    if isinstance(found, LayoutError):
        raise found
    return found


def _look(store: Store, asked: Mapping[str, str]) -> list[Table]:
    """Return the tables in a folder: those of text, or else those of parquet, which may lie deeper."""
    tree = Tree(store)
    splits = [name for name in tree.folder().dirs if split_of(name)]
    texts = tree.folder().paths(is_table) or [path for name in splits for path in tree.folder(name).paths(is_table)]
    opened = open_tables(store, texts or parquet_files(tree, ""), asked)
    tables = [found for found in opened if isinstance(found, Table)]
    if not tables:
        problems = [found for found in opened if isinstance(found, LayoutError)]
        if problems and len(texts) < 2:
            raise problems[0]
        raise LayoutError(
            f"{store}: {f'{shorten(texts)} found, none with a column for' if texts else 'no table found that names'} "
            "images and labels, expected one (csv, tsv or parquet); name it with table="
        )
    of_splits = {split_in(table.path) for table in tables} - {None}
    if texts and len(tables) > max(1, len(of_splits)):
        raise AmbiguousLayoutError(
            f"{store}: {shorten([table.path for table in tables])} found, which all name images and labels, "
            "expected one table, or one for each split; name it with table="
        )
    return tables
