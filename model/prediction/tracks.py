"""Which faces of a video are one person's, and what is said of each of them, smoothed over time. Pure arithmetic.

In: boxes of every frame; times and values of a track. Out: numbers of tracks; smoothed values.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ferdata.training.prediction.boxes import SAME_FACE, Box, overlap

__all__ = ["RunningMeans", "Tracker", "smooth"]


class Tracker:
    """Numbers the faces of a video, so that one that moves little between frames keeps its number.

    Args:
        longest_gap: Seconds for which a face may be lost and still be the same one; one that the frame before had is
            not lost, however long ago that was.
    """

    def __init__(self, *, longest_gap: float = 0.5) -> None:
        self._gap = longest_gap
        self._last: dict[int, tuple[float, Box]] = {}
        self._before = 0.0

    def __call__(self, seconds: float, boxes: Sequence[Box]) -> list[int]:
        """Return the number of each box of a frame; a box goes to the track whose last box it overlaps most."""
        # an hour's film has thousands of faces, of which few are still there
        last = {
            number: box
            for number, (seen, box) in self._last.items()
            if seconds - seen <= self._gap or seen == self._before
        }
        self._before = seconds
        pairs = sorted(
            ((overlap(box, one), number, place) for number, one in last.items() for place, box in enumerate(boxes)),
            key=lambda pair: (-pair[0], pair[1:]),
        )
        found: dict[int, int] = {}
        for shared, number, place in pairs:
            if shared >= SAME_FACE and place not in found and number not in found.values():
                found[place] = number
        for place, box in enumerate(boxes):
            number = found.setdefault(place, max([-1, *self._last]) + 1)
            self._last[number] = (seconds, box)
        newest = max(self._last, default=0)
        self._last = {
            number: each for number, each in self._last.items() if seconds - each[0] <= self._gap or number == newest
        }
        return [found[place] for place in range(len(boxes))]


def smooth(seconds: np.ndarray, values: np.ndarray, *, scale: float) -> np.ndarray:
    """Return means over time, weighted by ``exp(-distance / scale)`` to both sides, so that nothing comes late.

    Args:
        seconds: float ``[N]``, ascending.
        values: float ``[N, K]``.
        scale: In seconds; 0 leaves the values as they are.
    """
    if scale <= 0 or len(values) < 2:
        return values
    fading = np.exp(-np.diff(seconds) / scale)
    weighted = np.concatenate([values, np.ones((len(values), 1))], 1)
    before, after = weighted.copy(), weighted.copy()
    for place in range(1, len(values)):
        before[place] += fading[place - 1] * before[place - 1]
        after[-1 - place] += fading[-place] * after[-place]
    both = before + after - weighted
    smoothed: np.ndarray = both[:, :-1] / both[:, -1:]
    return smoothed


class RunningMeans:
    """Means over the past of each track, weighted as :func:`smooth` does.

    Args:
        scale: In seconds; 0 leaves the values as they are.
    """

    def __init__(self, *, scale: float) -> None:
        self._scale = scale
        self._last: dict[int, tuple[float, np.ndarray, float]] = {}

    def __call__(self, seconds: float, values: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the means of the tracks of one moment; float ``[K]`` each, as the values."""
        if self._scale <= 0:
            return dict(values)
        now: dict[int, tuple[float, np.ndarray, float]] = {}
        for track, value in values.items():
            then, total, weight = self._last.get(track, (seconds, np.zeros_like(value), 0.0))
            fading = float(np.exp((then - seconds) / self._scale))
            now[track] = (seconds, value + fading * total, 1.0 + fading * weight)
        self._last |= now
        self._last = {track: each for track, each in self._last.items() if seconds - each[0] <= 5 * self._scale}
        return {track: total / weight for track, (_, total, weight) in now.items()}
