"""List the folders of a source tree, each once, and find names in them without regard to case.

In: a :class:`ferdata.store.Store` and a path below it. Out: names, junk left out. About 1 µs a name on a local disk; a
file whose name does not say what it holds is opened, for some 20 µs.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ferdata.errors import FerdataError, StoreError
from ferdata.images.formats import MAGIC_BYTES, starts_like_image
from ferdata.labels import name_key
from ferdata.place import is_folder_entry
from ferdata.store import Store

__all__ = [
    "IMAGE_SUFFIXES",
    "Folder",
    "Tree",
    "below",
    "folders_above",
    "is_archive",
    "is_image",
    "is_image_at",
    "is_junk",
    "is_within",
    "iter_names",
    "leads_up",
    "list_folder",
    "name_of",
    "natural_key",
    "printable",
    "says_no_image",
    "shorten",
    "sort_names",
    "split_in",
    "split_of",
    "walk",
]

IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".avifs",
))  # fmt: skip
_NO_IMAGE_SUFFIXES = frozenset((
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".pdf", ".lst", ".pts",
    ".log", ".npy", ".npz", ".mat", ".pkl", ".pickle", ".parquet", ".h5", ".hdf5", ".pt", ".pth", ".py", ".ipynb",
    ".sh", ".db", ".ini",
))  # fmt: skip
"""Endings of tables, text and code, which lie beside images in their hundred thousands: such files are not opened."""

_JUNK = frozenset((
    # Windows and macOS
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "__macosx", "icon\r", "desktop db", "desktop df",
    "$recycle.bin", "recycler", "system volume information", "found.000",
    "network trash folder", "temporary items", "thevolumesettingsfolder", "thefindbyfolder",
    # Linux, Synology, QNAP, NetApp and others
    "lost+found", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@snapshot", "@snapshots", "@sharebin",
    "@sharesnap", "@__thumb", "#recycle", "#snapshot", "~snapshot", "__pycache__",
))  # fmt: skip
"""Names, in lower case, of what systems and services leave in any folder; names with a dot in front are theirs too."""

_JUNK_ENDINGS = (":zone.identifier", "@synoeastream", "@synoresource")
_ARCHIVE = re.compile(r".*\.(rar|zip|tar|tgz|7z|gz|bz2|xz|zst|z\d\d|7z\.\d+|zip\.\d+|rar\.\d+)", re.IGNORECASE)
_MAX_LISTED = 20
_MAX_CHILDREN = 64
_NOT_LETTERS = re.compile(r"[^a-z]+")
_DIGITS = re.compile(r"(\d+)")
_SPLITS = {
    "train": "train", "training": "train", "train_set": "train", "training_set": "train", "trainset": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val",
    "val_set": "val", "valid_set": "val", "validation_set": "val", "valset": "val",
    "test": "test", "testing": "test", "test_set": "test", "testset": "test",
}  # fmt: skip


def is_junk(name: str) -> bool:
    """Tell whether a name is one that systems, disks and tools leave behind: ``.DS_Store``, ``@eaDir`` ..."""
    lower = name.lower()
    return lower.startswith(".") or lower in _JUNK or lower.endswith(_JUNK_ENDINGS)


def is_image(name: str) -> bool:
    """Tell whether a file name ends like an image, in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_image_at(store: Store, folder: str, name: str) -> bool:
    """Tell whether a file is an image: by its name, or by its first bytes where that says nothing (``a.jpg.1``)."""
    if is_image(name):
        return True
    if says_no_image(name):
        return False
    try:
        return starts_like_image(store.read_range(below(folder, name), 0, MAGIC_BYTES))
    except (FerdataError, OSError):  # a pipe, a link to nowhere, a file that may not be read
        return False


def says_no_image(name: str) -> bool:
    """Tell whether a file name ends like a table, a text, code or an archive."""
    return os.path.splitext(name)[1].lower() in _NO_IMAGE_SUFFIXES or is_archive(name)


def is_archive(name: str) -> bool:
    """Tell whether a file name is that of an archive that should have been unpacked."""
    return _ARCHIVE.fullmatch(name) is not None


