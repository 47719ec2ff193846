"""Detect DFEW: a csv file a fold of train and of test, and a folder of frames a clip."""

import re

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.labels import DFEW
from ferdata.sources.dfew.reader import scan
from ferdata.sources.files.listing import Tree, below, name_of, walk
from ferdata.sources.files.text_tables import plain_name, read_head
from ferdata.sources.layout import Asked, Detection, Layout, Release

__all__ = ["DFEW_LAYOUT"]

_LEVELS = 3
_OF_LISTS = re.compile(r"label|split|train|test|annot|dfew", re.IGNORECASE)
"""In the names of folders of lists."""

_LIST = re.compile(r"(?:.*(train|test))?_?set_?([1-5])\.csv", re.IGNORECASE)
_SPLIT = re.compile(r"train|test", re.IGNORECASE)
_CLIP = re.compile(r"\d{5}")
_CLIP_COLUMNS = frozenset(("videoname", "clipname", "video", "clip"))


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for ``train(single-labeled)/set_1.csv`` or ``single_trainset_1.csv``, and for ``00001/`` with frames.

    Raises:
        AmbiguousLayoutError: If two files are the list of one fold.
        LayoutError: If there are lists and no frames.
    """
    files: dict[str, str] = {}
    votes: dict[str, str] = {}
    places = walk(tree, folder, lambda name: _OF_LISTS.search(name) is not None, levels=_LEVELS - 1)
    for path in (below(place.path, name) for place in places for name in place.files):
        if name_of(path).lower() == "annotation.xlsx":
            votes.setdefault("votes", path)
        match = _LIST.fullmatch(name_of(path))
        if match is None or not _is_list(tree, path):
            continue
        split = match[1] or next(iter(_SPLIT.findall(name_of(path.rpartition("/")[0]))), None)
        if split is None:
            continue
        role = f"{split.lower()} {match[2]}"
        if role in files:
            raise AmbiguousLayoutError(
                f"{tree.store}: {files[role]} and {path} found, expected one list of {role}; move one away"
            )
        files[role] = path
    if not files:
        return None
    places = walk(tree, folder, lambda name: _CLIP.fullmatch(name) is None, levels=_LEVELS)
    clips = [place.path for place in places if any(_CLIP.fullmatch(name) for name in place.dirs)]
    if not clips:
        raise LayoutError(
            f"{tree.store.path(folder)}: lists of DFEW found ({', '.join(files.values())}), but no folder of frames, "
            "expected Clip/clip_224x224/00001/; unpack clip_224x224 (or its 16f form): films are not read"
        )
    clips.sort(key=lambda path: "16f" in path.lower())  # all frames first where 16 interpolated ones are there too
    folders = {f"clips {number}": path for number, path in enumerate(clips)}
    return Detection(layout=DFEW_LAYOUT, root=folder, files=files | votes, folders=folders)


def _is_list(tree: Tree, path: str) -> bool:
    header = {plain_name(cell) for cell in read_head(tree.store, path).header}
    return "label" in header and not header.isdisjoint(_CLIP_COLUMNS)


_FOLDS = ((9356, 2341), (9356, 2341), (9357, 2340), (9358, 2339), (9361, 2336))
"""Clips of train and of test in every fold."""

DFEW_LAYOUT = Layout(
    name="DFEW-clips",
    source="dfew",
    detector=_find,
    scan=scan,
    sign="EmoLabel_DataSplit/train(single-labeled)/set_1.csv beside Clip/clip_224x224/00001/",
    classes=DFEW,
    releases=tuple(
        Release(title=f"fold {fold} of DFEW (clips)", splits={"train": train, "test": test})
        for fold, (train, test) in enumerate(_FOLDS, start=1)
    ),
    folds=len(_FOLDS),
    has_sequences=True,
)
