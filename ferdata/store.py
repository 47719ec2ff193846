"""Files wherever they live: local folders by the operating system's own calls, anything else through fsspec.

The only file that imports fsspec. Paths are text; a text with ``://`` is an fsspec URL.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from ferdata.errors import ShardMissingError, StoreError

__all__ = ["Entry", "Store", "join"]

_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    is_dir: bool
    num_bytes: int | None


def join(root: str, *parts: str) -> str:
    """Join path parts below a local root or an fsspec URL."""
    return "/".join([root.rstrip("/") or "/", *(part.strip("/") for part in parts if part)])


class Store:
    """A folder, local or behind an fsspec URL, addressed by paths relative to it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self.is_local = "://" not in self.root or self.root.startswith("file://")
        if self.root.startswith("file://"):
            self.root = self.root[len("file://") :]
        self._fs: Any
        self._fs, self._base = (None, self.root) if self.is_local else _open_fs(self.root)

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.root,)

    def __str__(self) -> str:
        return self.root

    def path(self, relative: str = "") -> str:
        """Return the full path or URL of a relative path."""
        return join(self.root, relative) if relative else self.root

    def exists(self, relative: str = "") -> bool:
        """Tell whether a file or folder is there."""
        if self._fs is None:
            return os.path.exists(self.path(relative))
        return bool(self._fs.exists(join(self._base, relative)))

    def is_dir(self, relative: str = "") -> bool:
        """Tell whether a folder is there."""
        if self._fs is None:
            return os.path.isdir(self.path(relative))
        return bool(self._fs.isdir(join(self._base, relative)))

    def num_bytes(self, relative: str) -> int:
        """Return the size of a file."""
        try:
            if self._fs is None:
                return os.stat(self.path(relative)).st_size
            return int(self._fs.size(join(self._base, relative)))
        except FileNotFoundError as error:
            raise ShardMissingError(f"{self.path(relative)}: no such file; check the folder or write it again") from error

    def list(self, relative: str = "") -> list[Entry]:
        """Return the names in one folder, sorted by name; one call to the operating system or the remote service."""
        try:
            if self._fs is None:
                with os.scandir(self.path(relative)) as found:
                    entries = [Entry(e.name, e.is_dir(), None) for e in found]
            else:
                base = join(self._base, relative)
                self._fs.invalidate_cache(base)
                entries = [
                    Entry(e["name"].rstrip("/").rsplit("/", 1)[-1], e["type"] == "directory", e.get("size"))
                    for e in self._fs.ls(base, detail=True)
                ]
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(f"{self.path(relative)}: no such folder; check the path") from error
        return sorted(entries, key=lambda entry: entry.name)

    def read(self, relative: str) -> bytes:
        """Return all bytes of one file."""
        with self._naming(relative):
            if self._fs is None:
                with open(self.path(relative), "rb", buffering=0, opener=_open_regular) as file:
                    return file.read()
            return bytes(self._fs.cat_file(join(self._base, relative)))

    def read_range(self, relative: str, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)`` of one file; an HTTP range where the store is remote."""
        with self._naming(relative):
            if self._fs is None:
                with open(self.path(relative), "rb", opener=_open_regular) as file:
                    file.seek(start)
                    return file.read(stop - start)
            return bytes(self._fs.cat_file(join(self._base, relative), start=start, end=stop))

    @contextmanager
    def _naming(self, relative: str) -> Iterator[None]:
        """Turn an error of the system into one that names the file; a missing file stays the caller's to explain."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise StoreError(
                f"{self.path(relative)}: {error.strerror or error}, expected a file that can be read; check it and try again"
            ) from error

    def make_dir(self, relative: str = "") -> None:
        """Make a folder and its parents; nothing happens where it is there already."""
        if self._fs is None:
            try:
                os.makedirs(self.path(relative), exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"{self.path(relative)}: {error.strerror}, expected a folder that can be written; choose another"
                ) from error
        else:
            self._fs.makedirs(join(self._base, relative), exist_ok=True)

    def remove(self, relative: str) -> None:
        """Remove one file or a folder with all it holds; nothing happens where it is gone already."""
        if self.exists(relative):
            fs = self._fs or fsspec.filesystem("file")
            fs.rm(self.path(relative) if self._fs is None else join(self._base, relative), recursive=True)

    @contextmanager
    def write_atomic(self, relative: str) -> Iterator[IO[bytes]]:
        """Open a file that appears under its name only when the block ends without an error.

        Locally: a temporary file in the same folder, fsync, rename. Remotely: a local temporary file that is
        uploaded whole, since object stores publish an upload only when it is complete.
        """
        if self._fs is None:
            target = self.path(relative)
            temporary = f"{target}.partial-{os.getpid()}"
            try:
                with open(temporary, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, target)
            finally:
                Path(temporary).unlink(missing_ok=True)
        else:
            with tempfile.NamedTemporaryFile() as file:
                yield file
                file.flush()
                self._fs.put_file(file.name, join(self._base, relative))


def _open_regular(path: str, flags: int) -> int:
    """Open a file as :func:`open` asks; a pipe would wait for ever for someone to write, and a device need not end."""
    descriptor = os.open(path, flags | _NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        os.close(descriptor)
        raise StoreError(f"{path}: a pipe or device found, expected a regular file; remove it")
    return descriptor


def _open_fs(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        fs, base = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{url}: {error}; install the fsspec package for this kind of address (for s3://: pip install 'ferdata[s3]')"
        ) from error
    return fs, base