def split_of(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for a split folder's name in any release and case, else None."""
    return _SPLITS.get(name_key(name).replace("-", "_").replace(" ", "_"))


def split_in(path: str) -> str | None:
    """Return the split that a word of a file's name tells, else the last folder above it that is called like one."""
    *folders, name = path.lower().split("/")
    words = [*_NOT_LETTERS.split(name), *reversed(folders)]
    return next((split for word in words if (split := split_of(word))), None)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that orders the numbers in a name as numbers: ``2.jpg`` before ``10.jpg``."""
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(name) if part)


def below(folder: str, *names: str) -> str:
    """Return the path of a name below a folder, both relative to the same root; the root itself is ``""``."""
    return "/".join(part for part in (folder, *names) if part)


def folders_above(path: str, root: str) -> list[str]:
    """Return the folders from ``root`` down to the one that holds ``path``; none where that is the root itself."""
    found: list[str] = []
    while path != root:
        path = path.rpartition("/")[0]
        found.insert(0, path)
    return found


def name_of(path: str) -> str:
    """Return a path without the folders."""
    return path.rsplit("/", 1)[-1]


def shorten(names: Sequence[str]) -> str:
    """Return names for a sentence: the first ones, and how many more there are."""
    more = f" and {len(names) - _MAX_LISTED:,} more" if len(names) > _MAX_LISTED else ""
    return printable(", ".join(names[:_MAX_LISTED])) + more


def printable(text: str) -> str:
    """Return a text that can be encoded; bytes that were not UTF-8 in a file name are shown as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_within(path: str, folder: str) -> bool:
    """Tell whether an absolute path is a folder's own or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def leads_up(store: Store, folder: str) -> bool:
    """Tell whether a folder is a link to the one it lies in, or to one above that."""
    path = store.path(folder)
    is_link = store.is_local and os.path.islink(path)
    return is_link and is_within(os.path.realpath(os.path.dirname(path)), os.path.realpath(path))


def iter_names(store: Store, relative: str = "") -> Iterator[tuple[str, bool]]:
    """Yield ``(name, is_dir)`` for one folder without junk, in the disk's own order; nothing is held in memory.

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
        raise StoreError(
            f"{store.path(relative)}: {error.strerror}, expected a folder that can be listed; check the path"
        ) from error
    with found:
        for item in found:
            name = item.name
            if not is_junk(name):
                yield name, is_folder_entry(item)


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in one folder, junk left out.

    Attributes:
        path: Relative to the store's root; the root itself is ``""``.
        dirs: Names of the sub-folders, in natural order.
        files: Names of the files, in natural order.
        images: Those of the files that are images, by name or by content.
        loops: Names of links to this folder or to one above it; no ``dirs``, so that no walk goes round for ever.
    """

    path: str
    dirs: tuple[str, ...]
    files: tuple[str, ...]
    images: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()

    @property
    def others(self) -> list[str]:
        """Paths of the files that are no images."""
        images = frozenset(self.images)
        return [below(self.path, name) for name in self.files if name not in images]

    def paths(self, wanted: Callable[[str], bool]) -> list[str]:
        """Return the paths of the files whose names are ``wanted``."""
        return [below(self.path, name) for name in self.files if wanted(name)]

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
    dirs, images, others = sort_names(store, relative)
    loops = {name for name in dirs if leads_up(store, below(relative, name))}
    return Folder(relative, _sorted(set(dirs) - loops), _sorted(images + others), _sorted(images), _sorted(loops))


def sort_names(store: Store, relative: str) -> tuple[list[str], list[str], list[str]]:
    """Return the names of a folder's sub-folders, of its images and of its other files, in the disk's own order.

    Raises:
        StoreError: If there is no such folder.
    """
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name, is_dir in iter_names(store, relative):
        found[0 if is_dir else 1 if is_image_at(store, relative, name) else 2].append(name)
    return found


class Tree:
    """A store whose small folders are listed once, however often they are asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._folders: dict[str, Folder] = {}

    def folder(self, relative: str = "") -> Folder:
        """Return the names in one folder; for folders of many images see :meth:`peek`, which need not read them all."""
        if relative not in self._folders:
            self._folders[relative] = list_folder(self.store, relative)
        return self._folders[relative]

    def peek(self, relative: str, wanted: Callable[[str], bool], *, at_most: int = 1) -> list[str]:
        """Return up to ``at_most`` file names that are ``wanted``; a local folder is read no further than needed."""
        found = (name for name, is_dir in iter_names(self.store, relative) if not is_dir and wanted(name))
        return list(islice(found, at_most))


def walk(tree: Tree, folder: str, wanted: Callable[[str], bool], *, levels: int) -> Iterator[Folder]:
    """Yield a folder and those below it whose names are ``wanted``, as far as they can be listed.

    Args:
        tree: Listings of the source.
        folder: Where to begin.
        wanted: Tells whether to enter a sub-folder, since one of images may hold very many names.
        levels: How deep to go; sub-folders of one that has very many are not entered.
    """
    try:
        here = tree.folder(folder)
    except StoreError:
        return
    yield here
    if levels and len(here.dirs) <= _MAX_CHILDREN:
        for name in filter(wanted, here.dirs):
            yield from walk(tree, below(folder, name), wanted, levels=levels - 1)


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural_key))


def _find(folder: str, names: tuple[str, ...], name: str) -> str | None:
    if name in names:
        return below(folder, name)
    return next((below(folder, known) for known in names if known.lower() == name.lower()), None)
