"""How many images SFEW 2.0 holds; test has no public labels."""

from collections.abc import Sequence

from ferdata.labels import ALPHABETICAL_7
from ferdata.sources.layout import Release

__all__ = ["SFEW_FACES", "SFEW_SCENES"]


def _release(title: str, train: Sequence[int], val: Sequence[int]) -> Release:
    splits = {"train": train, "val": val}
    return Release(
        title=title,
        splits={split: dict(zip(ALPHABETICAL_7, counts, strict=True)) for split, counts in splits.items()},
    )


SFEW_SCENES = _release("SFEW 2.0", (178, 66, 98, 198, 150, 172, 96), (77, 23, 47, 73, 86, 73, 57))
SFEW_FACES = _release("the aligned faces of SFEW 2.0", (178, 52, 78, 184, 144, 161, 94), (77, 23, 46, 72, 84, 73, 56))
"""In some frames no face was found."""
