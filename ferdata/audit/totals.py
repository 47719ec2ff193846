"""How a data set compares with what its release is known to hold. In: an index. Out: a row for each split and class."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ferdata.format import DatasetIndex
from ferdata.sources.layouts import LAYOUTS

__all__ = ["Total", "compare_with_release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Samples of one split and class, or of a whole split where ``name`` is empty: here, and in the release."""

    release: str
    split: str
    name: str
    here: int
    known: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def compare_with_release(index: DatasetIndex) -> list[Total]:
    """Return the comparison with the full release of the layout; nothing where none is known."""
    layout = LAYOUTS.get(index.source_layout)
    release = next((each for each in layout.releases if each.is_only), None) if layout is not None else None
    if release is None:
        return []
    found = []
    for split, known in release.splits.items():
        here = dict(zip(index.classes, index.counts.get(split, [0] * len(index.classes)), strict=True))
        by_class: Mapping[str, int] = {} if isinstance(known, int) else known
        found += [
            Total(release=release.title, split=split, name=name, here=here.get(name, 0), known=count)
            for name, count in by_class.items()
        ]
        total = known if isinstance(known, int) else sum(known.values())
        found.append(Total(release=release.title, split=split, name="", here=sum(here.values()), known=total))
    return found
