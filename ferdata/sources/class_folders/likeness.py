"""Whose images class folders hold, by what the images are called.

In: file names. Out: the source whose images are called like that, or none. Costs about 1 µs a name.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from ferdata.sources.layout import DATA_SETS, Layout
from ferdata.sources.rafdb.label_list import RAF_BASIC_NAME

__all__ = ["FRAME_NAME", "named_like", "note_likeness"]

FRAME_NAME = re.compile(r"(?P<sequence>.+_\d{9})_(?P<frame>\d{8})\.\w+")
"""What frames of SFEW are called: film, time of the clip, number of the frame."""

_NAMES: Mapping[str, re.Pattern[str]] = {
    "rafdb": RAF_BASIC_NAME,
    "fer2013": re.compile(r"(Training|PublicTest|PrivateTest)_\d+\.\w+"),
    "sfew": FRAME_NAME,
}
_NUMBERED = re.compile(r"\d{4}\.png")
"""What images of CAER-S are called, and many others."""


def named_like(files: Collection[str]) -> str | None:
    """Return the source whose images alone are called like these, all of them."""
    return next((source for source, name in _NAMES.items() if files and all(map(name.fullmatch, files))), None)


def note_likeness(
    layouts: Mapping[str, Layout], counts: Mapping[str, int], classes: Collection[str], files: Sequence[str]
) -> tuple[str, ...]:
    """Return a note on the data set that class folders look like, with the numbers of both, or none.

    Args:
        layouts: Source -> layout of its class folders.
        counts: Split -> images.
        classes: The classes that are there.
        files: What images are called.
    """
    like = named_like(files)
    caers = layouts["caers"]
    if like is None and set(counts) == set(caers.releases[0].splits) and set(classes) == set(caers.classes):
        like = "caers" if files and all(map(_NUMBERED.fullmatch, files)) else None
    if like is None:
        return ()
    known = layouts[like].releases[0]
    totals = {split: of if isinstance(of, int) else sum(of.values()) for split, of in known.splits.items()}
    return (
        f"This looks like {DATA_SETS[like]} by the images' names ({_shown(counts)}; {known.title} has {_shown(totals)})"
        f": source {like!r} compares it with what is known of it.",
    )


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in counts.items() if count)
