"""How many images FERPlus gives each class, by its two label files and by either rule."""

from collections.abc import Sequence

from ferdata.labels import FERPLUS
from ferdata.sources.layout import Release

__all__ = ["FERPLUS_FILES", "FERPLUS_TABLE"]

Counts = Sequence[int]


def _release(title: str, train: Counts, val: Counts, test: Counts, *, is_only: bool = False) -> Release:
    splits = {"train": train, "val": val, "test": test}
    by_class = {split: dict(zip(FERPLUS, counts, strict=True)) for split, counts in splits.items()}
    return Release(title=title, splits=by_class, is_only=is_only)


FERPLUS_TABLE = (
    _release(
        "FERPlus by fer2013new.csv and majority",
        (8740, 7287, 3149, 3014, 2100, 119, 532, 119, 3499, 2),
        (1182, 865, 415, 351, 287, 24, 62, 13, 380, 0),
        (1090, 893, 396, 384, 273, 18, 83, 16, 420, 1),
        is_only=True,
    ),
    _release(
        "FERPlus by fer2013new.csv and most votes",
        (10388, 7539, 3588, 3549, 2478, 194, 656, 167, 0, 2),
        (1347, 899, 459, 418, 320, 36, 75, 25, 0, 0),
        (1278, 929, 446, 448, 326, 23, 94, 29, 0, 1),
    ),
)
"""Of the 35,714 rows that name an image."""

FERPLUS_FILES = (
    _release(
        "FERPlus by its label.csv files and majority",
        (8733, 7284, 3136, 3022, 2098, 116, 536, 120, 3511, 2),
        (1180, 862, 411, 348, 289, 25, 60, 16, 388, 0),
        (1083, 892, 394, 382, 269, 16, 86, 15, 436, 0),
        is_only=True,
    ),
    _release(
        "FERPlus by its label.csv files and most votes",
        (10377, 7537, 3583, 3559, 2476, 195, 659, 170, 0, 2),
        (1341, 899, 461, 419, 326, 34, 72, 27, 0, 0),
        (1274, 929, 450, 449, 322, 21, 98, 30, 0, 0),
    ),
)
"""Of 35,710 images; the votes on 1,602 of them are others than those of ``fer2013new.csv``."""
