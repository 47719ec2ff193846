"""Where the samples of each class are: the n-th of a class, without a list of them.

In: labels. Out: sample indices. Costs a pass over the labels for each class and a byte for four samples, once; then a
look at 256 labels for each sample that is asked for, or for several that are near each other.
"""

import numpy as np

__all__ = ["ClassPlaces"]

_BLOCK, _PASS = 256, 1 << 20


class ClassPlaces:
    """The samples of each class, numbered in reading order.

    Args:
        labels: ``[N]`` of any integer type, the class of each sample.
        num_classes: How many classes there are.

    Attributes:
        counts: int64 ``[classes]``, samples of each.
    """

    def __init__(self, labels: np.ndarray, num_classes: int) -> None:
        self._labels = labels
        blocks = [np.zeros((num_classes, 1), np.int64)]
        for start in range(0, len(labels), _PASS):
            piece = labels[start : start + _PASS]
            begins = np.arange(0, len(piece), _BLOCK)
            counts = [np.add.reduceat(piece == label, begins, dtype=np.int64) for label in range(num_classes)]
            blocks.append(np.stack(counts))
        self._before = np.cumsum(np.concatenate(blocks, axis=1), axis=1)
        self.counts = self._before[:, -1]

    def find(self, label: int, numbers: np.ndarray) -> np.ndarray:
        """Return the sample indices of some of a class's samples, int64 ``[n]``, by their numbers within it."""
        before = self._before[label]
        blocks, place = np.unique(np.searchsorted(before, numbers, side="right") - 1, return_inverse=True)
        rows = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
        own = rows[self._labels.take(rows, mode="clip") == label]
        counts = before[blocks + 1] - before[blocks]
        found: np.ndarray = own[(np.cumsum(counts) - counts - before[blocks])[place] + numbers]
        return found
