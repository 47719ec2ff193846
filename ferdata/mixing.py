"""How several data sets are asked for: folders or URLs, the weight of each, and what an epoch of them is.

In: what a person writes, in Python or on a command line. Out: roots, weights, names. Reads nothing.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ferdata.errors import OptionError
from ferdata.shown import shown
from ferdata.store import StrPath

__all__ = ["MIXES", "Roots", "set_names", "split_weights", "weighted"]

MIXES = ("concat", "weights", "smallest", "largest")
"""Every sample of every set once; so many samples by weights; by weights until the first or the last set ends."""

Roots = StrPath | Sequence[StrPath]
"""Folder or URL of a data set, or those of several."""


def split_weights(root: Roots | Mapping[str, float]) -> tuple[Roots, tuple[float, ...] | None]:
    """Return the roots, and the weight of each if they were given with weights.

    Raises:
        OptionError: If a weight is not a number above 0.
    """
    if not isinstance(root, Mapping):
        return root, None
    weights: list[Any] = [*root.values()]
    if not all(isinstance(weight, int | float) and 0 < weight < math.inf for weight in weights):
        raise OptionError(
            f"shards: weights {weights} found, expected numbers above 0; leave out a set that is not to be read"
        )
    return [*root], tuple(map(float, weights))


def weighted(texts: Sequence[str]) -> str | list[str] | dict[str, float]:
    """Return what a command line names, each ``DIR`` or ``DIR:WEIGHT``: a root, several, or several with weights.

    A weight that is left out where others have one is 1. A number behind the host of a URL is its port.

    Raises:
        OptionError: If a set is named twice.

    Example:
        >>> weighted(["a:0.7", "s3://bucket/b"])
        {'a': 0.7, 's3://bucket/b': 1.0}
        >>> weighted(["http://localhost:8080"]), weighted(["a", "b"])
        ('http://localhost:8080', ['a', 'b'])
    """
    pairs = [_pair(text) for text in texts]
    roots = [root for root, _ in pairs]
    if twice := [root for root in roots if roots.count(root) > 1]:
        raise OptionError(f"shards: {shown(twice[0])} found twice, expected each set once; give it a larger weight")
    if len(pairs) == 1:
        return roots[0]
    if all(weight is None for _, weight in pairs):
        return roots
    return {root: 1.0 if weight is None else weight for root, weight in pairs}


def set_names(roots: Sequence[str]) -> tuple[str, ...]:
    """Return a short name for each root: its last part, or all of it where two end alike."""
    names = [os.path.basename(root.rstrip("/\\")) or root for root in roots]
    return tuple(names if len({*names}) == len(names) else map(shown, roots))


def _pair(text: str) -> tuple[str, float | None]:
    root, colon, end = text.rpartition(":")
    try:
        weight = float(end)
    except ValueError:
        return text, None
    is_port = "://" in root and "/" not in root.partition("://")[2]
    return (text, None) if not colon or not root or is_port or os.path.exists(text) else (root, weight)
