"""Where items come from: find out which release a folder holds and list its items, rejects and counts.

In: a folder or URL. Out: a :class:`Scan`. Costs one listing of each folder and one read of each label file; no image is opened.
"""

from importlib import import_module
from typing import cast

from ferdata.errors import OptionError
from ferdata.sources.detect import detect_layout
from ferdata.sources.detection import Detection
from ferdata.sources.files.images import read_image
from ferdata.sources.idle_options import refuse_idle_options
from ferdata.sources.scan import Reject, Scan, ScanOptions
from ferdata.store import Store, StrPath

__all__ = ["SOURCES", "Detection", "Reject", "Scan", "ScanOptions", "detect_layout", "read_image", "scan_source"]

SOURCES = ("affectnet", "rafdb", "folder")

_READERS = {
    "AN-npy": "affectnet_npy.reader",
    "AN-va": "affectnet_npy.reader",
    "AN-csv": "affectnet_csv.reader",
    "AN-plus": "affectnet_plus.reader",
    "AN-kaggle-A": "affectnet_kaggle.reader",
    "AN-kaggle-B": "affectnet_kaggle.reader",
    "AN-yolo": "yolo.reader",
    "AN-parquet": "parquet.reader",
    "RAF-parquet": "parquet.reader",
    "RAF-basic": "rafdb.reader",
    "RAF-compound": "rafdb.reader",
    "RAF-kaggle": "rafdb_kaggle.reader",
    "AN-folders": "class_folders.reader",
    "RAF-folders": "class_folders.reader",
    "folder": "class_folders.reader",
}


def scan_source(source: str, root: StrPath, options: ScanOptions) -> Scan:
    """Find the layout below ``root`` and sort every row of it into accepted, skipped or rejected.

    Args:
        source: One of ``SOURCES``: whose data the folder holds.
        root: Folder or fsspec URL.
        options: What the user asks for.

    Raises:
        OptionError: If there is no such source, or the layout has no use for an option.
        LayoutError: If the folder holds no known layout, or one of another source.
        AmbiguousLayoutError: If it can be read in more than one way and no option settles it.
        SourceError: If the tree contradicts itself so far that no shard should be written from it.
    """
    if source not in SOURCES:
        raise OptionError(f"source: {source!r} found, expected one of {', '.join(SOURCES)}")
    detection = detect_layout(root, source=source, labels=options.labels)
    refuse_idle_options(detection, options)
    reader = import_module(f"ferdata.sources.{_READERS[detection.layout]}")
    return cast(Scan, reader.scan(Store(detection.root), detection, options))
