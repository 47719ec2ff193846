"""How several data sets are mixed: what was asked for, checked, as samples of each set per epoch.

In: roots with or without shares, and a way to mix them. Out: folders, and counts for the order. Reads nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ferdata.errors import OptionError
from ferdata.setting import either
from ferdata.stream.order.mixed import epoch_counts
from ferdata.stream.order.partition import Extent
from ferdata.stream.sets import OpenSplit, Roots

__all__ = ["MIXES", "check_drawable", "set_draws", "split_shares"]

MIXES = ("concat", "weights", "smallest", "largest")
"""Every sample of every set once; so many samples by shares; by shares until the first or the last set ends."""

_MOST_DRAWS = 1 << 31


def split_shares(root: Roots | Mapping[str, float]) -> tuple[Roots, tuple[float, ...] | None]:
    """Return the roots, and the share of each if they were given with shares.

    Raises:
        OptionError: If a share is not a number above 0.
    """
    if not isinstance(root, Mapping):
        return root, None
    shares: list[Any] = [*root.values()]
    if not all(isinstance(share, int | float) and 0 < share < math.inf for share in shares):
        raise OptionError(
            f"root: shares {shares} found, expected numbers above 0; leave out a set that is not to be read"
        )
    return [*root], tuple(map(float, shares))


def set_draws(
    mix: str | None, shares: tuple[float, ...] | None, opened: OpenSplit, extent: Extent, draws: int | None
) -> tuple[int, ...] | None:
    """Return how many samples of each set an epoch has; None for every sample of every set once.

    Args:
        mix: One of :data:`MIXES`; None for ``weights`` if there are shares, else ``concat``.
        shares: Of each set; None for equal ones.
        opened: The sets.
        extent: What is read of them.
        draws: Samples of an epoch, for ``weights``.

    Raises:
        OptionError: If they contradict each other, or a set comes to nothing.
    """
    if mix is None:
        mix = "concat" if shares is None else "weights"
    if mix not in MIXES:
        raise OptionError(f"mix: {mix!r} found, expected {either(MIXES)}")
    if mix == "concat":
        if shares is not None:
            raise OptionError(
                f"mix: concat found with shares {list(shares)}, expected none, since it reads every sample once; leave "
                "them out, or mix by weights"
            )
        return None
    if draws is not None and mix != "weights":
        raise OptionError(f"draws: {draws} found, but with mix {mix} the sets tell how long an epoch is; leave it out")
    if draws is not None and not 0 < draws <= _MOST_DRAWS:
        raise OptionError(f"draws: {draws} found, expected 1 to {_MOST_DRAWS:,}")
    sizes = extent.set_sizes
    for one, size in zip(opened.sets, sizes, strict=True):
        if not size:
            raise OptionError(f"{one.where}: none of its samples is left to mix, expected some; leave the set out")
    counts = epoch_counts(mix, sizes, shares or (1.0,) * len(sizes), draws)
    for one, count in zip(opened.sets, counts, strict=True):
        if not count:
            raise OptionError(
                f"{one.where}: its share is none of the {sum(counts):,} samples of an epoch, expected one at least; "
                "give it a larger share, or raise draws"
            )
    return counts


def check_drawable(weights: Sequence[float], opened: OpenSplit, extent: Extent) -> None:
    """See that every set has samples of the classes that are drawn.

    Raises:
        OptionError: If one has none.
    """
    starts = np.cumsum([0, *extent.set_sizes])
    for one, start, stop in zip(opened.sets, starts, starts[1:], strict=False):
        if not np.asarray(weights)[extent.labels[start:stop]].any():
            raise OptionError(
                f"{one.where}: no sample of a class with a weight found, expected some; leave the set out"
            )
