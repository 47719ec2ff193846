r"""Find the images that a table names, wherever its paths start and however they are written.

In: paths as written: relative or absolute, of this machine or another, with ``/`` or ``\``, with or without folders.
Out: paths below the source root. Lists each folder once; about 2 µs a path.
"""

import contextlib
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, takewhile

from ferdata.errors import StoreError
from ferdata.sources.files.image_bytes import open_parquet
from ferdata.sources.files.listing import below, is_image, iter_names, leads_up, name_of, split_of
from ferdata.sources.files.matching import NameIndex, stem_of
from ferdata.store import Store

__all__ = ["ImageFinder", "is_absolute", "plain_path"]

_DRIVE = re.compile(r"[A-Za-z]:/")
_ROW = re.compile(r"(.+\.parquet)#(\d{1,12})", re.IGNORECASE)


def plain_path(written: str) -> str:
    """Return a path with ``/`` between its parts, without ``.`` and doubled separators."""
    if "://" in written:
        return written.removeprefix("file://") if written.startswith("file://") else written
    return posixpath.normpath(written.strip().replace("\\", "/"))


def is_absolute(path: str) -> bool:
    """Tell whether a plain path starts at the root of a disk or is a URL."""
    return path.startswith("/") or "://" in path or _DRIVE.match(path) is not None


class ImageFinder:
    """Finds images below a root.

    A path means the file of this name below the source, or below the folder of its table; else, the one image below the
    source whose path ends so, or ends it: a bare name is found in any folder, a path of another machine by its end.
    """

    def __init__(self, store: Store, source: str) -> None:
        """Look for images below a folder relative to the store's root; the root may hold others, at absolute paths."""
        self._store, self._source = store, source
        self._folders: dict[str, NameIndex | None] = {}
        self._num_rows: dict[str, int] = {}
        self._by_name: dict[str, str | tuple[str, ...]] = {}
        self._by_stem: dict[str, str | tuple[str, ...]] = {}

    def find(self, written: str, beside: str) -> list[str]:
        """Return what a path can mean, relative to the store's root: nothing, one image, or several that are alike.

        Args:
            written: The path.
            beside: The folder of its table, relative to the root.
        """
        path = plain_path(written)
        for place in self._places(path, beside):
            if found := self._at(place):
                return found
        return self._by_end(path)

    def images_beside(self, used: set[str]) -> int:
        """Return how many images lie in the folders of images that were found, and are not in ``used``."""
        holding = {path.rpartition("/")[0] for path in used}
        names = ((folder, name) for folder in holding for name in self._index(folder) or ())
        return sum(is_image(name) and below(folder, name) not in used for folder, name in names)

    def _places(self, path: str, beside: str) -> Iterator[str]:
        if not is_absolute(path):
            yield from (posixpath.normpath(below(start, path)) for start in dict.fromkeys((self._source, beside)))
        elif path.startswith(f"{self._store.root.rstrip('/')}/"):
            yield path[len(self._store.root.rstrip("/")) + 1 :]

    def _at(self, path: str) -> list[str]:
        if row := _ROW.fullmatch(path):
            return [path] if self._at(row[1]) == [row[1]] and int(row[2]) < self._rows(row[1]) else []
        folder, _, name = path.rpartition("/")
        index = self._index(folder)
        return [below(folder, found) for found in index.find(name)] if index else []

    def _index(self, folder: str) -> NameIndex | None:
        if folder not in self._folders:
            try:
                self._folders[folder] = NameIndex(
                    name for name, is_dir in iter_names(self._store, folder) if not is_dir
                )
            except StoreError:  # no such folder, or one that cannot be listed: its images are missing
                self._folders[folder] = None
        return self._folders[folder]

    def _rows(self, path: str) -> int:
        if path not in self._num_rows:
            with open_parquet(self._store, path) as file:
                self._num_rows[path] = file.metadata.num_rows
        return self._num_rows[path]

    def _by_end(self, path: str) -> list[str]:
        """Return the images whose path below the source ends with ``path``, or that it ends with, folder and all."""
        *folders, name = _key(path).split("/")
        if not self._by_name:
            self._by_name = _grouped((_key(name_of(found)), found) for found in self._walk(self._source))
        if name not in self._by_name and not is_image(name) and not self._by_stem:
            every = chain.from_iterable(map(_several, self._by_name.values()))
            self._by_stem = _grouped((stem_of(_key(name_of(found))), found) for found in every)
        alike = _several(self._by_name.get(name) or self._by_stem.get(name, ()))
        return sorted(found for found in alike if self._fits(folders, found))

    def _fits(self, folders: Sequence[str], found: str) -> bool:
        """Tell whether a row's folders and those of an image are the same as far as both go, and there is one of each.

        Of a row without folders the name alone counts. Folders of two splits are never the same.
        """
        whole = _key(self._store.path(found)).split("/")[:-1]
        num_below = found[len(self._source) :].strip("/").count("/")
        shared = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(folders[::-1], whole[::-1], strict=False))
        )
        if shared < min(len(folders), len(whole)):
            splits = {split_of(folders[-1 - shared]), split_of(whole[-1 - shared])} - {None}
            if shared == 0 or shared < num_below or len(splits) > 1:
                return False
        return True

    def _walk(self, folder: str) -> Iterator[str]:
        """Yield every image at or below a folder."""
        inner: list[str] = []
        with contextlib.suppress(StoreError):  # one that cannot be listed: its images are missing
            for name, is_dir in iter_names(self._store, folder):
                path = below(folder, name)
                if not is_dir and is_image(name):
                    yield path
                elif is_dir and not leads_up(self._store, path):
                    inner.append(path)
        for path in inner:
            yield from self._walk(path)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str | tuple[str, ...]]:
    """Return key -> the path, or the paths, that go with it; nearly all have one, which needs no tuple."""
    found: dict[str, str | tuple[str, ...]] = {}
    for key, path in pairs:
        found[key] = (*_several(found[key]), path) if key in found else path
    return found


def _several(paths: str | tuple[str, ...]) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else paths


def _key(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).lower()
