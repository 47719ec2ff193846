"""How many images AffectNet's releases hold."""

from collections.abc import Mapping

from ferdata.labels import AFFECTNET_8, AFFECTNET_ALL
from ferdata.sources.layout import Release

__all__ = ["AFFECTNET_TRAIN", "PART_OF_AFFECTNET", "RELEASE_2021", "TENTH"]

AFFECTNET_TRAIN: Mapping[str, int] = dict(
    zip(AFFECTNET_ALL, (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750, 33088, 11645, 82415), strict=True)
)
"""Usable rows of AffectNet's train split by class; the 2021 release holds the first eight."""

RELEASE_2021 = Release(
    title="the 8-label AffectNet release of 2021",
    splits={
        "train": {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8},
        "val": {name: 499 if name == "Contempt" else 500 for name in AFFECTNET_8},
    },
)
TENTH = "a re-release of about a tenth of AffectNet: the real set has 287,651 train images"
PART_OF_AFFECTNET = "Note: a re-release of a part of AffectNet, not the full set of 287,651 train images."
