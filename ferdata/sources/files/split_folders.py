"""Find the split folders of a release that holds images and labels side by side in each of them.

In: listings. Out: split -> folder. Costs a listing of each small folder.
"""

from collections.abc import Mapping, Sequence

from ferdata.errors import AmbiguousLayoutError
from ferdata.sources.files.listing import Tree, below, split_of
from ferdata.sources.files.matching import SPLIT_ORDER, in_order

__all__ = ["note_missing", "split_folders"]


def split_folders(tree: Tree, folder: str, kinds: Sequence[str]) -> dict[str, str]:
    """Return split -> folder for the split folders that hold a sub-folder of one of these ``kinds``, in any case.

    A split folder inside another one is what its own name says: an archive of val unpacks as ``test_set/val_set``.

    Raises:
        AmbiguousLayoutError: If two folders claim the same split.
    """
    found: dict[str, str] = {}
    for name in tree.folder(folder).dirs:
        split, path = split_of(name), below(folder, name)
        if split is None:
            continue
        inner = tree.folder(path)
        if not any(inner.dir(kind) for kind in kinds):
            inside = [child for child in inner.dirs if split_of(child)]
            if len(inside) != 1:
                continue
            split, path = split_of(inside[0]) or split, below(path, inside[0])
            if not any(tree.folder(path).dir(kind) for kind in kinds):
                continue
        if split in found:
            raise AmbiguousLayoutError(
                f"{tree.store}: {found[split]!r} and {path!r} found, expected one folder for split {split}; "
                "move one of them away"
            )
        found[split] = path
    return in_order(found)


def note_missing(splits: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on the splits that are not there, or none."""
    missing = [split for split in SPLIT_ORDER if split not in splits]
    return (f"No {' and no '.join(missing)} split found.",) if missing else ()
