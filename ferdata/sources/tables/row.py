"""One row of a table: what its cells say of an image.

In: cells, and which column is what. Out: the values of an item. About 5 µs a row.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ferdata.sources.affectnet.values import clean_score
from ferdata.sources.files.matching import box_of_corners, floats
from ferdata.sources.tables.columns import BOX_ROLES, Columns

__all__ = ["Row", "text_of"]

_EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: Its line, from 1, or its row in a parquet file, from 0.
        cells: By column; none where it is of another width than the header.
        columns: What they are.
    """

    number: int
    cells: Sequence[Any]
    columns: Columns

    def get(self, role: str) -> Any:
        """Return the cell with a role, or None."""
        number = self.columns.roles.get(role)
        return self.cells[number] if number is not None and self.cells else None

    def text(self, role: str) -> str | None:
        """Return the cell with a role as text, or None where it holds nothing."""
        return text_of(self.get(role))

    def has(self, kind: str) -> bool:
        """Tell whether there is something in the cells of a ``box``, or in the one of another role."""
        return any(self.get(role) is not None for role in (BOX_ROLES if kind == "box" else (kind,)))

    @property
    def has_box(self) -> bool:
        """Whether the table has boxes."""
        return any(role in self.columns.roles for role in BOX_ROLES)

    def scores(self) -> tuple[float | None, float | None, bool]:
        """Return valence and arousal, None where they are missing, and whether one of them is not valid."""
        (valence, is_valence_wrong), (arousal, is_arousal_wrong) = (
            clean_score(value) if (value := self.get(role)) is not None else (None, False)
            for role in ("valence", "arousal")
        )
        return valence, arousal, is_valence_wrong or is_arousal_wrong

    def box(self) -> tuple[float, float, float, float] | None:
        """Return ``(x, y, width, height)``, None where there is none with an area that reaches into the image."""
        roles = self.columns.roles
        if "box" in roles:
            cell = self.get("box")
            values = floats(cell.replace(",", " ").strip("[]()").split() if isinstance(cell, str) else cell or ())
        else:
            names = ("x", "y", "w", "h") if "w" in roles else ("x1", "y1", "x2", "y2")
            values = floats(self.get(name) for name in names) if names[0] in roles else None
        if values is None or len(values) != 4:
            return None
        x, y, width, height = values
        if "x2" in roles:
            return box_of_corners(values)
        return (x, y, width, height) if box_of_corners((x, y, x + width, y + height)) else None

    def soft(self) -> list[float] | None:
        """Return the shares of classes, None where there are none, and nothing in them where they are no numbers."""
        cell = self.get("soft_labels")
        if cell is None:
            return None
        return (floats(cell) if isinstance(cell, list) else None) or []

    def extra(self) -> dict[str, Any]:
        """Return the values of all other columns that can be written down, by the names of these."""
        found = {name: _plain(self.cells[number]) for name, number in self.columns.extras.items()}
        if (text := self.text(_EXTRA)) is not None:
            found |= _object(text)
        return {name: value for name, value in found.items() if value is not None}


def text_of(value: Any) -> str | None:
    """Return a cell as text, or None where it holds nothing; whole numbers that gaps made fractions are whole again."""
    if value is None:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip() or None


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object, or the text itself under the name of its role where it is none."""
    try:
        found = json.loads(text, parse_constant=int)  # fails for NaN, which is no JSON
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {_EXTRA: text}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; text that is a number, and would be written just so, is one."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                if repr(number := kind(value)) == value and math.isfinite(number):
                    return number
            except ValueError:
                continue
        return value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None
