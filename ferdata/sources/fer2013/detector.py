"""Detect FER2013's tables of pixels, under whatever name they have."""

from collections.abc import Mapping

from ferdata.errors import AmbiguousLayoutError
from ferdata.labels import FER2013
from ferdata.sources.fer2013.reader import ALL, USAGE, scan
from ferdata.sources.fer2013.totals import FER_CHALLENGE, FER_FULL
from ferdata.sources.files.listing import Tree, name_of, shorten, split_of
from ferdata.sources.files.matching import in_order, stem_of
from ferdata.sources.files.pixel_rows import SIDE, PixelTable, find_pixel_table
from ferdata.sources.files.text_tables import is_table, plain_name, role_columns
from ferdata.sources.layout import Asked, Detection, Layout

__all__ = ["FER_CSV", "pixel_tables"]

_INNER = "fer2013"
"""What the challenge's inner archive unpacks to, beside its other files."""

_WITH_USAGE = ("fer2013.csv", "icml_face_data.csv")
"""The names under which the whole data set circulates; the first one is taken, as others do."""


def pixel_tables(tree: Tree, folder: str) -> dict[str, PixelTable]:
    """Return path -> how to read it of the tables of images in a folder and in its sub-folder ``fer2013``."""
    inner = tree.folder(folder).dir(_INNER)
    places = [folder, inner] if inner is not None else [folder]
    paths = [path for place in places for path in tree.folder(place).paths(is_table)]
    found = {path: find_pixel_table(tree.store, path) for path in paths}
    return {path: table for path, table in found.items() if table is not None}


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for tables with columns for pixels and for a label.

    Raises:
        AmbiguousLayoutError: If several tables can be the one that is meant.
    """
    tables = pixel_tables(tree, folder)
    labelled = [path for path, table in tables.items() if len(role_columns(table.header)[1]) == 1]
    if not any(path.rpartition("/")[0] == folder for path in labelled):
        return None
    whole = [path for path in labelled if USAGE in map(plain_name, tables[path].header)]
    where = tree.store.path(folder)
    files = {ALL: _whole(whole, where)} if whole else _by_split(labelled, tables, where)
    same = tuple(path for path in tables if path not in files.values())
    return Detection(layout=FER_CSV, root=folder, files=files, same=same)


def _whole(paths: list[str], where: str) -> str:
    """Return the table of all splits to read."""
    known = [path for name in _WITH_USAGE for path in paths if name_of(path).lower() == name]
    if not known and len(paths) > 1:
        raise AmbiguousLayoutError(
            f"{where}: {shorten(paths)} found, expected one table of images; move the others away"
        )
    return (known or paths)[0]


def _by_split(labelled: list[str], tables: Mapping[str, PixelTable], where: str) -> dict[str, str]:
    """Return split -> table, of tables that do not say it; one without labels is read if it is a split's."""
    found: dict[str, str] = {}
    for path in tables:
        split = split_of(stem_of(name_of(path))) or ("train" if len(labelled) == 1 and path in labelled else "")
        if split in found or (not split and path in labelled):
            raise AmbiguousLayoutError(
                f"{where}: {shorten([path, *found.values()])} found, expected a column Usage, or tables called "
                "train.csv, val.csv and test.csv; rename them or move the others away"
            )
        if split:
            found[split] = path
    return in_order(found)


FER_CSV = Layout(
    name="FER-csv",
    source="fer2013",
    detector=_find,
    scan=scan,
    sign="a table with emotion, pixels and Usage",
    classes=FER2013,
    releases=(FER_FULL, FER_CHALLENGE),
    side=SIDE,
)
