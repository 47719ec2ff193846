"""What AffectNet's readers share: which classes are kept, what valence and arousal mean, and the listing of an image folder.

In: values as a layout writes them. Out: the outcome that the layout specification names. About 1 µs a value.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.files.listing import Folder, below, is_image_at, iter_names
from ferdata.sources.files.matching import whole_number
from ferdata.sources.scan import ScanBuilder, ScanOptions
from ferdata.store import Store

__all__ = ["ClassRule", "ImageStems", "clean_landmarks", "clean_score", "number_order", "reject_strays"]

NUM_LANDMARK_VALUES = 136
_MISSING_BELOW = -1.5


class ClassRule:
    """Sorts labels: a class that is kept, one that a rule of the user leaves out, or none at all."""

    def __init__(self, options: ScanOptions) -> None:
        self.classes: tuple[str, ...] = AFFECTNET_ALL[: options.classes] + (AFFECTNET_ALL[8:] if options.keep_non_emotion else ())
        self.left_out: Counter[tuple[str, str]] = Counter()
        self._index = {class_id: self.classes.index(name) for class_id, name in enumerate(AFFECTNET_ALL) if name in self.classes}

    def class_id(self, text: str) -> int | None:
        """Return the official id 0..10 that a text means, or None (reject ``label_invalid``); ``3.0`` is 3."""
        number = whole_number(text)
        return number if number is not None and 0 <= number < len(AFFECTNET_ALL) else None

    def index(self, class_id: int) -> int | None:
        """Return the class index of an official id, or None where a rule leaves the class out."""
        return self._index.get(class_id)

    def skip(self, builder: ScanBuilder, split: str, class_id: int) -> None:
        """Count a row that a rule leaves out."""
        self.left_out[split, AFFECTNET_ALL[class_id]] += 1
        builder.skipped["contempt" if AFFECTNET_ALL[class_id] == "Contempt" else "not_emotion"] += 1

    @property
    def expected(self) -> str:
        """The ids that are labels, for error texts."""
        return f"whole numbers 0 to {len(AFFECTNET_ALL) - 1} (0 Neutral, 1 Happy ... 7 Contempt)"


def clean_score(value: Any) -> tuple[float | None, bool]:
    """Return a valence or arousal, or None where it is missing, and whether it was not valid.

    -2 means "not available", so everything down from -1.5 is missing and not invalid.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None, True
    if -1.0 <= number <= 1.0:
        return number, False
    return None, not (math.isfinite(number) and number <= _MISSING_BELOW)


def clean_landmarks(values: Any) -> Sequence[float] | None:
    """Return 136 finite numbers, or None where there are not as many."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != NUM_LANDMARK_VALUES:
        return None
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def number_order(stem: str) -> tuple[int, int, str]:
    """Return a sort key that puts plain numbers first, as numbers."""
    return (0, int(stem), stem) if stem.isdecimal() else (1, 0, stem)


def reject_strays(builder: ScanBuilder, split_folder: Folder, split: str) -> None:
    """Reject the images that lie in a split folder itself, where no label can name them."""
    for name in split_folder.images:
        builder.reject(below(split_folder.path, name), "label_missing", "not in images/", split=split)


class ImageStems:
    """The images of one folder by stem, for releases whose labels name an image without its extension.

    Attributes:
        folders: Paths of the sub-folders, which no label can mean.
        others: Paths of the files that are no images.
    """

    def __init__(self, store: Store, folder: str | None) -> None:
        self._names: dict[str, str | list[str]] = {}
        self.folders: list[str] = []
        self.others: list[str] = []
        for name, is_dir in iter_names(store, folder) if folder is not None else ():
            if is_dir:
                self.folders.append(below(folder or "", name))
            elif not is_image_at(store, folder or "", name):
                self.others.append(below(folder or "", name))
            else:
                stem = os.path.splitext(name)[0].lower()
                known = self._names.setdefault(stem, name)
                if known is not name:
                    self._names[stem] = [*([known] if isinstance(known, str) else known), name]

    def __contains__(self, stem: str) -> bool:
        return stem.lower() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def find(self, stem: str) -> tuple[list[str], list[str]]:
        """Return the names that a stem can mean, the layout's own ``<stem>.jpg`` alone if it is there, and the other names."""
        known = self._names.get(stem.lower(), [])
        if isinstance(known, str):
            return [known], []
        if f"{stem}.jpg" in known:
            return [f"{stem}.jpg"], sorted(name for name in known if name != f"{stem}.jpg")
        return sorted(known), []
