"""Official class names and ids, and the maps between data sets.

Ids are AffectNet's own everywhere inside ferdata; RAF-DB and other orders are mapped by name when they are read.
"""

from collections.abc import Sequence

from ferdata.errors import OptionError

__all__ = [
    "AFFECTNET_7",
    "AFFECTNET_8",
    "AFFECTNET_ALL",
    "ALPHABETICAL_7",
    "ALPHABETICAL_8",
    "FER2013",
    "RAFDB_BASIC",
    "RAFDB_COMPOUND",
    "canonical_name",
    "map_ids",
]

AFFECTNET_ALL: tuple[str, ...] = (
    "Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt", "None", "Uncertain", "No-Face",
)  # fmt: skip
"""All eleven AffectNet classes, by official id 0..10."""

AFFECTNET_8: tuple[str, ...] = AFFECTNET_ALL[:8]
AFFECTNET_7: tuple[str, ...] = AFFECTNET_ALL[:7]

RAFDB_BASIC: tuple[str, ...] = ("Surprise", "Fear", "Disgust", "Happy", "Sad", "Anger", "Neutral")
"""RAF-DB basic by RAF id - 1, under AffectNet's names."""

RAFDB_COMPOUND: tuple[str, ...] = (
    "Happily Surprised", "Happily Disgusted", "Sadly Fearful", "Sadly Angry", "Sadly Surprised", "Sadly Disgusted",
    "Fearfully Angry", "Fearfully Surprised", "Angrily Surprised", "Angrily Disgusted", "Disgustedly Surprised",
)  # fmt: skip
"""RAF-DB compound by RAF id - 1. The data set's text speaks of 12 classes; the released list has these 11."""

ALPHABETICAL_8: tuple[str, ...] = ("Anger", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
ALPHABETICAL_7: tuple[str, ...] = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
FER2013: tuple[str, ...] = ("Anger", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")

_ALIASES: dict[str, str] = {
    "neutral": "Neutral", "normal": "Neutral", "calm": "Neutral",
    "happy": "Happy", "happiness": "Happy", "joy": "Happy",
    "sad": "Sad", "sadness": "Sad",
    "surprise": "Surprise", "surprised": "Surprise", "suprise": "Surprise",
    "fear": "Fear", "fearful": "Fear", "afraid": "Fear",
    "disgust": "Disgust", "disgusted": "Disgust",
    "anger": "Anger", "angry": "Anger",
    "contempt": "Contempt",
}  # fmt: skip


def canonical_name(name: str) -> str | None:
    """Return the official AffectNet name for a class name or alias (any case), or None if it is not one."""
    return _ALIASES.get(name.strip().lower())


def map_ids(names_from: Sequence[str], names_to: Sequence[str]) -> list[int]:
    """Return, for each class of ``names_from``, its id in ``names_to``, matched by name.

    Raises:
        OptionError: If a name of ``names_from`` is not in ``names_to``.
    """
    missing = [name for name in names_from if name not in names_to]
    if missing:
        raise OptionError(f"class map: {missing} found, expected only names out of {list(names_to)}; drop these classes first")
    return [names_to.index(name) for name in names_from]
