"""How several data sets are mixed: what was asked for, checked, as samples of each set per epoch.

In: sets, their weights, and a way to mix them. Out: counts for the order. Reads nothing.
"""

from collections.abc import Sequence

import numpy as np

from ferdata.errors import OptionError
from ferdata.mixing import MIXES
from ferdata.setting import either
from ferdata.stream.order.mixed import MOST_DRAWS, epoch_counts
from ferdata.stream.order.partition import Extent
from ferdata.stream.sets import OpenSplit

__all__ = ["check_drawable", "set_draws"]


def set_draws(
    mix: str | None, weights: tuple[float, ...] | None, opened: OpenSplit, extent: Extent, draws: int | None
) -> tuple[int, ...] | None:
    """Return how many samples of each set an epoch has; None for every sample of every set once.

    Args:
        mix: One of :data:`ferdata.mixing.MIXES`; None for ``weights`` if there are any, else ``concat``.
        weights: Of each set; None for equal ones.
        opened: The sets.
        extent: What is read of them.
        draws: Samples of an epoch, for ``weights``.

    Raises:
        OptionError: If they contradict each other, or a set comes to nothing.
    """
    if mix is None:
        mix = "concat" if weights is None else "weights"
    if mix not in MIXES:
        raise OptionError(f"mix: {mix!r} found, expected {either(MIXES)}")
    if mix == "concat":
        if weights is not None:
            raise OptionError(
                f"mix: concat found with weights {list(weights)}, expected none, since it reads every sample once; "
                "leave them out, or use mix weights"
            )
        return None
    if draws is not None and mix != "weights":
        raise OptionError(f"draws: {draws} found, but with mix {mix} the sets tell how long an epoch is; leave it out")
    if draws is not None and not 0 < draws <= MOST_DRAWS:
        raise OptionError(f"draws: {draws} found, expected 1 to {MOST_DRAWS:,}")
    sizes = extent.set_sizes
    for one, size in zip(opened.sets, sizes, strict=True):
        if not size:
            raise OptionError(f"{one.where}: none of its samples is left to mix, expected some; leave the set out")
    counts = epoch_counts(mix, sizes, weights or (1.0,) * len(sizes), draws)
    for one, count in zip(opened.sets, counts, strict=True):
        if not count:
            raise OptionError(
                f"{one.where}: its share is none of the {sum(counts):,} samples of an epoch, expected one at least; "
                f"give it a larger weight{', or raise draws' if mix == 'weights' else ''}"
            )
    return counts


def check_drawable(weights: Sequence[float], opened: OpenSplit, extent: Extent) -> None:
    """See that every set has samples of the classes that are drawn.

    Raises:
        OptionError: If one has none.
    """
    for one, counts in zip(opened.sets, extent.class_counts, strict=True):
        if not np.asarray(weights)[counts > 0].any():
            raise OptionError(
                f"{one.where}: no sample of a class with a weight found, expected some; leave the set out"
            )
