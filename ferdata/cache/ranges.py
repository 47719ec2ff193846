"""Byte ranges that do not overlap: which parts of a file are there, and which are not.

In: ranges ``[start, stop)``, in any order. Out: the same merged, and the gaps between them. Pure.
"""

from bisect import bisect_left, bisect_right

__all__ = ["Ranges"]


class Ranges:
    """A set of bytes, kept as ascending ranges between which bytes are missing."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __repr__(self) -> str:
        return f"Ranges({[*zip(self._starts, self._stops, strict=True)]})"

    def add(self, start: int, stop: int) -> None:
        """Add the bytes ``[start, stop)``."""
        if start >= stop:
            return
        first, last = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if first < last:  # those that it touches become one with it
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last], self._stops[first:last] = [start], [stop]

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the gaps within ``[start, stop)``, ascending."""
        gaps = []
        number = bisect_right(self._stops, start)
        while start < stop:
            there = number < len(self._starts)
            begin, end = (self._starts[number], self._stops[number]) if there else (stop, stop)
            if start < begin:
                gaps.append((start, min(begin, stop)))
            start, number = max(start, end), number + 1
        return gaps

    @property
    def num_bytes(self) -> int:
        """How many bytes there are."""
        return sum(self._stops) - sum(self._starts)
