"""Which fold an item is in: every item in exactly one, classes alike in all, groups whole. Pure functions of a seed."""

import numpy as np

from ferdata.randomness import Stream

__all__ = ["assign_folds"]


def assign_folds(labels: np.ndarray, folds: int, seed: int, *, groups: np.ndarray | None = None) -> np.ndarray:
    """Return int64 ``[items]``, the fold of every item, from 0.

    Without groups, folds differ by one item at most, in all and of any class. Whole groups come as near to that as
    they can: the largest first, each goes to the fold that has least of its classes so far.

    Args:
        labels: int64 ``[items]``.
        folds: How many.
        seed: Of the draws.
        groups: int64 ``[items]``, equal where items belong together.
    """
    generator = np.random.default_rng(Stream.FOLDS.seed(seed))
    if groups is None:
        order = generator.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        result = np.empty(len(labels), np.int64)
        result[order] = np.arange(len(labels)) % folds
        return result
    _, classes = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    table = np.zeros((int(group.max(initial=-1)) + 1, int(classes.max(initial=-1)) + 1))
    np.add.at(table, (group, classes), 1)
    shares = table / np.maximum(table.sum(0), 1)  # of each class: a rare one counts as much as a common one
    filled = np.zeros((folds, table.shape[1]))
    chosen = np.zeros(len(table), np.int64)
    order = generator.permutation(len(table))
    for number in order[np.argsort(-table.sum(1)[order], kind="stable")]:
        overlap = filled @ shares[number]
        # Of folds that are equally short of its classes, the one that has least in all.
        chosen[number] = np.lexsort((filled.sum(1), overlap.round(12)))[0]
        filled[chosen[number]] += shares[number]
    return chosen[group]
