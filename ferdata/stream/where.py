"""Which samples of a split are read: those of a list, those that fulfil a condition, or those of both.

In: indices, a :class:`ferdata.condition.Condition` as text. Out: an :class:`Extent`. Costs one more read of the columns
that the condition names.
"""

from collections.abc import Sequence

import numpy as np

from ferdata.condition import Condition
from ferdata.errors import OptionError
from ferdata.format import SAMPLES_SCHEMA
from ferdata.stream.batch import SampleTable
from ferdata.stream.order.partition import Extent
from ferdata.stream.sets import OpenSplit

__all__ = ["find_extent"]


def find_extent(
    opened: OpenSplit,
    table: SampleTable,
    *,
    indices: Sequence[int] | np.ndarray | None,
    where: str | None,
) -> Extent:
    """Return the samples of a split that are read.

    Args:
        opened: The split.
        table: Its columns.
        indices: Sample indices; None for all.
        where: A condition on the columns of ``samples.parquet``; None for none.

    Raises:
        OptionError: If the indices are not sample indices of the split, the condition can't be understood,
            or no sample is left.
    """
    extent = Extent.of(opened, table, indices)
    if where is None:
        return extent
    condition = Condition(where, opened.index.classes, SAMPLES_SCHEMA.names)
    found = condition.rows(opened.table([*condition.columns]))
    if extent.indices is not None:
        found = found[np.isin(found, extent.indices)]
    if not len(found):
        raise OptionError(
            f"where: {where!r} leaves none of the {len(extent):,} samples of {opened.where}, expected some"
        )
    return Extent.of(opened, table, found)
