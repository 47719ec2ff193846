"""Say which class a class folder or a class number means: by name, by an order the user names, or by known counts.

In: folder names or numbers and images per number. Out: class names, or an error that asks. Pure; costs nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, AFFECTNET_ALL, ALPHABETICAL_7, ALPHABETICAL_8, FER2013, RAFDB_BASIC, canonical_name
from ferdata.sources.listing import natural_key
from ferdata.sources.totals import AFFECTNET_TRAIN, RAFDB_TRAIN

__all__ = ["KNOWN_ALIASES", "Reading", "name_class_folders", "name_numbers", "possible_readings"]

KNOWN_ALIASES = (
    "neutral, normal, calm; happy, happiness, joy; sad, sadness; surprise, surprised, suprise; fear, fearful, afraid; "
    "disgust, disgusted; anger, angry; contempt"
)
_NUMBER = re.compile(r"\d{1,3}")
_TABLES = (
    AFFECTNET_TRAIN,
    {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8},
    {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_7},
    RAFDB_TRAIN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One order in which class numbers can be meant.

    Attributes:
        title: How to name it to the user.
        labels: Value of ``--labels`` that chooses it, or None where none does.
        names: Class names in that order.
        first: The number of the first name.
    """

    title: str
    labels: str | None
    names: tuple[str, ...]
    first: int = 0

    def name(self, number: int) -> str:
        """Return the class name of a number."""
        return self.names[number - self.first]

    def fits(self, numbers: Iterable[int]) -> bool:
        """Tell whether every number has a name in this order."""
        return all(self.first <= number < self.first + len(self.names) for number in numbers)


_AFFECTNET = Reading(title="AffectNet order", labels="affectnet", names=AFFECTNET_ALL)
_RAF_IDS = Reading(title="RAF ids", labels="rafdb", names=RAFDB_BASIC, first=1)
_RAF_MINUS_1 = Reading(title="RAF id - 1", labels="rafdb", names=RAFDB_BASIC)
_FER2013 = Reading(title="FER2013 order", labels=None, names=FER2013)


def possible_readings(numbers: Iterable[int]) -> list[Reading]:
    """Return the orders in which these class numbers can be meant; none where no known order has them all."""
    present = set(numbers)
    if not present:
        return []
    first = 0 if 0 in present else 1
    readings = [_AFFECTNET, _RAF_MINUS_1 if first == 0 else _RAF_IDS]
    if max(present) == 7 + first:
        readings.append(Reading(title="alphabetical order of 8", labels="alphabetical", names=ALPHABETICAL_8, first=first))
    if max(present) <= 6 + first:
        readings.append(Reading(title="alphabetical order of 7", labels="alphabetical", names=ALPHABETICAL_7, first=first))
        readings += [_FER2013] if first == 0 else []
    return [reading for reading in readings if reading.fits(present)]


def name_numbers(
    counts: Mapping[int, int], *, labels: str | None, where: str, has_raf_stems: bool = False, things: str = "class folders"
) -> dict[int, str]:
    """Return the class name of every class number.

    Args:
        counts: Class number -> images of the train split; 0 where a number is only in another split.
        labels: The user's ``--labels``, or None.
        where: What to call the place in an error.
        has_raf_stems: Every image is named like one of RAF-DB basic, which makes 1..7 RAF ids.
        things: What carries the numbers.

    Raises:
        AmbiguousLayoutError: If several orders are possible and neither ``labels`` nor the known counts of a complete train
            split settle which.
        LayoutError: If the order that ``labels`` names has not these numbers.
    """
    readings = possible_readings(counts)
    if labels is not None:
        reading = _chosen(counts, labels, where, things)
    elif has_raf_stems and 0 not in counts and _RAF_IDS.fits(counts):
        reading = _RAF_IDS
    else:
        equal = [reading for reading in readings if {reading.name(number): count for number, count in counts.items()} in _TABLES]
        if len(equal) != 1:
            titles = [reading.title for reading in readings]
            found = ", ".join(f"{number}: {count:,}" for number, count in sorted(counts.items()))
            raise AmbiguousLayoutError(
                f"{where}: numeric {things} found (train images {found}), expected class names; the numbers can mean "
                f"{' or '.join(titles) if titles else 'nothing known'}; name the order with --labels affectnet, rafdb or alphabetical, "
                f"or rename them to class names"
            )
        reading = equal[0]
    return {number: reading.name(number) for number in counts}


