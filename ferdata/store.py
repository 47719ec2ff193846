"""Files wherever they live: local folders by the operating system's own calls, anything else through fsspec.

The only file that imports fsspec. Paths are text; a text with ``://`` is an fsspec URL. An object store has no folders
and no rename: a prefix without objects does not exist, and a file exists once its upload is complete.
"""

import contextlib
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import fsspec

from ferdata import remote
from ferdata.errors import FerdataError, OptionError, ShardMissingError, StoreError
from ferdata.optional import how_to_reach
from ferdata.place import expand, is_standard_output, write_in_place, writes_in_place
from ferdata.shown import shown, without_credentials

__all__ = [
    "OPEN_FLAGS",
    "Entry",
    "Store",
    "StrPath",
    "folder_and_name",
    "is_folder",
    "join",
    "open_regular",
    "write_file_at",
]

StrPath = str | os.PathLike[str]
"""What every public function takes for a folder: a path as text or as an object, or an fsspec URL."""

_HTTP = ("http://", "https://")

OPEN_FLAGS: int = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Of files that are read: one that turns out to be a pipe is not waited for, and bytes stay as they are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    is_dir: bool
    num_bytes: int | None


def join(root: str, *parts: str) -> str:
    """Join path parts below a local root or an fsspec URL; a web address keeps its query (``?token=``) at the end."""
    root, mark, query = root.partition("?") if root.startswith(_HTTP) else (root, "", "")
    return "/".join([root.rstrip("/") or "/", *(part.strip("/") for part in parts if part)]) + mark + query


