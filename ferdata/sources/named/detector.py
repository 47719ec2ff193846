"""Detect JAFFE and KDEF by the names of their images."""

import re
from collections.abc import Callable
from functools import partial

from ferdata.labels import JAFFE, KDEF
from ferdata.sources.files.listing import Tree, below
from ferdata.sources.files.matching import stem_of
from ferdata.sources.layout import Asked, Detection, Layout, Release
from ferdata.sources.named.names import JAFFE_NAME, KDEF_NAME, Named, parse_jaffe, parse_kdef
from ferdata.sources.named.reader import scan

__all__ = ["JAFFE_LAYOUT", "KDEF_LAYOUT"]

_SAMPLE = 64
_PERSON = re.compile(r"[AB][FM]\d\d", re.IGNORECASE)


def _find_jaffe(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for a folder most of whose images are called as JAFFE's are."""
    if not _are_named(tree, folder, parse_jaffe):
        return None
    return Detection(layout=JAFFE_LAYOUT, root=folder, folders={"images": folder})


def _find_kdef(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for ``AF01/`` ... ``BM35/``, here or in ``KDEF/`` beside the averaged faces, or for their images in one."""
    for place in (folder, tree.folder(folder).dir("KDEF")):
        if place is None:
            continue
        people = [below(place, name) for name in tree.folder(place).dirs if _PERSON.fullmatch(name)]
        if any(_are_named(tree, path, parse_kdef) for path in people):
            return Detection(layout=KDEF_LAYOUT, root=folder, folders={path: path for path in people})
        if _are_named(tree, place, parse_kdef):
            return Detection(layout=KDEF_LAYOUT, root=folder, folders={"images": place})
    return None


def _are_named(tree: Tree, folder: str, parse: Callable[[str], Named | None]) -> bool:
    images = tree.folder(folder).images[:_SAMPLE]
    return bool(images) and 2 * sum(parse(stem_of(name)) is not None for name in images) > len(images)


JAFFE_LAYOUT = Layout(
    name="JAFFE-names",
    source="jaffe",
    detector=_find_jaffe,
    scan=partial(scan, parse=parse_jaffe, example=JAFFE_NAME),
    sign=f"images called {JAFFE_NAME}",
    classes=tuple(JAFFE.values()),
    releases=(
        Release(title="JAFFE", splits={"train": dict(zip(JAFFE.values(), (30, 31, 31, 30, 32, 29, 30), strict=True))}),
    ),
    side=256,
)
KDEF_LAYOUT = Layout(
    name="KDEF-names",
    source="kdef",
    detector=_find_kdef,
    scan=partial(scan, parse=parse_kdef, example=KDEF_NAME),
    sign=f"AF01/{KDEF_NAME}",
    classes=tuple(KDEF.values()),
    releases=(Release(title="KDEF", splits={"train": dict.fromkeys(KDEF.values(), 700)}),),
)
