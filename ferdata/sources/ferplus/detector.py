"""Detect FERPlus: its table of votes beside FER2013's pixels, or its folders of images."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import FERPLUS
from ferdata.sources.fer2013.detector import pixel_tables
from ferdata.sources.fer2013.reader import USAGE
from ferdata.sources.ferplus.reader import PIXELS, VOTES, scan
from ferdata.sources.ferplus.totals import FERPLUS_FILES, FERPLUS_TABLE
from ferdata.sources.ferplus.votes import VOTE_COLUMNS
from ferdata.sources.files.listing import Tree, below, is_image, shorten
from ferdata.sources.files.matching import in_order
from ferdata.sources.files.pixel_rows import SIDE
from ferdata.sources.files.text_tables import are_equal, is_table, plain_name, read_head
from ferdata.sources.layout import Asked, Detection, Layout

__all__ = ["FERPLUS_CSV", "FERPLUS_FOLDERS"]

_SPLITS = {"fer2013train": "train", "fer2013valid": "val", "fer2013test": "test"}
_COLUMNS = {USAGE, "imagename", *map(plain_name, VOTE_COLUMNS)}
_MAX_FOLDERS = 64


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for ``fer2013new.csv`` with ``fer2013.csv`` anywhere beside it, and for folders such as ``FER2013Train``.

    Raises:
        AmbiguousLayoutError: If there are two different tables of votes.
        LayoutError: If there are votes without images, or images without votes.
    """
    if asked.source == "fer2013":
        return None
    places = [folder, *_inner(tree, folder, lambda name: name.startswith("fer") and name not in _SPLITS)]
    votes = [path for place in places for path in tree.folder(place).paths(is_table) if _has_votes(tree, path)]
    if votes:
        places += [place for place in _inner(tree, folder, lambda name: name not in _SPLITS) if place not in places]
    images = {
        _SPLITS[path.rpartition("/")[2].lower()]: path
        for place in places
        for path in _inner(tree, place, _SPLITS.__contains__)
        if tree.peek(path, is_image)
    }
    if not votes and not any(path.rpartition("/")[0] == folder for path in images.values()):
        return None
    where = tree.store.path(folder)
    if len(votes) > 1 and not are_equal(tree.store, votes):
        raise AmbiguousLayoutError(
            f"{where}: {shorten(votes)} differ, expected one table of votes; move the other away"
        )
    tables = {path: table for place in places for path, table in pixel_tables(tree, place).items()}
    whole = [path for path, table in tables.items() if USAGE in map(plain_name, table.header)]
    if images:
        labels = {split: path for split, place in images.items() if (path := tree.folder(place).file("label.csv"))}
        files = labels if len(labels) == len(images) else {VOTES: votes[0]} if votes else {}
        if not files:
            raise LayoutError(
                f"{where}: images in {shorten(list(images.values()))} found without votes, expected label.csv in each "
                "or fer2013new.csv beside them; add it"
            )
        same = [path for path in (*votes, *tables) if path not in files.values()]
        return Detection(layout=FERPLUS_FOLDERS, root=folder, splits=in_order(images), files=files, same=tuple(same))
    if not whole:
        raise LayoutError(
            f"{where}: votes in {votes[0]} found without images, expected fer2013.csv with its column Usage, or "
            "folders FER2013Train, FER2013Valid and FER2013Test with images; add those of FER2013"
        )
    same = [*votes[1:], *(path for path in tables if path != whole[0])]
    return Detection(layout=FERPLUS_CSV, root=folder, files={VOTES: votes[0], PIXELS: whole[0]}, same=tuple(same))


def _has_votes(tree: Tree, path: str) -> bool:
    return set(map(plain_name, read_head(tree.store, path).header)) >= _COLUMNS


def _inner(tree: Tree, folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the sub-folders whose names, in lower case, are wanted; of very many none."""
    names = tree.folder(folder).dirs
    yield from (below(folder, name) for name in names if len(names) <= _MAX_FOLDERS and wanted(name.lower()))


FERPLUS_CSV = Layout(
    name="FERPlus-csv",
    source="ferplus",
    detector=_find,
    scan=scan,
    sign="fer2013new.csv with fer2013.csv",
    classes=FERPLUS,
    releases=FERPLUS_TABLE,
    side=SIDE,
    has_votes=True,
)
FERPLUS_FOLDERS = replace(
    FERPLUS_CSV,
    name="FERPlus-folders",
    sign="FER2013Train with images and label.csv",
    releases=(*FERPLUS_FILES, *FERPLUS_TABLE),
)
