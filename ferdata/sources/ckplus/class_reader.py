"""Read CK+48: class folders of frames, whose names tell person and sequence.

In: class folders. Out: a :class:`Scan`, all of it train. Costs one listing of each folder; no image is opened.
"""

from ferdata.sources.ckplus.frames import FRAME_NAME
from ferdata.sources.files.listing import below, list_folder
from ferdata.sources.files.matching import stem_of
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["scan_classes"]


def scan_classes(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every image of the class folders into accepted, skipped or rejected."""
    builder = LayoutScan(store, detection, options)
    for folder, class_name in detection.class_folders.items():
        here = list_folder(store, folder)
        for name in here.images:
            path, found = below(folder, name), FRAME_NAME.fullmatch(stem_of(name))
            if found is None:
                builder.reject_unlabelled([path], "not a name like S010_004_00000017.png", split="train")
                continue
            verdict = builder.judge_name(class_name, folder)
            person, session, frame = found.groups()
            if builder.passes(verdict, path, split="train"):
                builder.accept(
                    builder.keys.make(found[0].upper()), path, "train", verdict.label, folder,
                    person=person.upper(), sequence=f"{person.upper()}_{session}", extra={"frame": int(frame)},
                )  # fmt: skip
        builder.ignore([below(folder, name) for name in here.dirs], here.others)
    builder.note_people()
    return builder.finish()
