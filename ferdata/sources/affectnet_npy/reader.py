"""Read AffectNet's 8-label release of 2021 (AN-npy) and its form with one folder a kind (AN-va).

In: split folders with images and ``.npy`` annotations. Out: a :class:`Scan`. Costs one listing of each folder and one
read of each annotation file, see :mod:`ferdata.sources.affectnet_npy.npy_values`; no image is opened.
"""

from collections.abc import Mapping

from ferdata.sources.affectnet.pairs import PairScan
from ferdata.sources.affectnet_npy.npy_values import index_annotations, read_annotations
from ferdata.sources.layout import Detection
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["scan"]


def scan(store: Store, detection: Detection, options: ScanOptions, *, kinds: Mapping[str, str]) -> Scan:
    """Sort every image and label of the tree into accepted, skipped or rejected.

    Args:
        store: Where the tree lives.
        detection: Its split folders.
        options: What the user asks for.
        kinds: Kind of annotation -> the folder of its files in a split folder.

    Raises:
        SourceError: If no label finds its image, or most labels are no AffectNet ids.
    """
    pairs = PairScan(store, detection, options)
    for split, folder in detection.splits.items():
        folders = {
            kind: path for kind, name in kinds.items() if (path := pairs.tree.folder(folder).dir(name)) is not None
        }
        index = index_annotations(store, folders)
        images = pairs.match(split, folder, index, "_exp.npy")
        annotations = read_annotations(store, index, list(images), options.num_workers)
        for (stem, image), annotation in zip(images.items(), annotations, strict=True):
            pairs.add(f"{split}_{stem}", image, split, f"{stem}_exp.npy", annotation)
    return pairs.finish([f"{path}/images/0.jpg" for path in detection.splits.values()])
