"""Ranges of bytes: what is added is there, and what is missing is exactly the rest."""

import random
from itertools import pairwise

from ferdata.cache.ranges import Ranges


def test_ranges_say_what_a_set_of_bytes_says() -> None:
    """A gap that is overlooked is a zero in an image, one that is invented a request."""
    draw = random.Random(3)
    for _ in range(40):
        ranges, there = Ranges(), set[int]()
        for _ in range(draw.randrange(1, 12)):
            start = draw.randrange(60)
            stop = start + draw.randrange(12)
            ranges.add(start, stop)
            there.update(range(start, stop))
            first = draw.randrange(70)
            last = first + draw.randrange(30)
            gaps = ranges.missing(first, last)

            assert ranges.num_bytes == len(there)
            assert [byte for gap in gaps for byte in range(*gap)] == [n for n in range(first, last) if n not in there]
            assert all(end < begin for (_, end), (begin, _) in pairwise(gaps))
