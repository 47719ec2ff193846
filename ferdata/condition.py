"""A condition on the columns of a table, as text: ``"valence > 0 and label in ['Happy', 'Surprise']"``.

In: the text, class names, the columns there are. Out: which rows fulfil it. The text is parsed as Python's syntax and
never run; only what is named here has a meaning. Costs one pass over the columns that it names.
"""

import ast
import operator
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import acero

from ferdata.errors import OptionError

__all__ = ["Condition"]

_MOST_CHARACTERS = 10_000
_NUMBER = "#"
"""No column of the table's can be called so."""

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda column, values: _is_in(column, values),
    ast.NotIn: lambda column, values: ~_is_in(column, values),
    ast.Is: lambda column, _: column.is_null(),
    ast.IsNot: lambda column, _: column.is_valid(),
}


class Condition:
    """A condition as pyarrow evaluates it: comparisons of columns with literals, joined by ``and``, ``or`` and ``not``.

    Attributes:
        columns: The columns it names.
    """

    def __init__(self, text: str, classes: Sequence[str], known: Collection[str]) -> None:
        """Parse a condition.

        Args:
            text: The condition.
            classes: Class names; ``label`` may be compared with them.
            known: The columns there are.

        Raises:
            OptionError: If it can't be understood, or names another column.
        """
        self._text, self._classes, self._known = text, classes, known
        self.columns: set[str] = set()
        try:
            if len(text) > _MOST_CHARACTERS:
                raise ValueError(f"{len(text):,} characters")
            self._expression = self._truth(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            if isinstance(error, OptionError):
                raise
            raise self._refused(str(error)) from error

    def rows(self, table: pa.Table) -> np.ndarray:
        """Return int64 ascending, the rows of a table that fulfil it; its columns are those that the condition names.

        Raises:
            OptionError: If it compares what can't be compared, such as a text with a number.
        """
        try:
            numbered = table.append_column(_NUMBER, pa.array(np.arange(len(table))))
            steps = [
                acero.Declaration("table_source", acero.TableSourceNodeOptions(numbered)),
                acero.Declaration("filter", acero.FilterNodeOptions(self._expression)),
            ]
            kept = acero.Declaration.from_sequence(steps).to_table(use_threads=False)  # Table.filter() starts threads
        except pa.ArrowException as error:
            raise OptionError(
                f"where: {self._text!r} compares what can't be compared ({str(error).splitlines()[0]})"
            ) from error
        found: np.ndarray = kept.column(_NUMBER).to_numpy()
        return found

    def _truth(self, node: ast.expr) -> pc.Expression:
        match node:
            case ast.BoolOp(op=op, values=values):
                return reduce(operator.and_ if isinstance(op, ast.And) else operator.or_, map(self._truth, values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand)
            case ast.Compare(left=left, ops=ops, comparators=others):
                links = zip(ops, pairwise([left, *others]), strict=True)
                return reduce(operator.and_, [self._comparison(op, *sides) for op, sides in links])
        raise self._refused(f"{ast.unparse(node)!r} is no comparison")

    def _comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> pc.Expression:
        columns = [side for side in (left, right) if isinstance(side, ast.Name)]
        is_set, is_null = isinstance(op, ast.In | ast.NotIn), isinstance(op, ast.Is | ast.IsNot)
        if not columns or ((is_set or is_null) and columns != [left]):
            raise self._refused(
                f"{ast.unparse(left)!r} and {ast.unparse(right)!r} are compared without a column in the right place"
            )
        if is_null and not (isinstance(right, ast.Constant) and right.value is None):
            raise self._refused("'is' stands before something other than None")
        if is_set and not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise self._refused("'in' stands before something other than a list")
        label_names = any(column.id == "label" for column in columns) and (is_set or isinstance(op, ast.Eq | ast.NotEq))
        sides = [self._side(side, label_names=label_names, is_null=is_null) for side in (left, right)]
        return _COMPARISONS[type(op)](*sides)

    def _side(self, node: ast.expr, *, label_names: bool, is_null: bool) -> Any:
        match node:
            case ast.Name(id=name) if name in self._known:
                self.columns.add(name)
                return pc.field(name)
            case ast.Name(id=name):
                raise self._refused(f"there is no column {name!r}")
            case ast.Constant(value=str(name)) if label_names:
                return self._label(name)
            case ast.Constant(value=str() | int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.Constant(value=None) if is_null:
                return None
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
                value, bool
            ):
                return -value
            case ast.List(elts=nodes) | ast.Tuple(elts=nodes) | ast.Set(elts=nodes):
                values = [
                    self._side(each, label_names=label_names, is_null=False)
                    for each in nodes
                    if not isinstance(each, ast.Name)
                ]
                if len(values) == len(nodes):
                    return values
        raise self._refused(f"{ast.unparse(node)!r} is neither a column nor a number, a text or a list of these")

    def _label(self, name: str) -> int:
        found = [label for label, other in enumerate(self._classes) if other.casefold() == name.casefold()]
        if name in self._classes:
            return self._classes.index(name)
        if len(found) != 1:
            raise self._refused(f"there is no class {name!r} among {', '.join(self._classes)}")
        return found[0]

    def _refused(self, why: str) -> OptionError:
        return OptionError(
            f"where: {why} in {self._text[:200]!r}, expected comparisons of {', '.join(self._known)} with "
            "numbers or texts, joined by and, or, not; such as \"valence > 0 and label in ('Happy', 'Sad')\""
        )


def _is_in(column: pc.Expression, values: list[Any]) -> pc.Expression:
    """Return whether a value is one of several, and null for null, as the other comparisons do."""
    return pc.if_else(column.is_valid(), column.isin(values), pa.scalar(None, pa.bool_()))
