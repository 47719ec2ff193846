"""Read a set whose file names say everything: JAFFE and KDEF.

In: folders of images. Out: a :class:`Scan`, all of it train. Costs one listing of each folder; no image is opened.
"""

from collections.abc import Callable

from ferdata.sources.files.listing import below, list_folder, says_no_image
from ferdata.sources.files.matching import stem_of
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.named.names import Named
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["scan"]


def scan(
    store: Store, detection: Detection, options: ScanOptions, *, parse: Callable[[str], Named | None], example: str
) -> Scan:
    """Sort every image into accepted or rejected, by its name.

    An image whose name is not quite the release's is accepted, unless the one that is meant is there as well.

    Args:
        store: Where the set lives.
        detection: Its folders.
        options: What the user asks for.
        parse: Returns what a stem says.
        example: A name of the set.
    """
    builder = LayoutScan(store, detection, options)
    for folder in detection.folders.values():
        here = list_folder(store, folder)
        parsed = {name: parse(stem_of(name)) for name in here.images}
        exact = {found.proper for name, found in parsed.items() if found and found.proper == stem_of(name)}
        for name, found in parsed.items():
            path = below(folder, name)
            is_exact = found is not None and found.proper == stem_of(name)
            if found is None or (not is_exact and found.proper in exact):
                why = f"{found.proper} is there too" if found else f"not a name like {example}"
                builder.reject_unlabelled([path], why, split="train")
                continue
            builder.repairs["name_matched"] += not is_exact
            builder.accept(
                builder.keys.make(found.proper),
                path,
                "train",
                builder.judge_name(found.class_name, found.code).label,
                found.code,
                person=found.person,
                extra=found.extra,
            )
        apart = [path for name in here.dirs if (path := below(folder, name)) not in detection.folders.values()]
        builder.ignore(apart, [path for path in here.others if not says_no_image(path)])
    builder.note_people()
    return builder.finish()
