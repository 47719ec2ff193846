"""How many images SFEW 2.0 holds; test has no public labels."""

from ferdata.labels import ALPHABETICAL_7
from ferdata.sources.layout import Release

__all__ = ["SFEW_FACES", "SFEW_SCENES"]

SFEW_SCENES = Release(title="SFEW 2.0", splits={"train": 958, "val": 436})
SFEW_FACES = Release(
    title="the aligned faces of SFEW 2.0",
    splits={
        "train": dict(zip(ALPHABETICAL_7, (178, 52, 78, 184, 144, 161, 94), strict=True)),
        "val": dict(zip(ALPHABETICAL_7, (77, 23, 46, 72, 84, 73, 56), strict=True)),
    },
)
"""In some frames no face was found."""
