"""What to tell a user whose folder holds images that no layout reads.

In: a folder in which nothing was recognised. Out: an error that says what is there and what to do, or None where there
are no images. Costs a listing of the small folders at most two levels down.
"""

from collections.abc import Iterator

from ferdata.errors import FerdataError, LayoutError, StoreError
from ferdata.labels import name_key
from ferdata.sources.class_folders.detector import find_class_folders
from ferdata.sources.class_folders.own_classes import PARTS, is_annotation_file
from ferdata.sources.files.listing import Folder, Tree, below, shorten
from ferdata.sources.files.text_tables import is_table
from ferdata.sources.layout import SOURCES, Asked, Detection

__all__ = ["advise_on_images"]

_MAX_CHILDREN = 64
_OF_IMAGES = frozenset(("images", "image", "imgs", "img", "jpegimages"))


def advise_on_images(tree: Tree, folder: str, source: str | None) -> LayoutError | None:
    """Return the error for a folder that holds images which no layout reads, or None where it holds none."""
    if source != "folder" and (own := _own_classes(tree, folder)):
        return LayoutError(
            f"{tree.store.path(folder)}: class folders {shorten(list(map(repr, own.class_folders)))} found, "
            f"which are not the classes of {SOURCES[source or 'affectnet']}; "
            "use source 'folder' to read them as classes of your own"
        )
    looked_at = list(_small_folders(tree, "", levels=2 + (folder.count("/") + 1 if folder else 0)))
    places = [f"{here.path}/" if here.path else "the folder itself" for here in looked_at if here.images]
    if not places:
        return None
    label_folders = [
        below(here.path, name) for here in looked_at for name in here.dirs if name_key(name) in PARTS - _OF_IMAGES
    ]
    labels = [below(here.path, name) for here in looked_at for name in here.files if is_annotation_file(name)]
    labels = [path for path in labels if not path.startswith(tuple(f"{place}/" for place in label_folders))]
    labels += [f"{place}/" for place in label_folders]
    beside = f" beside {shorten(labels)}, whose labels are not read" if labels else ""
    move = f", or move {shorten(label_folders)} away if folder names are the labels"
    apart = move if label_folders and len(places) > 1 else ""
    use = "" if source == "folder" else " and use source 'folder'"
    tables = [path for path in labels if is_table(path) or path.lower().endswith(".parquet")]
    table = f"read {tables[0]} with source 'table'" if len(tables) == 1 else "read a table of them with source 'table'"
    table += f" and table={tables[0]}" if tables else ""
    return LayoutError(
        f"{tree.store}: images in {shorten(places)} found{beside}, expected a folder for each class; "
        f"put images in train/<class>/ and val/<class>/{use}{apart}, {table}, or give the folder of a data set"
    )


def _own_classes(tree: Tree, folder: str) -> Detection | None:
    try:
        return find_class_folders(tree, folder, Asked(source="folder"))
    except FerdataError:
        return None


def _small_folders(tree: Tree, folder: str, *, levels: int) -> Iterator[Folder]:
    """Yield the listings of a folder and of those below it, down to ``levels``; of many sub-folders only the first."""
    try:
        here = tree.folder(folder)
    except StoreError:
        return
    yield here
    for name in here.dirs[:_MAX_CHILDREN] if levels else ():
        yield from _small_folders(tree, below(folder, name), levels=levels - 1)
