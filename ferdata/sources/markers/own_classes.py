"""Class folders with expressions of a user's own: under source ``folder`` alone, each folder names its class."""

from collections.abc import Mapping, Sequence

from ferdata.errors import AmbiguousLayoutError, StoreError
from ferdata.labels import AFFECTNET_ALL, canonical_name
from ferdata.sources.listing import Tree, below, is_image, split_of

__all__ = ["find_own_classes", "holds_images"]

_MIN_FOLDERS_WITH_IMAGES = 2


def find_own_classes(tree: Tree, splits: Mapping[str, str], names: Sequence[str]) -> dict[str, str] | None:
    """Return folder name -> class name, or None where the folders are known classes or no class folders at all.

    One name that is no known class, or a number that no known order has, makes all of them the user's own. Names that differ
    only in case, as they do between splits, are one class under the spelling met first.

    Args:
        tree: Listings of the source.
        splits: Split -> split folder.
        names: Names of the class folders of all splits.

    Raises:
        AmbiguousLayoutError: If there are no splits and one folder holds its images further down than the others.
    """
    has_splits = any(split_of(path.rsplit("/", 1)[-1]) for path in splits.values())
    holding = [name for name in names if any(holds_images(tree, below(path, name)) for path in splits.values())]
    if not holding or (not has_splits and len(holding) < _MIN_FOLDERS_WITH_IMAGES) or not any(map(_is_own, names)):
        return None
    if not has_splits:
        _refuse_wrapper(tree, splits, names, holding)
    spelling: dict[str, str] = {}
    for path in splits.values():
        for name in tree.folder(path).dirs:
            if name in names:
                spelling.setdefault(name.lower(), name)
    return {name: spelling[name.lower()] for name in names}


def _refuse_wrapper(tree: Tree, splits: Mapping[str, str], names: Sequence[str], holding: Sequence[str]) -> None:
    """Refuse a folder of folders beside folders of images: ``data/smile/1.jpg`` beside ``plots/curve.png`` is no class ``data``."""
    for path in (below(folder, name) for folder in splits.values() for name in names if name not in holding):
        inside = [name for name in tree.folder(path).dirs if holds_images(tree, below(path, name))]
        if inside:
            raise AmbiguousLayoutError(
                f"{tree.store.path(path)}: images in {', '.join(map(repr, inside[:8]))} found, but {', '.join(map(repr, holding[:8]))} "
                f"beside it hold images of their own, expected all classes alike; give {tree.store.path(path)}, or move away what is no "
                f"class"
            )


def _is_own(name: str) -> bool:
    return int(name) >= len(AFFECTNET_ALL) if name.isdecimal() else canonical_name(name) is None


def holds_images(tree: Tree, folder: str) -> bool:
    """Tell whether an image lies in the folder itself; a folder that is not there or cannot be listed holds none."""
    try:
        return bool(tree.peek(folder, is_image))
    except StoreError:
        return False
