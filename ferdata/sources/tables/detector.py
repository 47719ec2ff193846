"""Any images with a table of what they show: not detected, as any table could be one, but read where asked for."""

from ferdata.sources.files.listing import Tree
from ferdata.sources.layout import Asked, Detection, Layout
from ferdata.sources.tables.reader import scan

__all__ = ["TABLE"]


def _find(tree: Tree, folder: str, asked: Asked) -> Detection | None:
    return None


TABLE = Layout(
    name="table",
    source="table",
    detector=_find,
    scan=scan,
    sign="a csv, tsv or parquet file with images and labels",
    evidence="columns",
    may_need_order=True,
)
