"""A table of images to leave out, such as ``audit`` writes: which items it means.

In: a text table with a column ``key``, ``path`` or both. Out: positions of items. Costs one read of the table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from ferdata.errors import OptionError
from ferdata.sources.files.text_tables import iter_lines, iter_rows, plain_name
from ferdata.sources.items import ItemTable
from ferdata.store import folder_and_name

__all__ = ["Exclusions", "read_exclusions"]

_NAMES = {"key", "path"}
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Exclusions:
    """Images to leave out.

    Attributes:
        where: The table.
        entries: ``(key, path)`` of each, sorted; one of them may be empty.
    """

    where: str
    entries: Sequence[tuple[str, str]]

    @property
    def name(self) -> str:
        """The table's name, which says nothing of this machine."""
        return self.where.rpartition("/")[2]

    @cached_property
    def xxh64(self) -> str:
        """16 hex digits over the entries, whatever else the table says and in which order."""
        return xxhash.xxh64_hexdigest(json.dumps(self.entries).encode())

    def find(self, items: ItemTable) -> tuple[np.ndarray, list[str]]:
        """Return int64 ascending, the items that are meant, and the entries that mean none.

        An entry with a key and a path means the item that has both.

        Raises:
            OptionError: If there are entries and not one of them means an item.
        """
        keys, paths = (pa.array([entry[column] for entry in self.entries], pa.string()) for column in (0, 1))
        own_keys, own_paths = (items.table.column(name).combine_chunks() for name in ("key", "path"))
        found = np.asarray(pc.fill_null(pc.index_in(keys, own_keys), -1))
        by_key = np.flatnonzero(found >= 0)
        same = np.asarray(pc.equal(own_paths.take(pa.array(found[by_key])), paths.take(pa.array(by_key))))
        by_key = by_key[same | np.asarray(pc.equal(paths.take(pa.array(by_key)), ""))]
        by_path = np.flatnonzero(np.asarray(pc.and_(pc.equal(keys, ""), pc.is_in(paths, own_paths))))
        wanted = paths.take(pa.array(by_path))
        positions = np.union1d(found[by_key], np.flatnonzero(np.asarray(pc.is_in(own_paths, wanted))))
        idle = np.setdiff1d(np.arange(len(self.entries)), np.union1d(by_key, by_path))
        unused = [next(filter(None, self.entries[number])) for number in idle]
        if self.entries and not len(positions):
            raise OptionError(
                f"exclude: not one of the {len(self.entries):,} images in {self.where} is in the source, such as "
                f"{unused[0]}, expected keys or paths of this source; check that the table is of this data set"
            )
        return positions.astype(np.int64), unused


def read_exclusions(path: str) -> Exclusions:
    """Read a table of images to leave out.

    Raises:
        OptionError: If there is no such file, or it has neither a column ``key`` nor ``path``.
        SourceError: If it is no table.
    """
    store, name = folder_and_name(path)
    if not name or not store.exists(name) or store.is_dir(name):
        raise OptionError(f"exclude: {path}: no such file, expected a table with a column key or path; name one")
    # Its header tells what parts it: one column alone shows no delimiter, and its paths may have spaces.
    first = next(iter_lines(store, name), "")
    parted = ((mark, [plain_name(cell) for cell in first.split(mark)]) for mark in _DELIMITERS)
    delimiter = next((mark for mark, names in parted if not _NAMES.isdisjoint(names)), ",")
    header, *rows = [fields for _, fields in iter_rows(store, name, delimiter)] or [[]]
    names = [plain_name(cell) for cell in header]
    columns = [names.index(wanted) if wanted in names else None for wanted in ("key", "path")]
    if columns == [None, None]:
        raise OptionError(
            f"exclude: {path}: header {', '.join(header) or 'of no column'} found, expected a column key or path; "
            "correct the header"
        )
    cells = [[row[at].strip() if at is not None and at < len(row) else "" for at in columns] for row in rows]
    return Exclusions(where=path, entries=sorted({(key, place) for key, place in cells if key or place}))
