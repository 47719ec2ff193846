"""Detect RAF-DB's own label list, basic or compound."""

from dataclasses import replace
from functools import partial

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import RAFDB_BASIC, RAFDB_COMPOUND
from ferdata.sources.files.listing import Tree, below
from ferdata.sources.files.matching import stem_of
from ferdata.sources.files.text_tables import are_equal, is_table
from ferdata.sources.layout import Asked, Detection, Layout, Release
from ferdata.sources.rafdb.label_list import ALIGNED_SIDE, BASIC, COMPOUND, iter_list, match_name
from ferdata.sources.rafdb.reader import scan
from ferdata.sources.rafdb.totals import RAF_FULL, RAF_REDUCED
from ferdata.store import Store

__all__ = ["RAF_BASIC", "RAF_COMPOUND"]

_LISTS = ("list_patition_label", "list_partition_label")
_PARTS = ("image", "images", "aligned", "original", "annotation", "annotations", "emolabel", "feature")


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for the label list, normally in ``EmoLabel/``; the digits of its stems tell basic from compound.

    Raises:
        AmbiguousLayoutError: If two different lists are found.
        LayoutError: If basic and compound are mixed, or if the list names no RAF-DB images.
    """
    here = tree.folder(folder)
    labels = here.dir("EmoLabel")
    places = [here, tree.folder(labels)] if labels else [here]
    lists = [
        below(place.path, name) for place in places for stem in _LISTS for name in place.files if _is_list(name, stem)
    ]
    if not lists:
        return None
    if not are_equal(tree.store, lists):
        raise AmbiguousLayoutError(
            f"{tree.store}: {' and '.join(lists)} differ, expected one label list; move the other away"
        )
    return Detection(layout=_basic_or_compound(tree.store, lists[0]), root=folder, files={"labels": lists[0]})


def _basic_or_compound(store: Store, path: str) -> Layout:
    by_digits = {item: RAF_BASIC for item in BASIC.digits.items()}
    by_digits |= {item: RAF_COMPOUND for item in COMPOUND.digits.items()}
    digits: dict[Layout | None, set[str]] = {}
    for _, name, label in iter_list(store, path):
        stem = match_name(name) if label is not None else None
        if stem is not None:
            of_digits = by_digits.get((stem[1].lower(), len(stem[2])))
            digits.setdefault(of_digits, set()).add(f"{stem[1]}_{len(stem[2])} digits")
    if not digits:
        raise LayoutError(
            f"{store.path(path)}: no line like 'train_00001.jpg 5' found, expected RAF-DB's label list; "
            f"RAF-ML and RAF-CE are other data sets and are not read"
        )
    layout = next(iter(digits))
    if len(digits) > 1 or layout is None:
        found = ", ".join(sorted(name for names in digits.values() for name in names))
        raise LayoutError(
            f"{store.path(path)}: stems of {found} found, "
            "expected train 5 and test 4 digits (basic) or train 4 and test 3 (compound); keep the two sets apart"
        )
    return layout


def _is_list(name: str, stem: str) -> bool:
    return (is_table(name) or name.lower().endswith(".txt")) and stem_of(name).lower() == stem


RAF_BASIC = Layout(
    name="RAF-basic",
    source="rafdb",
    detector=_find,
    scan=partial(scan, raf=BASIC),
    sign="EmoLabel/list_patition_label.txt",
    classes=RAFDB_BASIC,
    releases=(RAF_FULL, RAF_REDUCED),
    has_originals=True,
    side=ALIGNED_SIDE,
    parts=_PARTS,
)
RAF_COMPOUND = replace(
    RAF_BASIC,
    name="RAF-compound",
    scan=partial(scan, raf=COMPOUND),
    classes=RAFDB_COMPOUND,
    releases=(Release(title="RAF-DB compound", splits={"train": 3162, "test": 792}),),
)
