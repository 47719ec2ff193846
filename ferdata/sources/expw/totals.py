"""How many faces ExpW holds."""

from ferdata.labels import FER2013
from ferdata.sources.layout import Release

__all__ = ["EXPW_FULL"]

EXPW_FULL = Release(
    title="ExpW",
    splits={"train": dict(zip(FER2013, (3671, 3995, 1088, 30537, 10559, 7060, 34883), strict=True))},
)
