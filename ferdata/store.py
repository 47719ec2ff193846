"""Files wherever they live: local folders by the operating system's own calls, anything else through fsspec.

The only file that imports fsspec. Paths are text; a text with ``://`` is an fsspec URL. An object store has no folders
and no rename: a prefix without objects does not exist, and a file exists once its upload is complete.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import IO, Any, TypeVar

import fsspec

from ferdata import remote
from ferdata.errors import FerdataError, OptionError, ShardMissingError, StoreError
from ferdata.mapping import open_regular
from ferdata.optional import how_to_reach
from ferdata.place import expand, is_folder_entry, is_standard_output, write_in_place, writes_in_place
from ferdata.shown import shown, without_credentials

__all__ = [
    "Entry",
    "Store",
    "StrPath",
    "folder_and_name",
    "join",
    "write_file_at",
]

T = TypeVar("T")

StrPath = str | os.PathLike[str]
"""What every public function takes for a folder: a path as text or as an object, or an fsspec URL."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    is_dir: bool
    num_bytes: int | None


def join(root: str, *parts: str) -> str:
    """Join path parts below a local root or an fsspec URL; a web address keeps its query (``?token=``) at the end."""
    root, mark, query = root.partition("?") if root.startswith(remote.HTTP) else (root, "", "")
    return "/".join([root.rstrip("/") or "/", *(part.strip("/") for part in parts if part)]) + mark + query


