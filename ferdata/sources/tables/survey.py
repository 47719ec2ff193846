"""What stands in tables, before any row is judged: labels, words for splits, where paths start.

In: open tables. Out: counts. Costs one pass over their rows, a second for a million.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ferdata.errors import LayoutError
from ferdata.sources.files.find_images import is_absolute, plain_path
from ferdata.sources.files.listing import is_within, shorten, split_of
from ferdata.sources.files.text_tables import split_word
from ferdata.sources.tables.find_tables import TableOfSplit
from ferdata.sources.tables.row import text_of
from ferdata.store import Store

__all__ = ["Survey", "common_root", "split_of_path", "survey"]

_MOST_SHOWN_SPLITS = 40


@dataclass(slots=True)
class Survey:
    """Counts of rows.

    Attributes:
        rows: All of them.
        labels: Label as written -> rows.
        path_splits: Split that a path names by one of its folders, or None -> rows without another split.
        folders: Folders of absolute paths that exist on this machine.
        has_foreign: There are absolute paths that do not lie in the source.
    """

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    path_splits: Counter[str | None] = field(default_factory=Counter)
    folders: set[str] = field(default_factory=set)
    has_foreign: bool = False

    @property
    def are_folders_splits(self) -> bool:
        """Whether every path names its split by a folder; one that is above all images of another place tells none."""
        return None not in self.path_splits and len(self.path_splits) > self.has_foreign


def survey(tables: Sequence[TableOfSplit], source: str) -> Survey:
    """Count what stands in the tables of a source, whose whole path is given.

    Raises:
        LayoutError: If a column of splits holds words that name none.
    """
    found = Survey()
    tried: set[str] = set()
    for each in tables:
        table, roles = each.table, each.table.columns.roles
        unknown: Counter[str] = Counter()
        for _, cells in table.rows():
            found.rows += 1
            if not cells:
                continue
            if (label := text_of(cells[roles["label"]])) is not None:
                found.labels[label] += 1
            path = plain_path(text) if "path" in roles and (text := text_of(cells[roles["path"]])) else None
            if path and is_absolute(path) and (folder := path.rpartition("/")[0]) not in tried:
                tried.add(folder)
                found.folders |= {folder} if os.path.isdir(folder) else set()
                found.has_foreign |= not is_within(path, source)
            if "split" in roles:
                word = text_of(cells[roles["split"]])
                if word is not None and split_word(word) is None and len(unknown) < _MOST_SHOWN_SPLITS:
                    unknown[word] += 1
            elif each.split is None and path:
                found.path_splits[split_of_path(path, source)] += 1
        if unknown:
            raise LayoutError(
                f"{table.where}: column of splits with {shorten(list(unknown))} found, expected train, val and test in "
                "any usual word (training, validation, dev, testing); correct it, or leave it out with columns=split="
            )
    return found


def split_of_path(path: str, source: str) -> str | None:
    """Return the split that the last folder called like one names, below the source if it lies there, or None."""
    folders = (path[len(source) :] if is_within(path, source) else path).split("/")[:-1]
    return next((split for part in reversed(folders) if (split := split_of(part))), None)


def common_root(store: Store, folders: Sequence[str]) -> str:
    """Return the folder that holds a source and other folders of its images; a source behind a URL has no others."""
    outside = [folder for folder in folders if not is_within(folder, store.root)]
    if not store.is_local or not outside:
        return store.root
    try:
        return os.path.commonpath([os.path.abspath(path) for path in (store.root, *outside)])
    except ValueError:  # on several drives: images on others than the source's are missing
        return store.root
