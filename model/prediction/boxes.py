"""Boxes around faces. In: ``(x, y, width, height)`` in pixels. Out: how much of two is one face."""

__all__ = ["SAME_FACE", "Box", "overlap"]

Box = tuple[float, float, float, float]

SAME_FACE = 0.3
"""Two boxes that overlap by at least this are of one face."""


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes ``(x, y, width, height)`` over their union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
