"""What numbers stand for that are given instead of class names: which orders they fit, and which one is meant.

In: the numbers, and how many images each has. Out: class names, or a question to the user. Costs nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import (
    AFFECTNET_8,
    AFFECTNET_ALL,
    ALPHABETICAL_7,
    ALPHABETICAL_8,
    FER2013,
    RAFDB_BASIC,
    name_key,
    name_numbers,
)
from ferdata.sources.affectnet.totals import AFFECTNET_TRAIN
from ferdata.sources.rafdb.totals import RAFDB_TRAIN

__all__ = ["find_number_order", "shown_counts"]

_TABLES = (
    dict(AFFECTNET_TRAIN),
    {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8},
    {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8[:7]},
    dict(RAFDB_TRAIN),
)


_ASKED_ABOUT = ("affectnet", "rafdb", "alphabetical")
"""Orders that class folders are known to have, of which each has numbers that it does not fit."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One way to read numbers: class names in number order, what to call it, and the option that asks for it."""

    names: tuple[str, ...]
    title: str
    option: str | None


def find_number_order(
    where: str,
    numbers: Mapping[str, int],
    counts: Mapping[str, Mapping[str, int]],
    *,
    is_rafdb: bool,
    labels: str | None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return folder name -> class name for numeric class folders, and notes.

    Args:
        where: The path to name in an error.
        numbers: Folder name -> its number.
        counts: Split -> folder name -> images.
        is_rafdb: Every image has a RAF-DB basic stem.
        labels: The order the user asks for, one of ``LABEL_ORDERS``, or None.
    """
    orders = _orders(set(numbers.values()))
    train = Counter[int]()
    for name, number in counts.get("train", {}).items():
        train[numbers[name]] += number
    first = _first(set(numbers.values()))
    by_order = [{name: train[number] for number, name in enumerate(order.names, first)} for order in orders]
    proven = [order for order, found in zip(orders, by_order, strict=True) if found in _TABLES]
    if labels is not None:
        chosen = next((order for order in orders if order.option == labels), None)
        asked = name_numbers(labels, set(numbers.values()))
        if chosen is None and labels not in _ASKED_ABOUT and set(numbers.values()) <= asked.keys():
            first = min(asked)
            chosen = _Order(tuple(asked.values()), f"{labels} order", labels)
        if chosen is None:
            fitting = " or ".join(sorted({f"labels={order.option}" for order in orders if order.option}))
            raise LayoutError(
                f"{where}: numeric class folders {_span(numbers)} found, expected numbers that fit labels={labels}; "
                f"{f'use {fitting} or ' if orders else ''}rename them to class names"
            )
        note = f"Numeric class folders read in {chosen.title}, as labels={labels} asks."
        if len(proven) == 1 and proven[0].names != chosen.names:
            known = f"the counts of train equal the known totals in {proven[0].title}"
            note = f"Warning: labels={labels} was asked for, but {known}."
    elif len(proven) == 1:
        chosen, known = proven[0], "only there the counts of train equal the known totals"
        note = f"Numeric class folders read in {chosen.title}: {known}."
    else:
        chosen = next((order for order in orders if is_rafdb and first == 1 and order.option == "rafdb"), None)
        if chosen is None:
            raise AmbiguousLayoutError(_question(where, numbers, counts, orders))
        note = "Numeric class folders 1 to 7 with RAF-DB's file names: read as RAF-DB ids."
    return {name: chosen.names[number - first] for name, number in numbers.items()}, (note,)


def shown_counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return the counts of numeric names for a sentence: split by split, in the order of the numbers."""
    shown = []
    for split, here in counts.items():
        names = sorted(here, key=lambda name: int(name_key(name)))
        shown.append(f"{split}: {', '.join(f'{name}: {here[name]:,}' for name in names)}")
    return "; ".join(shown)


def _orders(numbers: set[int]) -> list[_Order]:
    top = max(numbers)
    if 0 in numbers and top > 7:
        return [_Order(AFFECTNET_ALL, "AffectNet order (official ids)", "affectnet")]
    if top == 7 + _first(numbers):
        return [
            _Order(AFFECTNET_8, "AffectNet order", "affectnet"),
            _Order(ALPHABETICAL_8, "alphabetical order", "alphabetical"),
        ]
    if top > 7:
        return []
    is_alphabetical = numbers >= {0} or numbers == set(range(1, 8))
    # Folders 1..7 under AffectNet's order could be official ids or these plus one, so no option asks for it.
    return [
        _Order(AFFECTNET_8[:7], "AffectNet order", "affectnet" if 0 in numbers else None),
        _Order(RAFDB_BASIC, "RAF id - 1" if 0 in numbers else "RAF ids", "rafdb"),
        _Order(ALPHABETICAL_7, "alphabetical order", "alphabetical" if is_alphabetical else None),
        _Order(FER2013, "FER2013 order", None),
    ]


def _first(numbers: set[int]) -> int:
    return 0 if 0 in numbers else 1


def _question(
    where: str, numbers: Mapping[str, int], counts: Mapping[str, Mapping[str, int]], orders: Sequence[_Order]
) -> str:
    readings = " or ".join(order.title for order in orders) or "no order with so many classes is known"
    options = sorted({order.option for order in orders if order.option})
    settle = f"name it with labels={'|'.join(options)}, or " if options else ""
    return (
        f"{where}: {_span(numbers)} are numeric class folders, expected names or an order: {readings}? "
        f"Counts: {shown_counts(counts)}. Please name the order: {settle}rename the folders to class names"
    )


def _span(numbers: Mapping[str, int]) -> str:
    return ", ".join(sorted(numbers, key=lambda name: numbers[name]))
