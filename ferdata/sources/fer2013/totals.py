"""How many images FER2013's releases hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ferdata.labels import FER2013
from ferdata.sources.layout import Release

__all__ = ["FER_CHALLENGE", "FER_FOLDERS", "FER_FULL"]


def _by_class(counts: Sequence[int]) -> Mapping[str, int]:
    return dict(zip(FER2013, counts, strict=True))


_TRAIN = _by_class((3995, 436, 4097, 7215, 4830, 3171, 4965))

FER_FULL = Release(
    title="FER2013",
    splits={
        "train": _TRAIN,
        "val": _by_class((467, 56, 496, 895, 653, 415, 607)),
        "test": _by_class((491, 55, 528, 879, 594, 416, 626)),
    },
)
FER_FOLDERS = (
    Release(
        title="FER2013 as class folders, whose test is PublicTest and PrivateTest together",
        splits={"train": _TRAIN, "test": _by_class((958, 111, 1024, 1774, 1247, 831, 1233))},
    ),
    replace(FER_FULL, is_only=False),
)
FER_CHALLENGE = Release(
    title="the train.csv of FER2013's challenge",
    splits={"train": _TRAIN},
    is_only=False,
    is_reduced=True,
    remark="the challenge's test.csv has no labels: fer2013.csv and icml_face_data.csv have those of all images",
)
