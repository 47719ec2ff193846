"""List the folders of a source tree, each once, and find names in them without regard to case.

In: a :class:`ferdata.store.Store` and a path below it. Out: names, junk left out. About 1 µs a name on a local disk.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ferdata.errors import StoreError
from ferdata.store import Store

__all__ = [
    "IMAGE_SUFFIXES",
    "Folder",
    "NameIndex",
    "Tree",
    "below",
    "is_archive",
    "is_image",
    "is_junk",
    "iter_names",
    "list_folder",
    "natural_key",
    "peek",
    "shorten",
    "split_of",
]

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"))
_JUNK = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
_ARCHIVE = re.compile(r".*\.(rar|zip|tar|tgz|7z|gz|bz2|xz|zst|z\d\d|7z\.\d+|zip\.\d+|rar\.\d+)", re.IGNORECASE)
_MAX_LISTED = 20
_DIGITS = re.compile(r"(\d+)")
_SPLITS = {
    "train": "train", "training": "train", "train_set": "train", "training_set": "train", "trainset": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val",
    "val_set": "val", "valid_set": "val", "validation_set": "val", "valset": "val",
    "test": "test", "testing": "test", "test_set": "test", "testset": "test",
}  # fmt: skip


def is_junk(name: str) -> bool:
    """Tell whether a name is one that operating systems and tools leave behind: ``.DS_Store``, ``._x``, ``Thumbs.db`` ..."""
    return name.startswith(".") or name.lower() in _JUNK


def is_image(name: str) -> bool:
    """Tell whether a file name ends like an image, in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_archive(name: str) -> bool:
    """Tell whether a file name is that of an archive that should have been unpacked."""
    return _ARCHIVE.fullmatch(name) is not None


def split_of(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for a split folder's name in any release and case, else None."""
    return _SPLITS.get(name.strip().lower().replace("-", "_").replace(" ", "_"))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that orders the numbers in a name as numbers: ``2.jpg`` before ``10.jpg``."""
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(name) if part)


def below(folder: str, *names: str) -> str:
    """Return the path of a name below a folder, both relative to the same root; the root itself is ``""``."""
    return "/".join(part for part in (folder, *names) if part)


def shorten(names: Sequence[str]) -> str:
    """Return names for a sentence: the first ones, and how many more there are."""
    more = f" and {len(names) - _MAX_LISTED:,} more" if len(names) > _MAX_LISTED else ""
    # A name that is not UTF-8 must not break the line that reports it.
    return ", ".join(names[:_MAX_LISTED]).encode("utf-8", "backslashreplace").decode() + more


def iter_names(store: Store, relative: str = "") -> Iterator[tuple[str, bool]]:
    """Yield ``(name, is_dir)`` for one folder without junk, in the disk's own order, without holding the listing in memory.

    Raises:
        StoreError: If there is no such folder.
    """
    if not store.is_local:
        for entry in store.list(relative):
            if not is_junk(entry.name):
                yield entry.name, entry.is_dir
        return
    try:
        found = os.scandir(store.path(relative))
    except OSError as error:
        raise StoreError(f"{store.path(relative)}: {error.strerror}, expected a folder that can be listed; check the path") from error
    with found:
        for item in found:
            name = item.name
            if not is_junk(name):
                yield name, item.is_dir()


def peek(store: Store, relative: str, wanted: Callable[[str], bool], *, at_most: int = 1) -> list[str]:
    """Return up to ``at_most`` file names that are ``wanted``; a local folder is read no further than needed."""
    found: list[str] = []
    for name, is_dir in iter_names(store, relative):
        if not is_dir and wanted(name):
            found.append(name)
            if len(found) == at_most:
                break
    return found


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in one folder, junk left out.

    Attributes:
        path: Relative to the store's root; the root itself is ``""``.
        dirs: Names of the sub-folders, in natural order.
        files: Names of the files, in natural order.
    """

    path: str
    dirs: tuple[str, ...]
    files: tuple[str, ...]

    def dir(self, name: str) -> str | None:
        """Return the path of the sub-folder of this name, in any case; an exact match wins, then the first."""
        return _find(self.path, self.dirs, name)

    def file(self, name: str) -> str | None:
        """Return the path of the file of this name, in any case; an exact match wins, then the first."""
        return _find(self.path, self.files, name)


def list_folder(store: Store, relative: str = "") -> Folder:
    """List one folder once.

    Raises:
        StoreError: If there is no such folder.
    """
    dirs: list[str] = []
    files: list[str] = []
    for name, is_dir in iter_names(store, relative):
        (dirs if is_dir else files).append(name)
    return Folder(relative, tuple(sorted(dirs, key=natural_key)), tuple(sorted(files, key=natural_key)))


class Tree:
    """A store whose small folders are listed once, however often they are asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._folders: dict[str, Folder] = {}

    def folder(self, relative: str = "") -> Folder:
        """Return the names in one folder; not for folders of many images, which :func:`peek` need not read to the end."""
        if relative not in self._folders:
            self._folders[relative] = list_folder(self.store, relative)
        return self._folders[relative]

    def peek(self, relative: str, wanted: Callable[[str], bool], *, at_most: int = 1) -> list[str]:
        """Return up to ``at_most`` file names that are ``wanted``, see :func:`peek`."""
        return peek(self.store, relative, wanted, at_most=at_most)


class NameIndex:
    """Finds names in a folder's listing: exactly, else without regard to case."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._folded: dict[str, list[str]] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def find(self, name: str) -> list[str]:
        """Return what ``name`` can mean: the exact name alone, else every name that differs only in case, sorted.

        None found is an empty list (reject ``image_missing``); more than one is ambiguous (reject ``image_ambiguous``).
        """
        if name in self._names:
            return [name]
        if self._folded is None:
            self._folded = {}
            for known in self._names:
                self._folded.setdefault(known.lower(), []).append(known)
        return sorted(self._folded.get(name.lower(), ()))


def _find(folder: str, names: tuple[str, ...], name: str) -> str | None:
    if name in names:
        return below(folder, name)
    return next((below(folder, known) for known in names if known.lower() == name.lower()), None)
