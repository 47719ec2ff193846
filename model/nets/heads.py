"""Which row of a network's head is which class of another's: they meet by name. In: names. Out: a :class:`HeadMap`."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferdata.labels import canonical_name

__all__ = ["HeadMap", "map_head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMap:
    """Which row of the old head each class of the new one starts with.

    Attributes:
        rows: For each new class, the old class's number; None where it is renewed.
        old: Names of the old classes.
        new: Names of the new classes.
    """

    rows: tuple[int | None, ...]
    old: tuple[str, ...]
    new: tuple[str, ...]

    def describe(self) -> str:
        """Return one sentence on what became of the head."""
        renewed = [name for name, row in zip(self.new, self.rows, strict=True) if row is None]
        dropped = [name for number, name in enumerate(self.old) if number not in self.rows]
        if not renewed and not dropped and self.rows == tuple(range(len(self.old))):
            return f"head kept: the same {len(self.old)} classes in the same order"
        if len(renewed) == len(self.new):
            return f"head renewed: none of {', '.join(self.new)} was known to the other run"
        taken = [(number, row) for number, row in enumerate(self.rows) if row is not None]
        parts = [f"{len(taken)} rows {'kept' if all(number == row for number, row in taken) else 'permuted'} by name"]
        parts += [f"renewed: {', '.join(renewed)}"] if renewed else []
        parts += [f"dropped: {', '.join(dropped)}"] if dropped else []
        return f"head: {'; '.join(parts)}"


def map_head(old: Sequence[str], new: Sequence[str]) -> HeadMap:
    """Match classes by name; ``Happiness`` and ``happy`` are the same class."""
    numbers = {_plain(name): number for number, name in enumerate(old)}
    return HeadMap(rows=tuple(numbers.get(_plain(name)) for name in new), old=tuple(old), new=tuple(new))


def _plain(name: str) -> str:
    return (canonical_name(name) or name.strip()).lower()
