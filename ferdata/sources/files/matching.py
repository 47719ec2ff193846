"""Match label rows with image files, name the items, and stop where a whole source does not fit.

In: names from a listing and text from a label file. Out: paths, keys and whole numbers. About 1 µs a name.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ferdata.errors import SourceError
from ferdata.sources.files.listing import natural_key
from ferdata.sources.scan import Reject
from ferdata.store import Store

__all__ = [
    "KeyMaker",
    "StemIndex",
    "has_wrong_order",
    "plain_reason",
    "stem_of",
    "stop_if_most_labels_invalid",
    "stop_if_no_image_found",
    "whole_number",
]

KNOWN_ALIASES = (
    "neutral, normal, calm; happy, happiness, joy; sad, sadness; surprise, surprised, suprise; fear, fearful, afraid; "
    "disgust, disgusted; anger, angry; contempt"
)
"""Class names that are known, in any case, for error texts."""

PART_OF_AFFECTNET = "Note: a re-release of a part of AffectNet, not the full set of 287,651 train images."

SPLIT_ORDER = ("train", "val", "test")
MAX_KEY_CHARS = 80
_WRONG_SHARE = 10
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_-]+")
_WHOLE = re.compile(r"[+-]?\d{1,9}(\.0*)?")


def stem_of(path: str) -> str:
    """Return a path or file name without its last extension."""
    return os.path.splitext(path)[0]


def plain_reason(error: Exception, store: Store) -> str:
    """Return an error's text for a reject: without the place of the source, so that a copy of it elsewhere gives the same rejects."""
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

    def __len__(self) -> int:
        return len(self._names)

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


def stop_if_most_labels_invalid(rejects: Sequence[Reject], where: str, num_rows: int, expected: str) -> None:
    """Refuse a label file most of whose labels are not classes: it is read with the wrong map.

    Raises:
        SourceError: If more than half of ``num_rows`` were rejected as ``label_invalid``.
    """
    wrong = [reject for reject in rejects if reject.reason == "label_invalid"]
    if 2 * len(wrong) > num_rows:
        common = ", ".join(f"{detail} ({count:,} x)" for detail, count in Counter(reject.detail for reject in wrong).most_common(3))
        raise SourceError(
            f"{where}: {len(wrong):,} of {num_rows:,} labels are not classes: {common}; "
            f"expected {expected}; check that this is the right label file"
        )


def stop_if_no_image_found(where: str, num_rows: int, num_found: int, looked_for: Sequence[str]) -> None:
    """Refuse a source none of whose label rows finds its image: the root is wrong.

    Raises:
        SourceError: If there are rows and no image.
    """
    if num_rows and not num_found:
        raise SourceError(
            f"{where}: none of {num_rows:,} label rows finds its image, expected for instance {', '.join(looked_for[:3])}; "
            "point to the folder that holds labels and images together, and unpack archives first"
        )


def has_wrong_order(counts: Mapping[int, int], num_classes: int) -> bool:
    """Tell whether ids that should run from 1 to ``num_classes`` are those of another list, or only wrong in a few rows.

    Another list is one with a tenth of its ids outside, or one from 0 that lacks the last id: 0 stands for the first class then.
    """
    outside = sum(count for number, count in counts.items() if not 1 <= number <= num_classes)
    return outside * _WRONG_SHARE > sum(counts.values()) or (bool(counts.get(0)) and not counts.get(num_classes))
