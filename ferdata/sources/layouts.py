"""Every layout that is read: a new one is a folder of its own, with its detector and its reader, and one entry here."""

from collections.abc import Mapping

from ferdata.sources.affectnet_csv.detector import AN_CSV
from ferdata.sources.affectnet_kaggle.detector import AN_KAGGLE_A, AN_KAGGLE_B
from ferdata.sources.affectnet_npy.detector import AN_NPY, AN_VA
from ferdata.sources.affectnet_plus.detector import AN_PLUS
from ferdata.sources.affwild2.detector import AFFWILD2_LAYOUT
from ferdata.sources.ckplus.detector import CKPLUS_48, CKPLUS_SEQUENCES
from ferdata.sources.class_folders.detector import FOLDER_LAYOUTS
from ferdata.sources.dfew.detector import DFEW_LAYOUT
from ferdata.sources.expw.detector import EXPW
from ferdata.sources.fer2013.detector import FER_CSV
from ferdata.sources.ferplus.detector import FERPLUS_CSV, FERPLUS_FOLDERS
from ferdata.sources.layout import Layout
from ferdata.sources.named.detector import JAFFE_LAYOUT, KDEF_LAYOUT
from ferdata.sources.parquet.detector import AN_PARQUET, RAF_PARQUET
from ferdata.sources.rafdb.detector import RAF_BASIC, RAF_COMPOUND
from ferdata.sources.rafdb_kaggle.detector import RAF_KAGGLE
from ferdata.sources.sfew.detector import SFEW_ALIGNED
from ferdata.sources.tables.detector import TABLE
from ferdata.sources.yolo.detector import AN_YOLO

__all__ = ["LAYOUTS"]

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        AN_PLUS, AN_NPY, AN_VA, AN_YOLO, AN_CSV, RAF_BASIC, RAF_COMPOUND, RAF_KAGGLE, AN_KAGGLE_A, AN_KAGGLE_B,
        FERPLUS_CSV, FERPLUS_FOLDERS, FER_CSV, EXPW,
        JAFFE_LAYOUT, KDEF_LAYOUT, CKPLUS_SEQUENCES, CKPLUS_48, AFFWILD2_LAYOUT, DFEW_LAYOUT,
        AN_PARQUET, RAF_PARQUET, SFEW_ALIGNED, *FOLDER_LAYOUTS.values(), TABLE,
    )
}  # fmt: skip
"""Name -> layout, in the order in which their detectors are asked; the first that finds something in a folder wins."""
