"""Columns of the item table and fields of its ``extra`` by one name: what items are chosen and grouped by.

In: items. Out: values, a value an item. Costs a JSON object an item if a field of ``extra`` may be meant.
"""

import json
import re
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ferdata.condition import Condition
from ferdata.errors import OptionError
from ferdata.sources.items import ITEM_SCHEMA, ItemTable

__all__ = ["ItemFields"]

_COLUMNS = [
    field.name
    for field in ITEM_SCHEMA
    if field.name != "extra" and not (pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type))
]

_EACH_ITS_OWN = ("key", "path", "split", "label")
"""Columns that no images are grouped by."""


class ItemFields:
    """Everything that the items of a scan have a value for."""

    def __init__(self, items: ItemTable) -> None:
        self._table = items.table

    @cached_property
    def _extras(self) -> list[dict[str, Any]]:
        return [json.loads(text) if text else {} for text in self._table.column("extra").to_pylist()]

    @cached_property
    def _filled(self) -> list[str]:
        return [name for name in _COLUMNS if self._table.column(name).null_count < len(self._table)]

    @cached_property
    def _named(self) -> list[str]:
        """Names of the fields of ``extra``; a column of the same name comes first, unless it is empty."""
        return sorted({name for extra in self._extras for name in extra}.difference(self._filled))

    def matching(self, where: str, classes: Sequence[str]) -> np.ndarray:
        """Return int64 ascending, the items that fulfil a condition.

        Raises:
            OptionError: If the condition can't be understood, or names what no item has.
        """
        condition = Condition(where, classes, dict.fromkeys([*_COLUMNS, *self._named]))
        columns = {name: self._column(name) for name in sorted(condition.columns) or ["label"]}
        return condition.rows(pa.table(columns))

    def groups(self, by: str, used: np.ndarray) -> np.ndarray:
        """Return int64 ``[items]``, equal where items belong together.

        Args:
            by: Name of a column or field, or a regular expression with parentheses, which is searched in the path below
                the source folder; what the parentheses catch is the group.
            used: Positions of the items that must have one.

        Raises:
            OptionError: If one of them has no such value, or the expression is not found in its path.
        """
        paths = self._table.column("path").to_pylist()
        found: Sequence[Hashable | None]
        if "(" in by:
            pattern = re.compile(by)
            found = [match.groups() if (match := pattern.search(path)) else None for path in paths]
            what = f"a path in which {by!r} is found"
        else:
            is_column = by in self._filled
            values = self._table.column(by).to_pylist() if is_column else [extra.get(by) for extra in self._extras]
            found = [None if value is None else json.dumps(value) for value in values]
            telling = [name for name in self._filled if name not in _EACH_ITS_OWN]
            fields = ", ".join((*telling, *self._named))
            what = f"a {by}" if is_column else f"a field {by!r}; fields are {fields}"
        if missing := [paths[position] for position in used if found[position] is None]:
            raise OptionError(
                f"group_by: {len(missing):,} of {len(used):,} images do not have {what}, such as {missing[0]}; "
                "name a field that all have, or the part of every path that names its group, "
                "as in group_by='(person[0-9]+)'"
            )
        numbers: dict[Hashable | None, int] = {}
        return np.array([numbers.setdefault(group, len(numbers)) for group in found], np.int64)

    def _column(self, name: str) -> pa.Array:
        """Return a column as it is, or a field: numbers, or else texts; what is neither has no value."""
        if name not in self._named:
            column = self._table.column(name)
            return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        values = [extra.get(name) for extra in self._extras]
        values = [value if isinstance(value, str | int | float) else None for value in values]
        if any(isinstance(value, str) for value in values):
            return pa.array([None if value is None else str(value) for value in values], pa.string())
        if any(isinstance(value, float) for value in values):
            return pa.array(values, pa.float64())
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
