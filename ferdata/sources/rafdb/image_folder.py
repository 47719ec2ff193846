"""Find the folder of RAF-DB's aligned or original images, in any of the ways its archives unpack.

In: the root of a tree. Out: the images by name. Costs one listing of each folder on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import LayoutError
from ferdata.sources.files.listing import Folder, below, list_folder, split_of
from ferdata.sources.files.matching import stem_of
from ferdata.sources.rafdb.label_list import RAF_STEM
from ferdata.store import Store

__all__ = ["RafImages", "find_images", "is_kind", "no_images"]

_IMAGE_FOLDERS = ("imgs", "images", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class RafImages:
    """The images of one kind.

    Attributes:
        path: Their folder.
        by_name: File name -> paths relative to the root; several where folders for train and test inside share a name.
        others: Files among them that are no images.
        unread: Folders inside that are not read.
    """

    path: str
    by_name: Mapping[str, Sequence[str]]
    others: Sequence[str]
    unread: Sequence[str]


def find_images(store: Store, top: Folder, kind: str) -> RafImages | None:
    """Return the aligned or original images, or None where there are none."""
    wrapper = top.dir("Image") or top.dir("Images")
    inner = list_folder(store, wrapper) if wrapper else None
    for start in (inner and inner.dir(kind), top.dir(kind)):
        images = _descend(store, start, kind) if start else None
        if images is not None:
            return images
    for flat in (inner, top):
        images = _gather(store, flat) if flat is not None else None
        if images is not None and any(is_kind(name, kind) for name in images.by_name):
            return images
    return None


def no_images(store: Store, top: Folder, kind: str) -> LayoutError:
    """Return the error for a tree without images of a kind, which says where those of the other kind are."""
    aligned = find_images(store, top, "aligned") if kind == "original" else None
    advice = f"unpack {kind}.zip" + (
        f", or choose rafdb_images=aligned, which are in {aligned.path or '.'}" if aligned else ""
    )
    return LayoutError(f"{store.path()}: no folder of {kind} images found, expected Image/{kind}; {advice}")


def _descend(store: Store, start: str, kind: str) -> RafImages | None:
    """Return the images of the first folder with any, at ``start`` or below, as in ``aligned/aligned/``."""
    folder = list_folder(store, start)
    for _ in range(4):
        images = _gather(store, folder)
        if images.by_name:
            return images
        named = next((path for path in map(folder.dir, (kind, *_IMAGE_FOLDERS)) if path), None)
        path = named or (below(folder.path, folder.dirs[0]) if len(folder.dirs) == 1 else None)
        if path is None:
            return None
        folder = list_folder(store, path)
    return None


def _gather(store: Store, folder: Folder) -> RafImages:
    """Return the images of one folder and of the folders for train and test inside it."""
    by_name: dict[str, list[str]] = {}
    inside = [below(folder.path, name) for name in folder.dirs if split_of(name)]
    places = [folder, *(list_folder(store, path) for path in inside)]
    for place in places:
        for name in place.images:
            by_name.setdefault(name, []).append(below(place.path, name))
    unread = [below(folder.path, name) for name in folder.dirs if not split_of(name)]
    return RafImages(
        path=folder.path, by_name=by_name, others=[path for place in places for path in place.others], unread=unread
    )


def is_kind(name: str, kind: str) -> bool:
    """Tell whether an image's name is that of an aligned, or of an original one."""
    stem = RAF_STEM.fullmatch(stem_of(name))
    return stem is not None and bool(stem[3]) == (kind == "aligned")
