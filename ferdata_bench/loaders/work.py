"""The benchmark's files: a folder that is removed at the end, room for it, cold copies, warm reading.

In: paths. Out: context managers and side effects on the page cache. What other programs have there is dropped only by
:func:`forget`, if its caller asks for it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ferdata.errors import OptionError
from ferdata.plan.ceilings import drop_from_cache
from ferdata_bench.contenders import Entry

__all__ = [
    "cold_copy",
    "folder_bytes",
    "forget",
    "read_through",
    "require_room",
    "way_to_forget",
    "work_folder",
]

CHUNK_BYTES = 8 << 20
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """Give a new folder below ``parent`` (or the user's cache), and remove it with all it holds at the end."""
    if parent is None:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferdata"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def folder_bytes(path: Path) -> int:
    """Return the bytes of every file below a folder (links to folders followed at the top), or of one file."""
    path = path.resolve()
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def require_room(folder: Path, pixel_bytes: int, entries: Sequence[Entry]) -> None:
    """Check that the disk can hold every contender's files.

    Raises:
        OptionError: If it can't.
    """
    needed = int(pixel_bytes * (1.5 + sum(entry.stored for entry in entries)))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OptionError(
            f"{folder}: {free / 1e9:.1f} GB free found, expected {needed / 1e9:.1f} GB for {len(entries)} contenders; "
            "name fewer of them, fewer images (count=) or another work folder"
        )


@contextmanager
def cold_copy(source: Path, copy: Path) -> Iterator[Path]:
    """Give a fresh copy of a folder whose pages the kernel has been asked to forget; remove it afterwards."""
    shutil.copytree(source.resolve(), copy)
    try:
        drop_from_cache([path for path in copy.rglob("*") if path.is_file()])
        yield copy
    finally:
        shutil.rmtree(copy)


def forget(folder: Path, *, all_caches: bool) -> None:
    """Let the kernel forget a folder's files; with ``all_caches``, where allowed, the machine's files and names."""
    if _may_drop(all_caches):
        os.sync()  # what is not written yet would stay
        DROP_CACHES.write_text("3")
    else:
        drop_from_cache([path for path in folder.resolve().rglob("*") if path.is_file()])


def way_to_forget(*, all_caches: bool) -> str:
    """Return, in words, what :func:`forget` does here."""
    if _may_drop(all_caches):
        return f"{DROP_CACHES} written: all files and names, those of the libraries too, come from the disk"
    return "posix_fadvise(DONTNEED) on the contender's files; names and libraries stay in memory"


def _may_drop(all_caches: bool) -> bool:
    return all_caches and os.access(DROP_CACHES, os.W_OK)


def read_through(folder: Path) -> None:
    """Read a file, or every file of a folder, once, so that the page cache holds it."""
    buffer = bytearray(CHUNK_BYTES)
    root = folder.resolve()
    for path in [root, *root.rglob("*")]:
        if path.is_file():
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
