"""Detect ExpW: ``label.lst``, and the folder of the photographs it names."""

from collections.abc import Iterator

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import FER2013
from ferdata.sources.expw.reader import IMAGES, LABELS, face_rows, scan
from ferdata.sources.expw.totals import EXPW_FULL
from ferdata.sources.files.listing import Tree, below, is_image, name_of, shorten
from ferdata.sources.files.matching import floats
from ferdata.sources.layout import Asked, Detection, Layout

__all__ = ["EXPW"]

_NAME = "label"
_LABEL_FOLDERS = ("label", "labels")
_MAX_DEPTH = 3
_MAX_FOLDERS = 64
_SAMPLE_ROWS = 20


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for a list called ``label`` whose lines are an image, a number, four sides, a confidence and a class.

    Raises:
        AmbiguousLayoutError: If two folders hold its images.
        LayoutError: If none does.
    """
    here = tree.folder(folder)
    places = [folder, *filter(None, map(here.dir, _LABEL_FOLDERS))]
    lists = [path for place in places for path in tree.folder(place).paths(_is_list)]
    named = {path: names for path in lists if (names := _sample(tree, path))}
    if not named:
        return None
    path, names = next(iter(named.items()))
    homes = [home for home in _folders(tree, folder, _MAX_DEPTH) if _holds_any(tree, home, names)]
    if len(homes) > 1:
        raise AmbiguousLayoutError(
            f"{tree.store.path(folder)}: images of {path} found in {shorten(homes)}, expected them in one folder; "
            "move the others away"
        )
    if not homes:
        raise LayoutError(
            f"{tree.store.path(path)}: none of {', '.join(names[:3])} ... found below {tree.store.path(folder)}, "
            "expected the photographs that the list names (image/origin/); unpack their archive there"
        )
    same = tuple(other for other in named if other != path)
    return Detection(layout=EXPW, root=folder, files={LABELS: path}, folders={IMAGES: homes[0]}, same=same)


def _is_list(name: str) -> bool:
    return name.lower().rpartition(".")[0] in (_NAME, f"{_NAME}s") and name.lower().endswith((".lst", ".txt", ".csv"))


def _sample(tree: Tree, path: str) -> list[str]:
    """Return the first images that a list of faces names, or none if it is no such list."""
    rows = [row for _, row, _ in face_rows(tree.store, path, head=True)][:_SAMPLE_ROWS]
    sides = ("faceboxtop", "faceboxleft", "faceboxright", "faceboxbottom")
    are_faces = [bool(row and is_image(row["imagename"]) and floats([row[side] for side in sides])) for row in rows]
    # The first line of another table is its header, which says that its numbers are something else.
    is_list = bool(rows) and are_faces[0] and 2 * sum(are_faces) > len(rows)
    return [row["imagename"] for row in rows if row] if is_list else []


def _folders(tree: Tree, folder: str, depth: int) -> Iterator[str]:
    """Yield a folder and those below it, without listing those that hold images."""
    yield folder
    names = tree.folder(folder).dirs if depth else ()
    for name in names[:_MAX_FOLDERS]:
        path = below(folder, name)
        if tree.peek(path, is_image):
            yield path
        else:
            yield from _folders(tree, path, depth - 1)


def _holds_any(tree: Tree, folder: str, names: list[str]) -> bool:
    wanted = {name_of(name).lower() for name in names}
    return bool(tree.peek(folder, lambda name: name.lower() in wanted))


EXPW = Layout(
    name="ExpW-faces",
    source="expw",
    detector=_find,
    scan=scan,
    sign="label.lst with a box for each face",
    classes=FER2013,
    releases=(EXPW_FULL,),
)