class Store:
    """A folder, local or behind an fsspec URL, addressed by paths relative to it."""

    def __init__(self, root: StrPath) -> None:
        if not isinstance(root, (str, os.PathLike)):
            raise OptionError(
                f"{root!r}: a {type(root).__name__} found, expected one folder or URL; name one data set at a time"
            )
        self.root = os.fsdecode(root)
        self.is_local = "://" not in self.root or self.root.startswith("file://")
        if self.is_local:
            self.root = expand(self.root.removeprefix("file://"))
        self._has_secret = without_credentials(self.root) != self.root
        self._fs: Any
        self._fs, self._base = (None, self.root) if self.is_local else _open_fs(self.root)

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.root,)

    def __str__(self) -> str:
        return shown(self.root)

    def path(self, relative: str = "") -> str:
        """Return the full path or URL of a relative path."""
        return join(self.root, relative) if relative else self.root

    def exists(self, relative: str = "") -> bool:
        """Tell whether a file or folder exists; in an object store, a folder exists as long as it holds anything."""
        if self._fs is None:
            return os.path.exists(self.path(relative))
        with self._reading(relative):
            ask = remote.http_exists if self._is_http else type(self._fs).exists
            return bool(remote.persistently(lambda: ask(self._fs, self._fresh(relative))))

    def is_dir(self, relative: str = "") -> bool:
        """Tell whether a folder exists."""
        if self._fs is None:
            return os.path.isdir(self.path(relative))
        with self._reading(relative):
            return bool(remote.persistently(lambda: self._fs.isdir(self._fresh(relative))))

    def num_bytes(self, relative: str) -> int:
        """Return the size of a file."""
        try:
            with self._reading(relative):
                if self._fs is None:
                    return os.stat(self.path(relative)).st_size
                return remote.persistently(lambda: self._size(relative))
        except FileNotFoundError as error:
            raise ShardMissingError(
                f"{self.path(relative)}: no such file; check the folder or write it again"
            ) from error

    def list(self, relative: str = "", *, missing_ok: bool = False) -> list[Entry]:
        """Return the names in one folder, sorted by name; one call to the operating system or the remote service.

        Args:
            relative: The folder.
            missing_ok: Treat a missing folder as empty: object stores keep no empty folders.

        Raises:
            StoreError: If there is no such folder, or it cannot be listed.
        """
        try:
            if self._fs is None:
                with self._reading(relative), os.scandir(self.path(relative)) as found:
                    entries = [Entry(e.name, is_folder(e), None) for e in found]
            else:
                with self._reading(relative):
                    entries = remote.persistently(lambda: [*self._iter_remote(relative)])
        except FileNotFoundError as error:
            if missing_ok:
                return []
            raise StoreError(f"{self.path(relative)}: no such folder; check the path") from error
        except NotADirectoryError as error:
            raise StoreError(f"{self.path(relative)}: a file found, expected a folder; check the path") from error
        return sorted(entries, key=lambda entry: entry.name)

    def _iter_remote(self, relative: str) -> Iterator[Entry]:
        base = self._fresh(relative).rstrip("/")
        for found in self._fs.ls(base, detail=True):
            name, is_dir = found["name"].rstrip("/"), found["type"] == "directory"
            if name.strip("/") != base.strip("/"):
                yield Entry(name.rsplit("/", 1)[-1], is_dir, found.get("size"))
            elif not is_dir and not found["name"].endswith("/") and found.get("size"):
                raise NotADirectoryError(base)  # an empty object is how some tools mark a folder

    def read(self, relative: str, *, is_fresh: bool = False, max_bytes: int | None = None) -> bytes:
        """Return all bytes of one file.

        Args:
            relative: The file.
            is_fresh: Bypass any caches on the way.
            max_bytes: Refuse a larger local file. Behind a URL, asking for the size would be a second request.

        Raises:
            StoreError: If it cannot be read, or is larger.
        """
        with self._reading(relative):
            if self._fs is None:
                with open(self.path(relative), "rb", buffering=0, opener=open_regular) as file:
                    if max_bytes is not None and (size := os.fstat(file.fileno()).st_size) > max_bytes:
                        raise StoreError(
                            f"{self.path(relative)}: {size:,} bytes found, expected at most {max_bytes:,}; remove it"
                        )
                    return file.read()
            return remote.persistently(lambda: self._fetch(relative, None, is_fresh))[0]

    def read_range(self, relative: str, start: int, stop: int, *, is_fresh: bool = False) -> bytes:
        """Return the bytes ``[start, stop)`` of one file, fewer only at its end; behind a URL as one range request.

        Transient failures and incomplete answers of a remote store are retried.
        """
        with self._reading(relative):
            if self._fs is None:
                with open(self.path(relative), "rb", opener=open_regular) as file:
                    file.seek(start)
                    return file.read(stop - start)
            if start >= stop:
                return b""
            data, is_whole = remote.persistently(lambda: self._fetch(relative, (start, stop), is_fresh))
        if is_whole:
            warnings.warn(
                f"{self}: this server sends whole files instead of parts, which is slow; "
                "use one that supports HTTP ranges",
                stacklevel=2,
            )
        return data

    def _fetch(self, relative: str, part: tuple[int, int] | None, is_fresh: bool) -> tuple[bytes, bool]:
        """Ask once for a file or a part of it; return it, and whether a web server sent the whole file."""
        start, stop = part or (0, None)
        is_whole = False
        if self._is_http:
            data, is_whole = remote.http_read(self._fs, self._key(relative), start, stop, is_fresh=is_fresh)
        else:
            if is_fresh:
                self._fs.invalidate_cache()
            data = bytes(self._fs.cat_file(self._key(relative), start=start or None, end=stop))
        if (
            stop is not None
            and len(data) != stop - start
            and len(data) != (left := max(0, min(stop, self._size(relative)) - start))
        ):
            raise remote.IncompleteAnswerError(f"{len(data):,} bytes arrived, expected {left:,}")
        return data, is_whole

    def _size(self, relative: str) -> int:
        key = self._fresh(relative)
        return remote.http_size(self._fs, key) if self._is_http else int(self._fs.size(key))

    def make_dir(self, relative: str = "") -> None:
        """Make a folder and its parents if they do not exist; does nothing in object stores, which have none."""
        with self._writing(relative):
            if self._fs is None:
                os.makedirs(self.path(relative), exist_ok=True)
            else:
                self._fs.makedirs(self._key(relative), exist_ok=True)

    def remove(self, relative: str) -> None:
        """Remove a file, or a folder and everything in it, if it exists."""
        if not self.exists(relative):
            return
        with self._writing(relative):
            if self._fs is None:
                path = self.path(relative)
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
            else:
                self._fs.invalidate_cache()
                self._fs.rm(self._key(relative), recursive=True)

    def remove_empty_dir(self, relative: str) -> None:
        """Remove a folder if it is empty; object stores have no folders, so nothing happens there."""
        if self._fs is None:
            with contextlib.suppress(OSError):
                os.rmdir(self.path(relative))

    def write(self, relative: str, data: bytes) -> None:
        """Write one of many small files; locally without an atomic write's fsync, which costs more than the file."""
        if self._fs is None:
            with self._writing(relative), open(self.path(relative), "wb") as file:
                file.write(data)
        else:
            with self._writing(relative):
                self._fs.pipe_file(self._key(relative), data)

    @contextlib.contextmanager
    def write_atomic(self, relative: str) -> Iterator[IO[bytes]]:
        """Open a file that appears under its name only when the block ends without an error.

        Locally: a temporary file in the same folder, fsync, rename. Remotely: a local temporary file that is
        uploaded as a whole, since object stores publish an upload only once it is complete.

        Raises:
            StoreError: If it cannot be written.
        """
        if self._fs is not None:
            with self._writing(relative):  # an address that cannot be written is refused before the work
                pass
            with tempfile.NamedTemporaryFile() as file:
                with self._own_failures(relative, file.name):
                    yield file
                    file.flush()
                with self._writing(relative):
                    self._fs.put_file(file.name, self._key(relative))
            return
        target = self.path(relative)
        temporary = f"{target}.partial-{os.getpid()}"
        try:
            with self._own_failures(relative, temporary):
                with open(temporary, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    @contextlib.contextmanager
    def _own_failures(self, relative: str, temporary: str) -> Iterator[None]:
        """Name the file in errors of writing it; errors of the caller's block with other files pass unchanged."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FerdataError) or error.filename not in (None, temporary):
                raise
            raise self._unwritable(relative, error) from self._cause(error)

    @property
    def _is_http(self) -> bool:
        return self.root.startswith(_HTTP)

    def _key(self, relative: str) -> str:
        return join(self._base, relative)

    def _fresh(self, relative: str) -> str:
        """Return fsspec's name for a file after forgetting cached listings: other processes may have written since."""
        self._fs.invalidate_cache(self._key(relative))
        return self._key(relative)

    @contextlib.contextmanager
    def _reading(self, relative: str) -> Iterator[None]:
        """Turn a system error into one that names the file; a missing file is left to the caller to explain."""
        try:
            yield
        except (FerdataError, NotADirectoryError):
            raise
        except FileNotFoundError as error:
            if not self._has_secret:
                raise
            raise FileNotFoundError(without_credentials(str(error))) from None
        except self._failures as error:
            found, cause = f"{self.path(relative)}: {remote.reason(error)}", self._cause(error)
            raise StoreError(f"{found}, expected a file that can be read; {remote.advice(error)}") from cause

    @contextlib.contextmanager
    def _writing(self, relative: str) -> Iterator[None]:
        if self._is_http:
            raise StoreError(
                f"{self.path(relative)}: an HTTP address found, which cannot be written, "
                "expected a folder or an object store"
            )
        try:
            yield
        except FerdataError:
            raise
        except self._failures as error:
            raise self._unwritable(relative, error) from self._cause(error)

    def _cause(self, error: Exception) -> Exception | None:
        """Return what a traceback may show as the cause: errors of other libraries repeat the address as it is."""
        return None if self._has_secret else error

    def _unwritable(self, relative: str, error: Exception) -> StoreError:
        found = f"{self.path(relative)}: {remote.reason(error)}"
        return StoreError(f"{found}, expected a place with room that can be written; choose another")

    @property
    def _failures(self) -> type[Exception]:
        # Behind a URL the errors are those of the service's own library: no credentials, no such host, access denied.
        return OSError if self._fs is None else Exception


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether a name is a folder or a link to one; a link that cannot be followed (as one to itself) is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def open_regular(path: str, flags: int = os.O_RDONLY) -> int:
    """Open a file, as an opener for :func:`open`: never wait, as a pipe without a writer does; refuse what may not end.

    Raises:
        StoreError: If it is not a regular file.
    """
    descriptor = os.open(path, flags | OPEN_FLAGS)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise StoreError(f"{path}: {found} found, expected a regular file; remove it")
    return descriptor


def write_file_at(path: str, data: bytes) -> None:
    """Write one file, by its path or URL, and its folders; a link stays one, devices and pipes are written to."""
    store, name = folder_and_name(path)
    if is_standard_output(path) or (store.is_local and writes_in_place(store.path(name))):
        with store._writing(name):
            write_in_place(path if is_standard_output(path) else store.path(name), data)
        return
    if store.is_local:
        store, name = folder_and_name(os.path.realpath(store.path(name)))
    store.make_dir()
    with store.write_atomic(name) as file:
        file.write(data)


def folder_and_name(path: str) -> tuple[Store, str]:
    """Return the folder of a file that a person names by its path or URL, and the file's name in it."""
    folder, slash, name = expand(path).rpartition("/")
    return Store(folder or slash or "."), name


def _open_fs(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        fs, base = fsspec.core.url_to_fs(url, **(remote.request_options() if url.startswith(_HTTP) else {}))
    except (ImportError, ValueError) as error:
        raise StoreError(f"{url}: {error}; {how_to_reach(url)}") from (
            None if without_credentials(url) != url else error
        )
    except Exception as error:  # some kinds of address call their server at once
        raise StoreError(
            f"{url}: {remote.reason(error)}, expected an address that answers; check it and try again"
        ) from (None if without_credentials(url) != url else error)
    return fs, base
