"""Bytes that arrived and do not fit their checksum: fetched anew, then over a new connection, and only then damaged.

In: what reads, and what tells whether it is sound. Out: what is, or what an error is to say of it.
"""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["refetched", "until_sound"]

T = TypeVar("T", bytes, str)


def until_sound(read: Callable[..., T], is_sound: Callable[[T], bool]) -> tuple[T, str]:
    """Return what is read from a URL, and what to say if it is not sound after all.

    Args:
        read: Reads it, with ``is_fresh`` or ``is_new`` as :meth:`ferdata.store.Store.read_range` takes them; the bytes,
            or a digest of them.
        is_sound: Tells whether they are what they should be.
    """
    found = read()
    if is_sound(found):
        return found, ""
    seen = {found}
    for how in ("is_fresh", "is_new"):
        found = read(**{how: True})
        if is_sound(found):
            return found, ""
        seen.add(found)
    return found, refetched(is_same=len(seen) == 1)


def refetched(*, is_same: bool) -> str:
    """Return what an error says of bytes that never fitted, whether they were the same each time or not."""
    found = (
        "the same bytes arrived each time: they are stored so"
        if is_same
        else "other bytes arrived: they are damaged on their way, by a proxy or the network"
    )
    return f" (fetched 3 times, the last time over a new connection, and {found})"
