"""From a folder to everything it holds. In: whose data it is, a folder or URL, options. Out: a :class:`Scan`."""

from ferdata.errors import OptionError
from ferdata.sources.detect import detect_layout
from ferdata.sources.idle_options import refuse_idle_options
from ferdata.sources.layout import SOURCES
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan
from ferdata.store import Store, StrPath

__all__ = ["scan_source"]


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
    return detection.layout.scan(Store(detection.root), detection, options)
