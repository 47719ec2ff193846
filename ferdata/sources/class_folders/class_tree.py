"""List the class folders of one split, each folder once, with the images at any depth below them.

In: a split folder. Out: image paths by class folder, in natural order. About 1 µs an image on a local disk.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import canonical_name, name_key
from ferdata.sources.files.listing import below, is_within, list_folder, says_no_image, split_of
from ferdata.sources.unread import ignored_files
from ferdata.store import Store

__all__ = ["ClassTree", "list_class_tree", "refuse_other_classes_inside"]

_MAX_DEPTH = 8
_LABEL_PARTS = frozenset(("annotations", "annotation", "labels", "valence", "arousal", "emotion", "landmarks"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTree:
    """The images of one split.

    Attributes:
        folder: The split folder, relative to the source root.
        loose: Images that lie in the split folder itself, in no class folder.
        by_class: Name of a class folder as on disk -> paths of its images, relative to the source root.
        notes: Links that were not followed, and files that are no images.
    """

    folder: str
    loose: tuple[str, ...]
    by_class: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def inside(self, path: str) -> str:
        """Return an image's path relative to the split folder."""
        return path[len(self.folder) :].lstrip("/")

    def images(self) -> Iterator[tuple[str, str]]:
        """Yield ``(class folder, path)`` of every image, loose ones first with the class folder ``""``."""
        for path in self.loose:
            yield "", path
        for name, paths in self.by_class.items():
            for path in paths:
                yield name, path


def list_class_tree(store: Store, folder: str, *, only: Collection[str] | None = None) -> ClassTree:
    """List a split folder.

    Sub-folders of a class folder (by person, by source) belong to the class. Two kinds of links are not followed, as
    what they show is read where it lies: one inside a class folder back into the source, and one to a class folder
    beside it of the same class.

    Args:
        store: Where the source lives.
        folder: The split folder, relative to the store's root.
        only: Names of the class folders to list, else all.

    Raises:
        AmbiguousLayoutError: If a class folder holds split folders, folders of other classes, or labels of its own, or
            if two class folders are one.
        LayoutError: If folders are nested too deeply.
    """
    here = list_folder(store, folder)
    names = [name for name in here.dirs if only is None or name in only]
    walker = _Walker(store, names if only is None else only)
    twice = _second_links(store, folder, names)
    by_class = {name: tuple(walker.images(name, below(folder, name))) for name in names if name not in twice}
    walker.skipped += [below(folder, name) for name in twice]
    walker.others += [path for path in here.others if not says_no_image(path)]
    why = "it leads back into the source, where its images are read already"
    notes = [f"Ignored link {path}: {why}." for path in walker.skipped] + ignored_files(store, walker.others)
    loose = tuple(below(folder, name) for name in here.images)
    return ClassTree(folder=folder, loose=loose, by_class=by_class, notes=tuple(notes))


def _second_links(store: Store, folder: str, names: Collection[str]) -> list[str]:
    """Return the class folders that are links to (or into, or above) another class folder of their class.

    Raises:
        AmbiguousLayoutError: If the other one is of another class.
    """
    links = [name for name in names if store.is_local and os.path.islink(store.path(below(folder, name)))]
    real = {name: os.path.realpath(store.path(below(folder, name))) for name in names} if links else {}
    found: list[str] = []
    for name in links:
        for other in (other for other in names if other != name and other not in found):
            if not is_within(real[name], real[other]) and not is_within(real[other], real[name]):
                continue
            if not _is_same_class(name, other):
                raise AmbiguousLayoutError(
                    f"{store.path(folder)}: class folders {name!r} and {other!r} found, which are both {real[name]} "
                    "or a part of it, expected images of their own in each; remove the link that is wrong"
                )
            found.append(name)
            break
    return found


def refuse_other_classes_inside(
    store: Store, class_folder: str, folder: str, dirs: Collection[str], classes: Collection[str]
) -> None:
    """Refuse a class folder whose sub-folders are classes or splits: other classes, or a data set that starts there.

    Args:
        store: Where the source lives.
        class_folder: Name of the class folder.
        folder: It, or a folder below it, relative to the store's root.
        dirs: Names of the sub-folders of ``folder``.
        classes: Names of all class folders of the tree.

    Raises:
        AmbiguousLayoutError: If it is so.
    """
    known = {name_key(name) for name in classes}
    others = [name for name in dirs if not _is_same_class(name, class_folder)]
    wrong = [name for name in others if name_key(name) in known or _says_more(name)]
    if wrong:
        raise AmbiguousLayoutError(
            f"{store.path(folder)}: {', '.join(map(repr, wrong[:8]))} found inside class folder {class_folder!r}, "
            f"expected its images, or folders that are neither splits nor classes; give {store.path(folder)} if the "
            "data set starts there, else put split folders above class folders (train/Happy/...)"
        )


def _says_more(name: str) -> bool:
    return split_of(name) is not None or canonical_name(name) is not None or name.lower() in _LABEL_PARTS


def _is_same_class(name: str, class_folder: str) -> bool:
    return name_key(name) == name_key(class_folder) or (canonical_name(name) or name) == canonical_name(class_folder)


class _Walker:
    """Walks class folders; knows the names of all of them and which real folders must not be entered again."""

    def __init__(self, store: Store, classes: Collection[str]) -> None:
        self.skipped: list[str] = []
        self.others: list[str] = []
        self._store, self._classes = store, classes

    def images(self, class_folder: str, folder: str) -> Iterator[str]:
        """Yield the images of one class folder."""
        homes = (self._real(""), self._real(folder)) if self._store.is_local else ()
        yield from self._walk(class_folder, folder, 1, homes)

    def _walk(self, class_folder: str, folder: str, depth: int, homes: tuple[str, ...]) -> Iterator[str]:
        here = list_folder(self._store, folder)
        self.others += here.others
        self.skipped += [below(folder, name) for name in here.loops]
        for name in here.images:
            yield below(folder, name)
        if not here.dirs:
            return
        refuse_other_classes_inside(self._store, class_folder, folder, here.dirs, self._classes)
        if depth == _MAX_DEPTH:
            raise LayoutError(
                f"{self._store.path(folder)}: {_MAX_DEPTH} levels of folders found inside class folder "
                f"{class_folder!r}, expected fewer; move the images up"
            )
        for name in here.dirs:
            path = below(folder, name)
            inner = homes
            if self._store.is_local and os.path.islink(self._store.path(path)):
                target = self._real(path)
                if any(is_within(target, home) or is_within(home, target) for home in homes):
                    self.skipped.append(path)
                    continue
                inner = (*homes, target)
            yield from self._walk(class_folder, path, depth + 1, inner)

    def _real(self, relative: str) -> str:
        return os.path.realpath(self._store.path(relative))
