"""Match label rows with image files, and name the items.

In: names from a listing and text from a label file. Out: paths, keys and whole numbers. About 1 µs a name.
"""

import math
import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import xxhash

from ferdata.sources.files.listing import natural_key
from ferdata.store import Store

__all__ = [
    "SPLIT_ORDER",
    "KeyMaker",
    "NameIndex",
    "box_of_corners",
    "floats",
    "in_order",
    "plain_reason",
    "stem_of",
    "whole_number",
]

SPLIT_ORDER = ("train", "val", "test")
MAX_KEY_CHARS = 80
_RECENT_KEYS = 1 << 15
T = TypeVar("T")
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_-]+")
_WHOLE = re.compile(r"[+-]?\d{1,9}(\.0*)?")


def in_order(found: Mapping[str, T]) -> dict[str, T]:
    """Return what there is of each split, in the order of the splits."""
    return {split: found[split] for split in SPLIT_ORDER if split in found}


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


def floats(values: Iterable[Any]) -> list[float] | None:
    """Return values, as text or as they are, as finite numbers; None where one of them is none."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if all(map(math.isfinite, found)) else None


def box_of_corners(corners: Sequence[float]) -> tuple[float, float, float, float] | None:
    """Return ``left, top, right, bottom`` as x, y, width, height; None without an area or left of or above an image."""
    left, top, right, bottom = corners
    return (left, top, right - left, bottom - top) if right > max(left, 0) and bottom > max(top, 0) else None


class KeyMaker:
    """Makes keys that are unique without regard to case, out of any text.

    Of each a hash of 8 bytes is kept: a text that has another's hash, if ever there is one, gets a number as well.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._older = np.empty(0, np.uint64).data  # ascending; in a set they take ten times as much

    def make(self, text: str) -> str:
        """Return ``text`` as a key; a number is appended where two would be the same."""
        base = key = _NOT_IN_KEY.sub("_", text)[:MAX_KEY_CHARS] or "_"
        number = 1
        # Exports to folders meet disks that ignore case, so two keys must differ in more than that.
        while not self._note(key.lower()):
            number += 1
            key = f"{base[: MAX_KEY_CHARS - len(str(number)) - 1]}_{number}"
        return key

    def _note(self, text: str) -> bool:
        """Note a text; tell whether it is new."""
        known = xxhash.xxh64_intdigest(text.encode())
        place = bisect_left(self._older, known)
        if known in self._recent or (place < len(self._older) and self._older[place] == known):
            return False
        self._recent.add(known)
        if len(self._recent) >= max(_RECENT_KEYS, len(self._older) >> 5):
            recent = np.sort(np.fromiter(self._recent, np.uint64, len(self._recent)))
            self._older = np.sort(np.concatenate([self._older, recent]), kind="stable").data  # which merges
            self._recent.clear()
        return True


class NameIndex:
    """Finds names in a listing: exactly, else in any case and Unicode form.

    With ``any_suffix`` names are alike in any case and with any extension instead.
    """

    def __init__(self, names: Iterable[str], *, any_suffix: bool = False) -> None:
        self._any_suffix = any_suffix
        # Nearly all names differ in more than that, and a tuple each would take as much memory again.
        self._alike: dict[str, str | tuple[str, ...]] = {}
        for name in names:
            key = self._key(name)
            known = self._alike.get(key, ())
            self._alike[key] = (*([known] if isinstance(known, str) else known), name) if known else name

    def __iter__(self) -> Iterator[str]:
        for known in self._alike.values():
            yield from (known,) if isinstance(known, str) else known

    def find(self, name: str) -> list[str]:
        """Return what ``name`` can mean: itself alone, else every name that is like it.

        None found is an empty list (reject ``image_missing``); more than one is ambiguous (reject ``image_ambiguous``).
        """
        if self._alike.get(name) == name:  # most names are their own key, and nothing is like them
            return [name]
        alike = self.alike(name)
        return [name] if name in alike else alike

    def alike(self, name: str) -> list[str]:
        """Return every name that is like ``name``, sorted."""
        known = self._alike.get(self._key(name), ())
        return [known] if isinstance(known, str) else sorted(known)

    def rest(self, used: Iterable[str]) -> list[str]:
        """Return the names that are not in ``used``, in natural order."""
        return sorted(set(self).difference(used), key=natural_key)

    def _key(self, name: str) -> str:
        if self._any_suffix:
            return stem_of(name).lower()
        key = name.lower() if name.isascii() else unicodedata.normalize("NFC", name).lower()
        return name if key == name else key  # the same text is held once
