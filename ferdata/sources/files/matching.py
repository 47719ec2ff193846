"""Match label rows with image files, and name the items.

In: names from a listing and text from a label file. Out: paths, keys and whole numbers. About 1 µs a name.
"""

import os
import re
from collections.abc import Iterable

from ferdata.sources.files.listing import natural_key
from ferdata.store import Store

__all__ = ["SPLIT_ORDER", "KeyMaker", "StemIndex", "plain_reason", "stem_of", "whole_number"]

SPLIT_ORDER = ("train", "val", "test")
MAX_KEY_CHARS = 80
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_-]+")
_WHOLE = re.compile(r"[+-]?\d{1,9}(\.0*)?")


def stem_of(path: str) -> str:
    """Return a path or file name without its last extension."""
    return os.path.splitext(path)[0]


def plain_reason(error: Exception, store: Store) -> str:
    """Return an error's text for a reject: without the place of the source, so that copies give the same rejects."""
    return str(getattr(error, "strerror", None) or error).replace(f"{store.root.rstrip('/')}/", "")


def whole_number(text: str) -> int | None:
    """Return the whole number that a text means (``3`` and ``3.0`` do), or None."""
    text = text.strip()
    return int(text.split(".")[0]) if _WHOLE.fullmatch(text) else None


class KeyMaker:
    """Makes keys that are unique without regard to case, out of any text."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def make(self, text: str) -> str:
        """Return ``text`` as a key; a number is appended where two would be the same."""
        base = key = _NOT_IN_KEY.sub("_", text)[:MAX_KEY_CHARS] or "_"
        number = 1
        # Exports to folders meet disks that ignore case, so two keys must differ in more than that.
        while key.lower() in self._used:
            number += 1
            key = f"{base[: MAX_KEY_CHARS - len(str(number)) - 1]}_{number}"
        self._used.add(key.lower())
        return key


class StemIndex:
    """Finds one of a folder's images by its name: exactly, else by its stem in any case and with any extension."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._by_stem: dict[str, list[str]] = {}
        for name in self._names:
            self._by_stem.setdefault(stem_of(name).lower(), []).append(name)

    def find(self, name: str) -> list[str]:
        """Return what ``name`` can mean: the exact name alone, else every image of that stem, sorted."""
        return [name] if name in self._names else sorted(self._by_stem.get(stem_of(name).lower(), ()))

    def find_stem(self, stem: str) -> list[str]:
        """Return the images of a stem: those in its own case if there are any, else those in another case."""
        found = sorted(self._by_stem.get(stem.lower(), ()))
        return [name for name in found if stem_of(name) == stem] or found

    def rest(self, used: Iterable[str]) -> list[str]:
        """Return the images that are not in ``used``, in natural order."""
        return sorted(self._names.difference(used), key=natural_key)
