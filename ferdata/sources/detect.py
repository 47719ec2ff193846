"""Find out which layout a folder holds, and where it starts.

In: a folder or URL. Out: a :class:`Detection`, or an error that says what was looked for and what is there. Costs a
listing of each small folder on the way; of a large image or annotation folder only the first names are read.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from ferdata.errors import AmbiguousLayoutError, LayoutError, StoreError
from ferdata.format.schema import INDEX_NAME
from ferdata.sources.class_folders.detector import class_places
from ferdata.sources.class_folders.own_classes import holds_images
from ferdata.sources.files.listing import Tree, below, folders_above, is_archive, name_of, shorten, split_of
from ferdata.sources.files.text_tables import is_table
from ferdata.sources.label_tables import DERIVED_TABLES, check_tables, is_derived
from ferdata.sources.layout import SOURCES, Asked, Detection
from ferdata.sources.layouts import LAYOUTS
from ferdata.sources.tables.detector import TABLE
from ferdata.sources.tables.rows import is_parquet
from ferdata.sources.unread import DERIVED_FOLDERS, LOOPS, note_unread
from ferdata.sources.unrecognised import advise_on_images
from ferdata.store import Store, StrPath

__all__ = ["detect_layout"]

_MAX_LEVELS = 4
_MAX_CHILDREN = 64
_LABEL_ENDINGS = (".csv", ".tsv", ".tab", ".npy", ".parquet", ".pkl", ".pickle", ".lst")
_OTHER_SETS = frozenset(("rafce_emolabel.txt", "partition_label.txt"))


def detect_layout(root: StrPath, *, source: str | None = None, labels: str | None = None) -> Detection:
    """Return the layout below ``root``.

    Args:
        root: Folder or fsspec URL; the layout may start up to four single sub-folders deeper.
        source: One of ``SOURCES``: what the user says it is; None takes what is found.
        labels: Order of numeric class folders, one of ``LABEL_ORDERS``, or None to ask where it matters.

    Raises:
        LayoutError: If there is no known layout, or one of another source.
        AmbiguousLayoutError: If there are several, or one that can be read in several ways.
    """
    tree, asked = Tree(Store(root)), Asked(source=source, labels=labels)
    _check_root(tree.store, source)
    if source == TABLE.source:  # any data set could have a table, and this one is asked for
        return Detection(layout=TABLE, root=tree.store.root)
    found = _layout_at(tree, "", asked)
    if found is None:
        raise _nothing_found(tree, asked)
    _refuse_second_layout(tree, found)
    found = _rebased(replace(found, notes=(*found.notes, *_ignored(tree, found))), tree.store)
    _check_source(found, source)
    return found


def _layout_at(
    tree: Tree, folder: str, asked: Asked, *, levels: int = _MAX_LEVELS, by_files_only: bool = False
) -> Detection | None:
    """Return the layout in ``folder``, or so many levels down its single sub-folders."""
    found = _find(tree, folder, asked, "files") or (None if by_files_only else _find(tree, folder, asked, "columns"))
    if found is not None:
        return found
    inner = _only_folder(tree, folder)
    # A lone folder that holds no image is a wrapper and no class, even if it is called 1/ or Happy/.
    is_wrapper = inner is not None and not split_of(name_of(inner)) and not holds_images(tree, inner)
    if not is_wrapper and not by_files_only:
        places = class_places(tree, folder)
        if any(holds_images(tree, place) for place in places) or not any(_layouts_below(tree, places)):
            found = _find(tree, folder, asked, "names")
    if found is None and inner is not None and levels:
        found = _layout_at(tree, inner, asked, levels=levels - 1, by_files_only=by_files_only)
    return found


def _find(tree: Tree, folder: str, asked: Asked, evidence: str) -> Detection | None:
    """Return what the first detector with this kind of evidence finds in a folder."""
    detectors = dict.fromkeys(layout.detector for layout in LAYOUTS.values() if layout.evidence == evidence)
    return next((found for detector in detectors if (found := detector(tree, folder, asked)) is not None), None)


def _only_folder(tree: Tree, folder: str) -> str | None:
    here = tree.folder(folder)
    if len(here.dirs) != 1 or here.images or any(map(_is_label_file, here.files)):
        return None
    return below(folder, here.dirs[0])


def _is_label_file(name: str) -> bool:
    lower = name.lower()
    if lower in DERIVED_TABLES:
        return False
    return lower.endswith(_LABEL_ENDINGS) or (lower.endswith(".txt") and ("label" in lower or "annot" in lower))


def _check_root(store: Store, source: str | None) -> None:
    if not store.exists():
        raise LayoutError(f"{store}: no such folder, expected the folder the data set was unpacked to; check the path")
    if not store.is_dir():
        advice = "unpack first and give the folder" if is_archive(str(store)) else "give the folder it lies in"
        if source == TABLE.source and (is_table(str(store)) or is_parquet(str(store))):
            advice += f", and table={store}"
        raise LayoutError(f"{store}: a file found, expected the folder of a data set; {advice}")


def _check_source(found: Detection, source: str | None) -> None:
    if source is not None and found.layout.source != source:
        own = ", or 'table' for classes of your own," if found.tables else ""
        by_files = f" (its labels are in {shorten(sorted(found.files.values()))})" if found.files else ""
        raise LayoutError(
            f"{found.root}: {found.layout} found, which is {SOURCES[found.layout.source]}, expected {SOURCES[source]}; "
            f"use source {found.layout.source!r}{own} or give another folder{by_files}"
        )


def _refuse_second_layout(tree: Tree, found: Detection) -> None:
    taken = {path[len(found.root) :].strip("/").split("/")[0].lower() for path in _paths(found)}
    taken |= {*DERIVED_FOLDERS, *(name.lower() for name in found.class_folders)}
    names = [name for name in tree.folder(found.root).dirs if name.lower() not in taken and not split_of(name)]
    others = _layouts_below(tree, [below(found.root, name) for name in names])
    if second := next(chain(others, _scattered_beside(tree, found)), None):
        here = sorted(_paths(found))[0] if found.root == second[0] else found.root
        raise AmbiguousLayoutError(
            f"{tree.store}: {found.layout} in {tree.store.path(here)} and {second[1]} in {tree.store.path(second[0])} "
            "found, expected one data set; give the path of one of them, or move the other away"
        )


def _scattered_beside(tree: Tree, found: Detection) -> Iterator[tuple[str, str]]:
    """Yield ``(path, layout)`` of other layouts whose label files lie outside the root of what was found."""
    for layout in LAYOUTS.values():
        if not layout.is_scattered or layout is found.layout:
            continue
        try:
            second = layout.detector(tree, found.root, Asked())
        except (LayoutError, StoreError):
            continue
        # Label files in this very folder are no second layout: within one folder the first match wins.
        apart = sorted({path.rpartition("/")[0] for path in second.files.values()} - {found.root}) if second else []
        yield from ((path, layout.name) for path in apart)


def _layouts_below(tree: Tree, folders: list[str], asked: Asked | None = None) -> Iterator[tuple[str, str]]:
    """Yield ``(path, layout)`` for each of ``folders`` that holds a layout, itself or down its single sub-folders.

    Without ``asked`` only layouts with files of their own count: no class folders, and no tables that many have.
    """
    for start in folders if len(folders) <= _MAX_CHILDREN else ():
        try:
            found = _layout_at(tree, start, asked or Asked(), by_files_only=asked is None)
        except AmbiguousLayoutError:
            yield start, "an unclear layout"
        except (LayoutError, StoreError):
            continue
        else:
            # Class folders below one split folder alone are not what the user should give instead of both.
            if found is not None and not (found.class_folders and split_of(name_of(found.root))):
                yield found.root, found.layout.name


def _rebased(found: Detection, store: Store) -> Detection:
    start = len(found.root) + 1 if found.root else 0
    root = store.path(found.root)
    return replace(
        found,
        root=root,
        splits={split: path[start:] for split, path in found.splits.items()},
        files={role: path[start:] for role, path in found.files.items()},
        tables={split: tuple(path[start:] for path in paths) for split, paths in found.tables.items()},
        folders={role: path[start:] for role, path in found.folders.items()},
        same=tuple(path[start:] for path in found.same),
        notes=(f"{found.layout} found in {root}.", *found.notes),
    )


def _paths(found: Detection) -> list[str]:
    tables = [path for paths in found.tables.values() for path in paths]
    return [*found.splits.values(), *found.files.values(), *found.folders.values(), *tables, *found.same]


def _ignored(tree: Tree, found: Detection) -> list[str]:
    used = set(_paths(found))
    derived, archives, pickles, loops = [], [], [], []
    for wrapper in folders_above(found.root, ""):
        loops += [below(wrapper, name) for name in tree.folder(wrapper).loops]
    for folder in dict.fromkeys((found.root, *found.splits.values())):
        here = tree.folder(folder)
        loops += [below(folder, name) for name in here.loops]
        derived += [below(folder, name) + "/" for name in here.dirs if name.lower() in DERIVED_FOLDERS]
        files = [(path, name_of(path).lower()) for path in here.others if path not in used]
        derived += [path for path, _ in files if is_derived(tree, path)]
        archives += [path for path, name in files if is_archive(name)]
        pickles += [path for path, name in files if name.endswith((".pkl", ".pickle"))]
    kinds = (
        ("derived files, which are no labels", derived),
        ("archives beside the unpacked data", archives),
        ("pickles, which are never loaded", pickles),
    )
    ignored = [f"Ignored {kind}: {shorten(paths)}." for kind, paths in kinds if paths]
    ignored += [f"Ignored {shorten(found.same)}, which should hold the same images."] if found.same else []
    ignored += [f"{LOOPS}: {shorten(loops)}."] if loops else []
    return [*ignored, *check_tables(tree, found, used), *note_unread(tree, found)]


def _nothing_found(tree: Tree, asked: Asked) -> LayoutError:
    folder = ""
    for _ in range(_MAX_LEVELS):
        folder = _only_folder(tree, folder) or folder
    where = tree.store.path(folder)
    here = tree.folder(folder)
    small = [below(folder, name) for name in here.dirs] if len(here.dirs) <= _MAX_CHILDREN else []
    passed = [tree.folder(path) for path in folders_above(folder, "")]
    inside = [tree.folder(path) for path in small]
    files = [below(place.path, name) for place in (*passed, here, *inside) for name in place.files]
    deeper = list(_layouts_below(tree, small, asked))
    pickles = [path for path in files if path.lower().endswith("_fullpath.pkl")]
    archives = [path for path in files if is_archive(path)]
    if len(deeper) > 1:
        return AmbiguousLayoutError(
            f"{where}: {' and '.join(f'{layout} in {tree.store.path(path)}' for path, layout in deeper)} found, "
            "expected one data set; give the path of one of them"
        )
    if deeper:
        path, layout = deeper[0]
        tables = [path for path in files if is_table(path)]
        beside = f" ({shorten(tables)} found too, which would not be read)" if tables else ""
        return LayoutError(
            f"{where}: {layout} found deeper down, in {path}, expected its own folder; "
            f"give {tree.store.path(path)}{beside}"
        )
    if pickles:
        return LayoutError(
            f"{where}: {shorten(pickles)} found, expected labels as text or .npy; "
            "pickles are not loaded, use the CSV release"
        )
    if archives and INDEX_NAME in here.files:
        return LayoutError(
            f"{where}: {INDEX_NAME} of shards found, expected the images that they were made from; give their folder, "
            "or change the shards' codec with recode"
        )
    if archives and not any(place.images for place in (*passed, here, *inside)):
        return LayoutError(
            f"{tree.store}: only archives found ({shorten(archives)}), expected the unpacked data set; unpack first"
        )
    other = [path for path in files if name_of(path.lower()) in _OTHER_SETS]
    if other:
        return LayoutError(
            f"{where}: {shorten(other)} found, expected RAF-DB basic or compound; "
            "RAF-ML and RAF-CE are other data sets, not read"
        )
    expected = _signs(asked.source)
    if not here.dirs and not here.files:
        return LayoutError(f"{where}: an empty folder found, expected {expected}; check the path")
    held = shorten([*(f"{name}/" for name in here.dirs), *here.files])
    numbers = sum(name.isdecimal() for name in here.dirs)
    if numbers and numbers == len(here.dirs):
        return LayoutError(
            f"{where}: {numbers:,} numbered folders are AffectNet's images of 2017 without their CSV files, "
            "or classes; give the folder that holds training.csv too, or use source 'folder'"
        )
    return advise_on_images(tree, folder, asked.source) or LayoutError(
        f"{where}: no image found and no known layout, expected {expected}; the folder holds {held}; "
        "give the folder of a data set"
    )


def _signs(source: str | None) -> str:
    """Return what shows the layouts of a source, or of all, with their names."""
    by_sign: dict[tuple[str, str], list[str]] = {}
    for layout in LAYOUTS.values():
        if layout.sign and source in (layout.source, None):
            by_sign.setdefault((layout.source, layout.sign), []).append(layout.name)
    shown: dict[str, list[str]] = {}
    for (of_source, sign), names in by_sign.items():
        shown.setdefault(of_source, []).append(f"{sign} ({', '.join(names)})")
    return "; ".join(("class folders (train/<class>/)", *map(", ".join, shown.values())))