class Store:
    """A folder, local or behind an fsspec URL, addressed by paths relative to it; for any number of threads.

    Args:
        root: The folder or URL.
        patience: How long a service behind a URL may be gone, and what reading from it has met; None: what this process
            reads with.
    """

    def __init__(self, root: StrPath, *, patience: remote.Patience | None = None) -> None:
        if not isinstance(root, (str, os.PathLike)):
            raise OptionError(
                f"{root!r}: a {type(root).__name__} found, expected one folder or URL; name one data set at a time"
            )
        self.root = os.fsdecode(root)
        self.patience = patience or remote.usual_patience()
        self.is_local = "://" not in self.root or self.root.startswith("file://")
        if self.is_local:
            self.root = expand(self.root.removeprefix("file://"))
        self._has_secret = without_credentials(self.root) != self.root
        self._is_http = self.root.startswith(remote.HTTP)
        self._fs: Any
        self._fs, self._base = (None, self.root) if self.is_local else self._open_fs(to_read=True)
        # Behind a URL the errors are those of the service's own library: no credentials, no such host, access denied.
        self._failures: type[Exception] = OSError if self.is_local else Exception
        if not self.is_local:
            kind: Any = partial(remote.Web, where=str(self)) if self._is_http else remote.Objects
            self._remote: remote.Web | remote.Objects = kind(self._fs, self.patience)

    def __reduce__(self) -> tuple[Callable[..., "Store"], tuple[str]]:
        return partial(Store, patience=self.patience), (self.root,)

    def __str__(self) -> str:
        return shown(self.root)

    @property
    def sends_whole_files(self) -> bool:
        """Whether a server was found to send whole files where parts are asked for."""
        return not self.is_local and self._remote.sends_whole_files

    def path(self, relative: str = "") -> str:
        """Return the full path or URL of a relative path."""
        return join(self.root, relative) if relative else self.root

    def exists(self, relative: str = "") -> bool:
        """Tell whether a file or folder exists; in an object store, a folder exists as long as it holds anything."""
        if self._fs is None:
            return os.path.exists(self.path(relative))
        with self._reading(relative):
            return self._persist(relative, lambda: self._remote.exists(self._key(relative)))

    def is_dir(self, relative: str = "") -> bool:
        """Tell whether a folder exists."""
        if self._fs is None:
            return os.path.isdir(self.path(relative))
        with self._reading(relative):
            return bool(self._persist(relative, lambda: self._fs.isdir(self._fresh(relative))))

    def num_bytes(self, relative: str) -> int:
        """Return the size of a file."""
        try:
            with self._reading(relative):
                if self._fs is None:
                    return os.stat(self.path(relative)).st_size
                return self._persist(relative, lambda: self._remote.size(self._key(relative)))
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
                    entries = [Entry(e.name, is_folder_entry(e), None) for e in found]
            else:
                with self._reading(relative):
                    entries = self._persist(relative, lambda: [*self._iter_remote(relative)])
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

    def read(
        self, relative: str, *, is_fresh: bool = False, is_new: bool = False, max_bytes: int | None = None
    ) -> bytes:
        """Return all bytes of one file.

        Args:
            relative: The file.
            is_fresh: Bypass any caches on the way.
            is_new: Do that over a new connection.
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
            return bytes(self._persist(relative, lambda: self._fetch(relative, None, is_fresh=is_fresh, is_new=is_new)))

    def read_range(
        self, relative: str, start: int, stop: int, *, is_fresh: bool = False, is_new: bool = False
    ) -> bytes:
        """Return the bytes ``[start, stop)`` of one file, fewer only at its end; behind a URL as one range request.

        Transient failures and incomplete answers of a remote store are waited out, as long as :attr:`patience` lasts.

        Args:
            relative: The file.
            start: First byte.
            stop: The byte after the last.
            is_fresh: Bypass any caches on the way, as bytes that arrived do not fit their checksum.
            is_new: Do that over a new connection.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be read, or ``patience.end()`` was called meanwhile.
        """
        with self._reading(relative):
            if self._fs is None:
                with open(self.path(relative), "rb", opener=open_regular) as file:
                    file.seek(start)
                    return file.read(stop - start)
            if start >= stop:
                return b""
            return bytes(
                self._persist(relative, lambda: self._fetch(relative, (start, stop), is_fresh=is_fresh, is_new=is_new))
            )

    def read_into(self, relative: str, start: int, room: memoryview, **how: bool) -> int:
        """Fetch bytes of a remote file from ``start`` on into memory; return how many: fewer only at the file's end."""
        part = start, start + len(room)
        with self._reading(relative):
            data = self._persist(relative, lambda: self._fetch(relative, part, room=room, **how))
        if not isinstance(data, memoryview):
            room[: len(data)] = data
        return len(data)

    def _persist(self, relative: str, ask: Callable[[], T]) -> T:
        return self.patience.persist(ask, self.path(relative))

    def _fetch(
        self, relative: str, part: tuple[int, int] | None, *, room: memoryview | None = None, **how: bool
    ) -> bytes | memoryview:
        """Ask once for a file or a part of it."""
        is_again, is_new = any(how.values()), how.get("is_new", False)
        data = self._remote.read(self._key(relative), part, is_fresh=is_again, is_new=is_new, room=room)
        if part is not None and len(data) != part[1] - part[0]:
            left = max(0, min(part[1], self._remote.size(self._key(relative))) - part[0])
            if len(data) != left:
                raise remote.IncompleteAnswerError(f"{len(data):,} bytes arrived, expected {left:,}")
        self.patience.arrived(len(data), is_again=is_again)
        return data

    def make_dir(self, relative: str = "") -> None:
        """Make a folder and its parents if they do not exist; does nothing in object stores, which have none."""
        with self._writing(relative):
            if self._fs is None:
                os.makedirs(self.path(relative), exist_ok=True)
            else:
                self._writer.makedirs(self._key(relative), exist_ok=True)

    def remove(self, relative: str) -> None:
        """Remove a file, or a folder and everything in it, if it exists."""
        if not self.exists(relative):
            return
        with self._writing(relative):
            if self._fs is None:
                path = self.path(relative)
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
            else:
                self._writer.invalidate_cache()
                self._writer.rm(self._key(relative), recursive=True)

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
                self._writer.pipe_file(self._key(relative), data)

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
                    self._writer.put_file(file.name, self._key(relative))
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

    @cached_property
    def _writer(self) -> Any:
        """The file system as its library makes it: uploads that fail are its affair."""
        return self._open_fs(to_read=False)[0]

    def _key(self, relative: str) -> str:
        return join(self._base, relative)

    def _fresh(self, relative: str) -> str:
        """Return fsspec's name for a file after forgetting cached listings: other processes may have written since."""
        self._fs.invalidate_cache(self._key(relative))
        return self._key(relative)

    def _open_fs(self, *, to_read: bool) -> tuple[Any, str]:
        """Return a file system, and what it calls the folder."""
        configured = fsspec.config.conf.get(self.root.partition("://")[0], {})
        options = remote.reading_options(self.root, configured) if to_read else {}
        try:
            fs, base = fsspec.core.url_to_fs(self.root, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(f"{self.root}: {error}, {how_to_reach(self.root)}") from self._cause(error)
        except Exception as error:  # some kinds of address call their server at once
            raise StoreError(
                f"{self.root}: {remote.reason(error)}, expected an address that answers; check it and try again"
            ) from self._cause(error)
        return fs, base

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
            last = (error.__cause__ or error) if isinstance(error, remote.PatienceEndedError) else error
            advice = remote.advice(error) if last is error else str(error)
            found, cause = f"{self.path(relative)}: {remote.reason(last)}", self._cause(last)
            raise StoreError(f"{found}, expected a file that can be read; {advice}") from cause

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

    def _cause(self, error: BaseException) -> BaseException | None:
        """Return what a traceback may show as the cause: errors of other libraries repeat the address as it is."""
        return None if self._has_secret else error

    def _unwritable(self, relative: str, error: Exception) -> StoreError:
        found = f"{self.path(relative)}: {remote.reason(error)}"
        return StoreError(f"{found}, expected a place with room that can be written; choose another")


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
