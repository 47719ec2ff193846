"""Official class names and ids, and the maps between data sets.

Inside ferdata ids are always AffectNet's own; RAF-DB's and other orders are mapped by name when they are read.
"""

import unicodedata
from collections.abc import Sequence

from ferdata.errors import OptionError

__all__ = [
    "AFFECTNET_7",
    "AFFECTNET_8",
    "AFFECTNET_ALL",
    "ALPHABETICAL_7",
    "ALPHABETICAL_8",
    "FER2013",
    "KNOWN_NAMES",
    "RAFDB_BASIC",
    "RAFDB_COMPOUND",
    "canonical_name",
    "map_ids",
    "name_key",
    "plain_name",
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
"""RAF-DB compound by RAF id - 1. The data set's description speaks of 12 classes; the released list has these 11."""

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

KNOWN_NAMES = ", ".join(_ALIASES)
"""Class names that are known, in any case, for error texts."""

_JOINERS = "\u200c\u200d"
"""Invisible as well, but Persian and Indic words are spelled with them."""

_NOT_IN_KEY = dict.fromkeys((*map(ord, _JOINERS), *range(0xFE00, 0xFE10)))
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")


def canonical_name(name: str) -> str | None:
    """Return AffectNet's official name for a class name or alias (as :func:`name_key` compares), or None."""
    return _ALIASES.get(name_key(name))


def plain_name(name: str) -> str:
    """Return a name as it is meant: composed characters, single spaces, none at the ends, and nothing invisible."""
    if name.isascii() and name.isprintable():
        return " ".join(name.split())
    seen = "".join(char for char in unicodedata.normalize("NFC", name) if char in _JOINERS or not _is_invisible(char))
    return " ".join(seen.split()).strip(_JOINERS)


def name_key(name: str) -> str:
    """Return what spellings of a name have in common: case, spaces, Unicode form, invisible characters don't count."""
    plain = plain_name(name)
    if plain.isascii():
        return plain.lower()
    folded = unicodedata.normalize("NFKC", plain).casefold().translate(_NOT_IN_KEY)
    return unicodedata.normalize("NFKC", folded)


def _is_invisible(char: str) -> bool:
    return char in _BLANK_LETTERS or (unicodedata.category(char) in ("Cc", "Cf") and not char.isspace())


def map_ids(names_from: Sequence[str], names_to: Sequence[str]) -> list[int]:
    """Return, for each class of ``names_from``, its id in ``names_to``, matched by name.

    Raises:
        OptionError: If a name of ``names_from`` is not in ``names_to``.
    """
    missing = [name for name in names_from if name not in names_to]
    if missing:
        raise OptionError(
            f"class map: {missing} found, expected only names out of {list(names_to)}; drop these classes first"
        )
    return [names_to.index(name) for name in names_from]
