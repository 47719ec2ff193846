"""How threads hand on pictures: always the newest, so that nothing lags; and how long each of them takes.

In: whatever comes, in its own time. Out: the latest of it, and figures.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Generic, TypeVar

__all__ = ["Latest", "Meter"]

Item = TypeVar("Item")
_REMEMBERED = 100


class Latest(Generic[Item]):
    """The newest of some items; one that nobody took in time is gone. For any number of threads.

    Attributes:
        num_put: How many there were.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: Item | None = None
        self._is_closed = False
        self.num_put = 0

    def put(self, item: Item) -> None:
        """Replace it."""
        with self._changed:
            self._item = item
            self.num_put += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no other one comes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        """Yield the newest, waiting for one that was not yielded before, until there is no other."""
        seen = 0
        while (found := self._newer(seen)) is not None:
            item, seen = found
            yield item

    def _newer(self, seen: int) -> tuple[Item, int] | None:
        with self._changed:
            self._changed.wait_for(lambda: self.num_put > seen or self._is_closed)
            return None if self.num_put == seen or self._item is None else (self._item, self.num_put)


class Meter:
    """How long something takes, and how often it happens; of the last hundred times. One thread writes it."""

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._ended: deque[float] = deque(maxlen=_REMEMBERED)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note how long the block takes."""
        began = time.perf_counter()
        yield
        self.note(time.perf_counter() - began)

    def note(self, seconds: float) -> None:
        """Note that it took so long, and has just ended."""
        self._took.append(seconds)
        self._ended.append(time.perf_counter())

    @property
    def milliseconds(self) -> float:
        """Of one time, on average."""
        took = list(self._took)
        return 1000 * sum(took) / len(took) if took else 0.0

    @property
    def longest_milliseconds(self) -> float:
        """Of all that are remembered."""
        return 1000 * max(list(self._took), default=0.0)

    @property
    def per_second(self) -> float:
        """Times a second."""
        ended = list(self._ended)
        return (len(ended) - 1) / (ended[-1] - ended[0]) if len(ended) > 1 and ended[-1] > ended[0] else 0.0