def name_class_folders(
    counts: Mapping[str, int], *, source: str, labels: str | None, where: str, has_raf_stems: bool = False
) -> dict[str, str]:
    """Return the class name of every class folder, in the folders' natural order.

    Names are matched by alias in any case, numbers as :func:`name_numbers` says. A ``folder`` source may hold classes of its
    own: with one unknown name, every folder names its own class.

    Args:
        counts: Folder name as on disk -> images of it in the train split; 0 where it is only in another split.
        source: ``affectnet``, ``rafdb`` or ``folder``.
        labels: The user's ``--labels``, or None.
        where: What to call the place in an error.
        has_raf_stems: Every image is named like one of RAF-DB basic.

    Raises:
        AmbiguousLayoutError: If numbers can be meant in several orders.
        LayoutError: If an AffectNet or RAF-DB folder is no known class.
    """
    folders = sorted(counts, key=lambda name: natural_key(name.lower()))
    numbers: dict[int, int] = {}
    for name in folders:
        if _NUMBER.fullmatch(name):
            numbers[int(name)] = numbers.get(int(name), 0) + counts[name]
    unknown = [name for name in folders if not _NUMBER.fullmatch(name) and canonical_name(name) is None]
    if source == "folder" and (unknown or (numbers and labels is None and not possible_readings(numbers))):
        spelling: dict[str, str] = {}
        return {name: spelling.setdefault(name.lower(), name) for name in folders}
    if unknown:
        raise LayoutError(
            f"{where}: class folders {', '.join(unknown)} found, expected known names ({KNOWN_ALIASES}); "
            "rename them, or read the tree as classes of its own with source 'folder'"
        )
    named = name_numbers(numbers, labels=labels, where=where, has_raf_stems=has_raf_stems) if numbers else {}
    return {name: named[int(name)] if _NUMBER.fullmatch(name) else str(canonical_name(name)) for name in folders}


def _chosen(counts: Mapping[int, int], labels: str, where: str, things: str) -> Reading:
    """Return the reading that ``--labels`` names for these numbers."""
    numbers = sorted(counts)
    shown = ", ".join(map(str, numbers))
    complete = [list(range(first, first + size)) for first in (0, 1) for size in (7, 8)]
    if labels == "affectnet":
        if numbers in complete[2:]:
            raise LayoutError(
                f"{where}: {things} {shown} found, expected 0..6 or 0..7 for --labels affectnet, whose 0 is Neutral; "
                "numbers that start at 1 are another order (RAF ids are --labels rafdb); if Neutral is really absent add an empty folder 0"
            )
        fitting = [_AFFECTNET]
    elif labels == "rafdb":
        fitting = [reading for reading in (_RAF_IDS, _RAF_MINUS_1) if reading.fits(numbers)]
    else:
        fitting = [reading for reading in possible_readings(numbers) if reading.labels == labels] if numbers in complete else []
    fitting = [reading for reading in fitting if reading.fits(numbers)]
    if len(fitting) == 1:
        return fitting[0]
    expected = {"affectnet": "0..10", "rafdb": "1..7 (RAF ids) or 0..6 (RAF id - 1)", "alphabetical": "7 or 8 in a row from 0 or 1"}
    kind = AmbiguousLayoutError if fitting else LayoutError
    raise kind(
        f"{where}: {things} {shown} found, expected {expected[labels]} for --labels {labels}; "
        "add empty folders for the classes that are absent, or rename them to class names"
    )
