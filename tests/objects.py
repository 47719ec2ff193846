"""A stand-in for an object store, kept in a local folder: no folders, no rename, and no use in a forked process.

What S3 does that ``memory://`` hides; ``tests/ingest/test_ingest_stores.py`` runs the same against a real S3 server
where one is installed.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import fsspec


class ObjectStore(fsspec.AbstractFileSystem):
    """``objects:///folder``: every file below the folder is an object; a prefix without objects is not there."""

    protocol = "objects"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._process = os.getpid()
        self._listings: dict[str, list[dict[str, Any]]] = {}

    def _place(self, path: str) -> Path:
        if os.getpid() != self._process:
            raise RuntimeError("This class is not fork-safe")
        return Path("/" + self._strip_protocol(path).lstrip("/"))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Return what is right below a prefix; remembered until it is invalidated, as s3fs does."""
        place = self._place(path)
        if str(place) not in self._listings:
            if place.is_file():
                return [self._entry(place)]
            found = [self._entry(child) for child in place.glob("*") if child.is_file() or _objects(child)]
            if not found:
                raise FileNotFoundError(path)
            self._listings[str(place)] = found
        found = self._listings[str(place)]
        return found if detail else [entry["name"] for entry in found]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the listings of a path and of those above it, or all."""
        place = None if path is None else self._place(path)
        for known in [known for known in self._listings if place is None or Path(known) in (place, *place.parents)]:
            del self._listings[known]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return size and type; from a listing where one is remembered."""
        place = self._place(path)
        if (known := self._listings.get(str(place.parent))) is not None:
            found = [entry for entry in known if entry["name"] == str(place)]
            if not found:
                raise FileNotFoundError(path)
            return found[0]
        if not place.is_file() and not _objects(place):
            raise FileNotFoundError(path)
        return self._entry(place)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: there are no folders."""

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        place = self._place(rpath)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lpath, place)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        self._place(path).parent.mkdir(parents=True, exist_ok=True)
        self._place(path).write_bytes(value)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        return self._place(path).read_bytes()[start:end]

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        for each in _objects(self._place(path)) or [self._place(path)]:
            each.unlink()

    @staticmethod
    def _entry(place: Path) -> dict[str, Any]:
        is_file = place.is_file()
        return {
            "name": str(place),
            "type": "file" if is_file else "directory",
            "size": place.stat().st_size if is_file else 0,
        }


def _objects(prefix: Path) -> list[Path]:
    return [path for path in prefix.rglob("*") if path.is_file()]


fsspec.register_implementation("objects", ObjectStore, clobber=True)
