"""What the labels of a table mean: words by their meaning, numbers by names that the user gives; never by a guess.

In: every label as written, with its number of rows. Out: the classes, and which of them each label is. Costs nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError, OptionError
from ferdata.labels import canonical_name, meanings, name_key, name_numbers, plain_name, union_classes
from ferdata.sources.files.listing import natural_key, printable, shorten
from ferdata.sources.files.matching import whole_number
from ferdata.sources.idle_options import refuse_labels
from ferdata.sources.options import LABEL_ORDERS, ScanOptions

__all__ = ["Meaning", "find_meaning", "parse_class_names"]

_MOST_CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What labels mean.

    Attributes:
        classes: The classes of the table: AffectNet's in its order, then others.
        by_label: Label as written -> class name; labels that are no class are not in it.
        has_expressions: One of them is an expression of AffectNet's; otherwise words like "none" are classes as well.
    """

    classes: tuple[str, ...]
    by_label: Mapping[str, str]
    has_expressions: bool


def parse_class_names(names: str | Sequence[str] | Mapping[int, str] | None) -> dict[int, str] | tuple[str, ...]:
    """Return the names of classes by number where numbers are given (``1:happy,2:sad``), else in their order.

    Raises:
        OptionError: If only some have a number, two have the same name or number, or one has no name.
    """
    if isinstance(names, Mapping):
        parts = [f"{number}:{name}" for number, name in names.items()]
    else:
        parts = names.split(",") if isinstance(names, str) else [str(name) for name in names or ()]
    pairs = [(whole_number(number), name) for number, _, name in (part.partition(":") for part in parts)]
    numbered = {number: plain_name(name) for number, name in pairs if number is not None and name}
    plain = [*numbered.values()] or [plain_name(part) for part in parts]
    if not all(plain) or len(set(map(name_key, plain))) < len(parts):
        raise OptionError(
            f"class_names: {shorten(parts)} found, expected different names, in the order of "
            "their numbers (neutral,happy,sad), or each with its number (1:happy,2:sad)"
        )
    return numbered or tuple(plain)


def find_meaning(counts: Mapping[str, int], options: ScanOptions, where: str) -> Meaning:
    """Return what labels mean.

    Args:
        counts: Label as written -> rows.
        options: What the user asks for: ``labels`` or ``class_names`` for numbers.
        where: The table's path, for errors.

    Raises:
        AmbiguousLayoutError: If labels are numbers and nothing says what they stand for, or from where they count.
        LayoutError: If there is no label, or there are too many different ones.
        OptionError: If names for numbers are given and labels are words.
    """
    if not counts:
        raise LayoutError(
            f"{where}: no label found in any row, expected one in most; name the column, columns=label=NAME"
        )
    given = parse_class_names(options.class_names)
    names = [*given.values()] if isinstance(given, dict) else [*given]
    numbers = {label: number for label in counts if (number := whole_number(label)) is not None}
    if 2 * sum(counts[label] for label in numbers) > sum(counts.values()):
        named = _names_of_numbers(numbers, counts, given, options.labels, where)
        by_label = {label: named[number] for label, number in numbers.items() if number in named}
        order = names or [named[number] for number in sorted({*numbers.values()} & named.keys())]
    elif options.labels is not None:
        refuse_labels(where, options.labels, "labels with class names")
    else:
        known = {*map(name_key, names)}
        words = {label: plain_name(label) for label in counts if label not in numbers}
        by_label = {label: name for label, name in words.items() if not known or name_key(name) in known}
        order = names or sorted(by_label.values(), key=natural_key)
    if len(set(map(name_key, by_label.values()))) > _MOST_CLASSES:
        raise LayoutError(
            f"{where}: {len(by_label):,} different labels in {sum(counts.values()):,} rows found, "
            f"expected at most {_MOST_CLASSES:,} classes; name the column of the labels, columns=label=NAME"
        )
    return _meaning(by_label, order)


def _meaning(by_label: Mapping[str, str], order: Sequence[str]) -> Meaning:
    spelling: dict[str, str] = {}
    for name in order:
        spelling.setdefault(name_key(name), printable(name))
    meant = dict(zip(spelling, meanings([*spelling.values()]), strict=True))
    return Meaning(
        classes=union_classes([*meant.values()]),
        by_label={label: meant[name_key(name)] for label, name in by_label.items()},
        has_expressions=any(map(canonical_name, meant.values())),
    )


def _names_of_numbers(
    numbers: Mapping[str, int],
    counts: Mapping[str, int],
    given: dict[int, str] | tuple[str, ...],
    labels: str | None,
    where: str,
) -> dict[int, str]:
    if given and labels is not None:
        raise OptionError(f"labels and class_names: {labels} and names found, expected one of them; leave one out")
    if isinstance(given, dict):
        return given
    by_number = Counter[int]()
    for label, number in numbers.items():
        by_number[number] += counts[label]
    shown = shorten([f"{number}: {by_number[number]:,}" for number in sorted(by_number)])
    if labels is not None:
        return name_numbers(labels, by_number)
    if not given:
        raise AmbiguousLayoutError(
            f"{where}: labels are numbers and no class names are stored with them (rows {shown}), expected names, "
            "since one number is another expression in every data set; give the names from 0 up with "
            "class_names=neutral,happy,sad, or with their numbers as in class_names=1:happy,2:sad, "
            f"or the order of a data set with labels={'|'.join(LABEL_ORDERS)}"
        )
    if 0 not in by_number and len(given) not in by_number:
        raise AmbiguousLayoutError(
            f"{where}: numbers {shown} found, and {len(given)} names, expected to know whether {given[0]} is 0 or 1; "
            f"write the numbers with the names, as in class_names=1:{given[0]},2:{given[1 % len(given)]}"
        )
    return dict(enumerate(given, 0 if 0 in by_number else 1))
