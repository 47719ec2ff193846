"""Places a person names: what ``~`` means, whether they can be written, and how what lies there already is written to.

In: a path, or a URL, which is taken as it is. Out: a whole path, the reason why not, or a file. No store is opened.
"""

import os
import stat
import sys
import tempfile
from pathlib import Path

from ferdata.errors import StoreError

__all__ = [
    "check_file",
    "check_folder",
    "expand",
    "find_obstacle",
    "is_folder_entry",
    "is_standard_output",
    "write_in_place",
    "writes_in_place",
]

_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

_LONGEST_NAME = 255 - len(".partial-4194304")
"""Bytes of a file's name: file systems take 255, and a file is written beside its name first."""

_STANDING = {stat.S_IFBLK: "a disk", stat.S_IFSOCK: "a socket"}


def expand(place: str | os.PathLike[str]) -> str:
    """Return a URL as it is, and a local path with a leading ``~`` or ``~user`` as the home folder it stands for.

    A folder that is really called so is named ``./~``; it comes back as a whole path: ``pathlib`` drops the ``./``.
    """
    path = os.fspath(place)
    if "://" in path:
        return path
    if path.startswith("~"):
        return os.path.expanduser(path)
    return os.path.abspath(path) if os.path.normpath(path).startswith("~") else path


def is_standard_output(path: str) -> bool:
    """Tell whether a file that is to be written is the standard output; a file called ``-`` is named ``./-``."""
    return path in _STANDARD_OUTPUT


def writes_in_place(path: str) -> bool:
    """Tell whether a file must be written to as it stands: a pipe, a device, or one whose folder takes no other."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) or not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK)


def write_in_place(path: str, data: bytes) -> None:
    """Write to what stands under a name, or to the standard output."""
    if is_standard_output(path):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with open(path, "wb") as file:
        file.write(data)


def check_file(path: str, *, option: str) -> str:
    """Return where a file that a person names will stand, once it is clear that it can be written; nothing is made yet.

    A link, a device and a pipe are written to, and ``-`` is the standard output.

    Raises:
        StoreError: If it cannot be written: no name, a folder's name, or a folder above it that takes no files.
    """
    return _checked(path, f"{option} {path or repr(path)}", is_folder=False)


def check_folder(path: str, *, option: str) -> str:
    """Return where a folder that a person names will stand, once it is clear that it can be made; nothing is made yet.

    Raises:
        StoreError: If it cannot.
    """
    return _checked(path, f"{option} {path or repr(path)}", is_folder=True)


def _checked(path: str, where: str, *, is_folder: bool) -> str:
    if not path or (not is_folder and path.endswith("/")):
        obstacle: str | None = "no name found" if is_folder else "no file name found"
    elif path.startswith(("http://", "https://")):
        obstacle = "an HTTP address found, which cannot be written"
    elif "://" in path and not path.startswith("file://"):
        obstacle = None
    else:
        path = expand(path.removeprefix("file://"))
        obstacle = find_obstacle(path, is_folder=is_folder)
    if obstacle is None:
        return path
    expected = "a folder to write to" if is_folder else "the name of a file to write"
    raise StoreError(f"{where}: {obstacle}, expected {expected}; choose another")


def find_obstacle(path: str, *, is_folder: bool) -> str | None:
    """Return why a file, or a folder of files, cannot be written under a local path, or None; nothing is made yet."""
    if "\0" in path:
        return "a name with a zero byte found"
    if not is_folder and is_standard_output(path):
        return None if sys.stdout is not None else "a closed standard output found"
    target = Path(os.path.abspath(path))
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        mode = None
    except NotADirectoryError:
        mode = None
    except OSError as error:  # a link to itself, a name too long, a folder that may not be entered
        return f"{error.strerror or error} found".lower()
    if mode is not None and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode) and not is_folder:
        if kind := _STANDING.get(stat.S_IFMT(mode)):
            return f"{kind} found"
        return None if os.access(target, os.W_OK) else f"{target} found, which cannot be written"
    target = Path(os.path.realpath(target))
    nearest = next(above for above in (target, *target.parents) if os.path.lexists(above))
    if nearest == target and target.is_dir() and not is_folder:
        return "a folder found"
    if not nearest.is_dir() and (is_folder or nearest != target):
        return "a file found" if nearest == target else f"{nearest} found, which is no folder"
    if any(len(os.fsencode(name)) > _LONGEST_NAME for name in target.relative_to(nearest).parts):
        return f"a name of over {_LONGEST_NAME} bytes found"
    if not os.access(nearest, os.W_OK):
        return f"{nearest} found, which cannot be written"
    return _cannot_make_files(nearest) if nearest.is_dir() else None


def _cannot_make_files(folder: Path) -> str | None:
    """Try it with a file that has no name: permissions alone don't tell of full, frozen and made-up file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder} found, which takes no files ({error.strerror or error})"


def is_folder_entry(entry: os.DirEntry[str]) -> bool:
    """Tell whether a name is a folder or a link to one; a link that cannot be followed (as one to itself) is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
