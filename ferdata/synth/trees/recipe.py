"""How one layout of a release is drawn: what each family of layouts in this folder fills.

In: nothing. Out: the values that :data:`ferdata.synth.trees.recipes.RECIPES` lists.
"""

from collections.abc import Callable, Mapping, Sequence
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
        is_fixed: Its images can have no other side than the layout's, as in tables of pixels.
        faces_every: Every so many-th picture shows two faces; 0 if none does.
        has_bad_row: The release has one unusable row in its first split.
        people: Who is in a release of few people with many images each; even numbers are women.
        frames: Images of a clip or sequence, which is drawn at once and has one class.
        resting: How many of these are neutral, whatever the class.
        weights: Split -> shares of the classes, where the release's own counts are not of images, or not known.
    """

    layout: Layout
    draw: Callable[[Portrait, PlannedImage], Drawing]
    folders: tuple[str, ...]
    gaps: bool = False
    first_number: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    is_fixed: bool = False
    faces_every: int = 0
    has_bad_row: bool = False
    people: Sequence[int] = ()
    frames: int = 1
    resting: int = 0
    weights: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the release, in the order of its ids."""
        if self.weights:
            return self.layout.classes
        known = [counts for counts in self.layout.releases[0].splits.values() if not isinstance(counts, int)]
        return tuple(name for name in self.layout.classes if any(name in counts for counts in known))

    def totals(self) -> Mapping[str, Sequence[int]]:
        """Return images (or clips) per split and class of the release."""
        if self.weights:
            return self.weights
        splits = self.layout.releases[0].splits
        return {
            split: [counts[name] for name in self.classes]
            for split, counts in splits.items()
            if not isinstance(counts, int)
        }
