"""How one layout of a release is drawn: what each family of layouts in this folder fills.

In: nothing. Out: the values that :data:`ferdata.synth.trees.recipes.RECIPES` lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ferdata.sources.layout import Layout
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.files import Drawing, PlannedImage

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to write one layout.

    Attributes:
        layout: What the tree is read as; the counts of its first release are those of the tree.
        gaps: True if image numbers have gaps.
        first_number: Number of a split's first image.
        draw: Makes the files of one image, and its rows for lists.
        folders: Folders that are there even where they stay empty.
        headers: Path of a list, or of the folder that lists lie in -> first line of such a list; none has it otherwise.
        has_bad_row: The release has one unusable row in its first split.
    """

    layout: Layout
    draw: Callable[[Portrait, PlannedImage], Drawing]
    folders: tuple[str, ...]
    gaps: bool = False
    first_number: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    has_bad_row: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the release, in the order of its ids."""
        known = [counts for counts in self.layout.releases[0].splits.values() if not isinstance(counts, int)]
        return tuple(name for name in self.layout.classes if any(name in counts for counts in known))

    def totals(self) -> dict[str, list[int]]:
        """Return images per split and class of the release."""
        splits = self.layout.releases[0].splits
        return {
            split: [counts[name] for name in self.classes]
            for split, counts in splits.items()
            if not isinstance(counts, int)
        }
