"""List the class folders of one split, each folder once, with the images at any depth below them.

In: a split folder. Out: image paths by class folder, in natural order. About 1 µs an image on a local disk.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ferdata.sources.listing import below, is_image, list_folder
from ferdata.store import Store

__all__ = ["ClassTree", "list_class_tree"]

_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTree:
    """The images of one split.

    Attributes:
        folder: The split folder, relative to the source root.
        loose: Images that lie in the split folder itself, in no class folder.
        by_class: Name of a class folder as on disk -> paths of its images, relative to the source root.
    """

    folder: str
    loose: tuple[str, ...]
    by_class: Mapping[str, tuple[str, ...]]

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

    Args:
        store: Where the source lives.
        folder: The split folder, relative to the store's root.
        only: Names of the class folders to list, else all.
    """
    here = list_folder(store, folder)
    return ClassTree(
        folder=folder,
        loose=tuple(below(folder, name) for name in here.files if is_image(name)),
        by_class={name: tuple(_walk(store, below(folder, name), 1)) for name in here.dirs if only is None or name in only},
    )


def _walk(store: Store, folder: str, depth: int) -> Iterator[str]:
    here = list_folder(store, folder)
    for name in here.files:
        if is_image(name):
            yield below(folder, name)
    if depth < _MAX_DEPTH:
        for name in here.dirs:
            yield from _walk(store, below(folder, name), depth + 1)
