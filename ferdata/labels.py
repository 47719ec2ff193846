"""One order: the classes of every data set by name, and the ids and words that each has for them.

Inside ferdata classes go by AffectNet's names, in its order; other orders are mapped by name when they are read.
"""

import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache

from ferdata.errors import OptionError

__all__ = [
    "AFFECTNET_7",
    "AFFECTNET_8",
    "AFFECTNET_ALL",
    "AFFWILD2",
    "ALPHABETICAL_7",
    "ALPHABETICAL_8",
    "CKPLUS",
    "DFEW",
    "FER2013",
    "FERPLUS",
    "JAFFE",
    "KDEF",
    "KNOWN_NAMES",
    "NON_EMOTIONS",
    "NUMBER_ORDERS",
    "RAFDB_BASIC",
    "RAFDB_COMPOUND",
    "canonical_name",
    "choose_classes",
    "common_name",
    "map_ids",
    "meanings",
    "name_key",
    "name_numbers",
    "plain_name",
    "soft_labels",
    "union_classes",
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
"""FER2013 and ExpW by their ids 0..6."""

FERPLUS: tuple[str, ...] = (
    "Neutral", "Happy", "Surprise", "Sad", "Anger", "Disgust", "Fear", "Contempt", "Unknown", "NF",
)  # fmt: skip
"""FERPlus by the order of its columns of votes; NF means not a face."""

CKPLUS: tuple[str, ...] = ("Neutral", "Anger", "Contempt", "Disgust", "Fear", "Happy", "Sad", "Surprise")
"""CK+ by its ids 0..7; 0 stands in no label file: it is the first frames of a sequence."""

AFFWILD2: tuple[str, ...] = ("Neutral", "Anger", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Other")
"""Aff-Wild2's expression challenges by their ids 0..7."""

DFEW: tuple[str, ...] = ("Happy", "Sad", "Neutral", "Anger", "Surprise", "Disgust", "Fear")
"""DFEW by its id - 1."""

NUMBER_ORDERS: dict[str, tuple[int, tuple[str, ...]]] = {
    "affectnet": (0, AFFECTNET_ALL), "rafdb": (1, RAFDB_BASIC), "fer2013": (0, FER2013), "ferplus": (0, FERPLUS),
    "ckplus": (0, CKPLUS), "affwild2": (0, AFFWILD2), "dfew": (1, DFEW), "alphabetical": (0, ALPHABETICAL_7),
}  # fmt: skip
"""Orders of ids that numbers without names can be asked to be read in: the first id, and its classes."""

JAFFE: dict[str, str] = {
    "NE": "Neutral", "HA": "Happy", "SA": "Sad", "SU": "Surprise", "FE": "Fear", "DI": "Disgust", "AN": "Anger",
}  # fmt: skip
"""What the letters in JAFFE's file names mean."""

KDEF: dict[str, str] = {
    "NE": "Neutral", "HA": "Happy", "SA": "Sad", "SU": "Surprise", "AF": "Fear", "DI": "Disgust", "AN": "Anger",
}  # fmt: skip
"""What the letters in KDEF's file names mean."""

NON_EMOTIONS: tuple[str, ...] = (*AFFECTNET_ALL[8:], "Unknown", "NF")
"""Labels that say that there is no expression to learn; they are left out unless they are asked for."""

_ALIASES: dict[str, str] = {
    "neutral": "Neutral", "normal": "Neutral", "calm": "Neutral", "neutrality": "Neutral",
    "happy": "Happy", "happiness": "Happy", "joy": "Happy",
    "sad": "Sad", "sadness": "Sad",
    "surprise": "Surprise", "surprised": "Surprise", "suprise": "Surprise",
    "fear": "Fear", "fearful": "Fear", "afraid": "Fear", "scared": "Fear",
    "disgust": "Disgust", "disgusted": "Disgust",
    "anger": "Anger", "angry": "Anger",
    "contempt": "Contempt",
}  # fmt: skip

_WITHOUT_COUNTERPART: dict[str, str] = {
    "none": "None", "uncertain": "Uncertain", "no-face": "No-Face", "noface": "No-Face", "no_face": "No-Face",
    "unknown": "Unknown", "nf": "NF", "other": "Other", "others": "Other", "compound": "Compound",
}  # fmt: skip
"""Words for what AffectNet's eight expressions do not have."""

KNOWN_NAMES = ", ".join(_ALIASES)
"""Class names that are known, in any case, for error texts."""

_JOINERS = "\u200c\u200d"
"""Invisible as well, but Persian and Indic words are spelled with them."""

_NOT_IN_KEY = dict.fromkeys((*map(ord, _JOINERS), *range(0xFE00, 0xFE10)))
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")


def canonical_name(name: str) -> str | None:
    """Return AffectNet's official name for a class name or alias (as :func:`name_key` compares), or None."""
    return _ALIASES.get(name_key(name))


def common_name(name: str) -> str | None:
    """Return the one name of a class by any word for it, classes that are no expression of AffectNet's included."""
    return canonical_name(name) or _WITHOUT_COUNTERPART.get(name_key(name))


def meanings(names: Sequence[str]) -> list[str]:
    """Return the one name of each class of a data set, its own if it is no known word.

    Words for one expression mean the same, but who tells calm from neutral, as RAVDESS does, means two.

    Example:
        >>> meanings(["joy", "bored", "calm"]), meanings(["Calm", "neutral"])
        (['Happy', 'bored', 'Neutral'], ['Calm', 'Neutral'])
    """
    is_apart = {"calm", "neutral"} <= set(map(name_key, names))
    return [
        plain_name(name) if is_apart and name_key(name) == "calm" else common_name(name) or plain_name(name)
        for name in names
    ]


def choose_classes(names: Sequence[str], *, contempt: bool = True, non_emotions: bool = False) -> tuple[str, ...]:
    """Return the classes of a source in the one order, without those that are not wanted.

    Example:
        >>> choose_classes(FERPLUS, contempt=False)
        ('Neutral', 'Happy', 'Sad', 'Surprise', 'Fear', 'Disgust', 'Anger')
    """
    unwanted = {*(() if contempt else ("Contempt",)), *(() if non_emotions else NON_EMOTIONS)}
    return tuple(name for name in union_classes(names) if name not in unwanted)


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


def union_classes(*class_lists: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of several data sets, each once: AffectNet's in its order, then others as they first appear.

    Names that mean the same are one class, as :func:`map_ids` sees it; a known one goes by AffectNet's name.

    Example:
        >>> union_classes(("Anger", "Other", "happiness"), ("Neutral", "Angry"))
        ('Neutral', 'Happy', 'Anger', 'Other')
    """
    found: dict[str, str] = {}
    for classes in class_lists:
        for name in meanings(classes):
            found.setdefault(name_key(name), name)
    official = {name_key(name): name for name in AFFECTNET_ALL}
    known = [name for key, name in official.items() if key in found]
    return (*known, *(name for key, name in found.items() if key not in official))


def name_numbers(order: str, numbers: Collection[int]) -> dict[int, str]:
    """Return number -> class in one of ``NUMBER_ORDERS``, which counts from 0 if there is a 0, and from 1 if it must.

    Example:
        >>> name_numbers("dfew", {0, 2, 6})[0], name_numbers("fer2013", {1, 7})[7]
        ('Happy', 'Neutral')
    """
    first, names = NUMBER_ORDERS[order]
    if order == "alphabetical" and max(numbers) >= len(names) + (0 not in numbers):
        names = ALPHABETICAL_8
    first = 0 if 0 in numbers else 1 if max(numbers) == len(names) else first
    return dict(enumerate(names, first))


def map_ids(names_from: Sequence[str], names_to: Sequence[str]) -> list[int]:
    """Return, for each class of ``names_from``, its id in ``names_to``, matched by name.

    Words for one expression are the same class, see :func:`meanings`.

    Raises:
        OptionError: If a name of ``names_from`` is not in ``names_to``.
    """
    ids = _ids(tuple(names_from), tuple(names_to))
    if missing := [name for name, found in zip(names_from, ids, strict=True) if found is None]:
        raise OptionError(
            f"class map: {missing} found, expected only names out of {list(names_to)}; drop these classes first"
        )
    return [found for found in ids if found is not None]


def soft_labels(votes: Sequence[float], names: Sequence[str], classes: Sequence[str]) -> list[float] | None:
    """Return one probability per class, of sum 1, from votes for ``names``; those for other names do not count.

    None if no class has a vote.

    Example:
        >>> soft_labels([6, 2, 2], ["neutral", "happiness", "unknown"], ("Neutral", "Happy", "Sad"))
        [0.75, 0.25, 0.0]
    """
    shares = [0.0] * len(classes)
    for place, vote in zip(_ids(tuple(names), tuple(classes)), votes, strict=True):
        if place is not None:
            shares[place] += vote
    total = sum(shares)
    return [share / total for share in shares] if total > 0 else None


@lru_cache(maxsize=64)
def _ids(names_from: tuple[str, ...], names_to: tuple[str, ...]) -> tuple[int | None, ...]:
    meant, called = (
        {name_key(name): number for number, name in enumerate(names)} for names in (meanings(names_to), names_to)
    )
    pairs = zip(names_from, meanings(names_from), strict=True)
    return tuple(called.get(name_key(name), meant.get(name_key(meaning))) for name, meaning in pairs)
