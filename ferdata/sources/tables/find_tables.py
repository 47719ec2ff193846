"""Which files are the tables of a source, and the split that each is of.

In: a folder, or files that the user names. Out: open tables. Costs a listing, and the start of every table there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.sources.files.listing import Tree, name_of, shorten, split_in
from ferdata.sources.files.text_tables import is_table
from ferdata.sources.parquet.detector import parquet_files
from ferdata.sources.tables.rows import Table, is_parquet, open_table
from ferdata.store import Store

__all__ = ["TableOfSplit", "find_tables"]


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
    tables = [_open(store, path, asked) for path in named] or _look(store, asked)
    found = [TableOfSplit(table=table, split=split_in(_told(table))) for table in tables]
    whole = [each.table.where for each in found if each.split is None]
    if whole and len(whole) < len(found):
        raise AmbiguousLayoutError(
            f"{store}: {shorten(whole)} found beside files of named splits, expected train, val or test in every name; "
            "rename it, or name the files to read with table="
        )
    return found


def _told(table: Table) -> str:
    return table.path if is_parquet(table.path) else name_of(table.path)


def _open(store: Store, path: str, asked: Mapping[str, str]) -> Table:
    folder, _, name = path.rpartition("/")
    here = Store(folder or ("/" if path.startswith("/") else "."))
    if here.exists(name):
        return open_table(here, name, asked)
    if not path.startswith("/") and "://" not in path and store.exists(path):
        return open_table(store, path, asked)
    raise LayoutError(f"{path}: no such file, expected a table (csv, tsv or parquet); check table=")


def _look(store: Store, asked: Mapping[str, str]) -> list[Table]:
    tree = Tree(store)
    texts = tree.folder().paths(is_table)
    tables, problem = [], None
    for path in texts or parquet_files(tree, ""):
        try:
            tables.append(open_table(store, path, asked))
        except LayoutError as error:
            problem = error
    if not tables:
        if problem is not None and len(texts) < 2:
            raise problem
        raise LayoutError(
            f"{store}: {f'{shorten(texts)} found, none with a column for' if texts else 'no table found that names'} "
            "images and labels, expected one (csv, tsv or parquet); name it with table="
        )
    splits = [split_in(path) for path in (table.path for table in tables)]
    if texts and len(tables) > 1 and (None in splits or len(set(splits)) < len(splits)):
        raise AmbiguousLayoutError(
            f"{store}: {shorten([table.path for table in tables])} found, which all name images and labels, "
            "expected one table, or one for each split; name it with table="
        )
    return tables
