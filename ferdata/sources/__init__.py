"""Where items come from: find out which release a folder holds and list its items, rejects and counts.

In: a folder or URL. Out: a :class:`Scan`. Lists each folder and reads each label file once; opens no image.
"""

from typing import TYPE_CHECKING

from ferdata.lazy import lazily

if TYPE_CHECKING:
    from ferdata.sources.detect import detect_layout
    from ferdata.sources.files.image_bytes import read_image
    from ferdata.sources.layout import SOURCES, Detection, Layout
    from ferdata.sources.layouts import LAYOUTS
    from ferdata.sources.options import ScanOptions
    from ferdata.sources.scan import Reject, Scan
    from ferdata.sources.source import scan_source

__all__ = [
    "LAYOUTS",
    "SOURCES",
    "Detection",
    "Layout",
    "Reject",
    "Scan",
    "ScanOptions",
    "detect_layout",
    "read_image",
    "scan_source",
]

__getattr__ = lazily(
    __name__,
    {
        "ferdata.sources.detect": ["detect_layout"],
        "ferdata.sources.files.image_bytes": ["read_image"],
        "ferdata.sources.layout": ["SOURCES", "Detection", "Layout"],
        "ferdata.sources.layouts": ["LAYOUTS"],
        "ferdata.sources.options": ["ScanOptions"],
        "ferdata.sources.scan": ["Reject", "Scan"],
        "ferdata.sources.source": ["scan_source"],
    },
)
