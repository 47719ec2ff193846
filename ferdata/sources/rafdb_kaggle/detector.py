"""Detect the Kaggle form of RAF-DB basic, with a CSV file a split beside class folders 1..7."""

from ferdata.labels import RAFDB_BASIC
from ferdata.sources.files.listing import Tree, below, name_of, split_of
from ferdata.sources.files.matching import stem_of
from ferdata.sources.files.text_tables import is_table, read_head, role_columns
from ferdata.sources.layout import Asked, Detection, Layout
from ferdata.sources.rafdb.label_list import ALIGNED_SIDE
from ferdata.sources.rafdb.totals import RAF_FULL, RAF_REDUCED
from ferdata.sources.rafdb_kaggle.reader import scan

__all__ = ["RAF_KAGGLE"]

_CLASS_FOLDERS = frozenset("1234567")


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    """Look for ``train_labels.csv`` or ``test_labels.csv`` with the header ``image,label``, and class folders 1..7."""
    here = tree.folder(folder)
    files = {}
    for name in ("train", "test"):
        tables = [path for path in here.paths(is_table) if stem_of(name_of(path)).lower() == f"{name}_labels"]
        if tables and all(len(columns) == 1 for columns in role_columns(read_head(tree.store, tables[0]).header)):
            files[name] = tables[0]
    if not files:
        return None
    for base in (folder, *(below(folder, name) for name in here.dirs)):
        inner = tree.folder(base)
        splits: dict[str, str] = {}
        for name in inner.dirs:
            split = split_of(name)
            if split is not None and any(child in _CLASS_FOLDERS for child in tree.folder(below(base, name)).dirs):
                splits[split] = below(base, name)
        if splits:
            return Detection(layout=RAF_KAGGLE, root=folder, files=files, splits=splits)
    return None


RAF_KAGGLE = Layout(
    name="RAF-kaggle",
    source="rafdb",
    detector=_find,
    scan=scan,
    sign="train_labels.csv with folders 1..7",
    classes=RAFDB_BASIC,
    releases=(RAF_FULL, RAF_REDUCED),
    side=ALIGNED_SIDE,
)
