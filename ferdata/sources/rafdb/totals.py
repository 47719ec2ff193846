"""How many images RAF-DB's releases hold."""

from collections.abc import Mapping

from ferdata.labels import RAFDB_BASIC
from ferdata.sources.layout import Release

__all__ = ["RAFDB_TRAIN", "RAF_FULL", "RAF_REDUCED"]

RAFDB_TRAIN: Mapping[str, int] = dict(zip(RAFDB_BASIC, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True))
"""Images of RAF-DB basic's train split by class."""

RAF_FULL = Release(
    title="RAF-DB basic",
    splits={"train": RAFDB_TRAIN, "test": dict(zip(RAFDB_BASIC, (329, 74, 160, 1185, 478, 162, 680), strict=True))},
)
RAF_REDUCED = Release(
    title="a reduced copy of RAF-DB basic",
    splits={"train": 12175, "test": 3031},
    is_only=False,
    is_reduced=True,
    remark="a reduced copy of RAF-DB basic: the real one has 12,271 train and 3,068 test images",
)
