"""Read AffectNet in YOLO format: split folders with ``images/`` and a text file of class and box each in ``labels/``.

In: ``{train,valid,test}/{images,labels}/``, ``data.yaml``. Out: a :class:`Scan`. Reads each label file, no image.
"""

from collections.abc import Sequence

from ferdata.errors import LayoutError, OptionError
from ferdata.labels import AFFECTNET_8, ALPHABETICAL_8, KNOWN_NAMES, canonical_name
from ferdata.parallel import iterate_in_threads
from ferdata.sources.affectnet.pairs import reject_strays
from ferdata.sources.affectnet.totals import PART_OF_AFFECTNET
from ferdata.sources.files.listing import below, list_folder, name_of
from ferdata.sources.files.matching import NameIndex, floats, stem_of, whole_number
from ferdata.sources.files.text_tables import decode_text
from ferdata.sources.idle_options import refuse_labels
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, judge_image, rejected
from ferdata.sources.yolo.names import parse_names
from ferdata.store import Store

__all__ = ["parse_label", "scan"]

_MAX_BYTES = 1 << 20


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every label file and image of an AN-yolo tree into accepted, skipped or rejected.

    Raises:
        LayoutError: If ``data.yaml`` names a class that is not known.
        OptionError: If there are no names and ``labels`` asks for an order AffectNet in YOLO format cannot have.
        SourceError: If most labels are not classes, or no label file finds its image.
    """
    builder = LayoutScan(store, detection, options)
    names = _class_names(store, detection, options.labels, builder)
    num_labels = num_found = 0
    examples: list[str] = []
    for split in detection.splits:
        pairs, labels_without = _pair(store, detection, split, builder)
        num_labels += len(pairs) + len(labels_without)
        num_found += len(pairs)
        examples += labels_without[:1]
        texts = iterate_in_threads(
            lambda pair: decode_text(store.read_range(pair[0], 0, _MAX_BYTES)), pairs, num_threads=options.num_workers
        )
        for (label_path, image_path), text in zip(pairs, texts, strict=True):
            class_id, box, problem = parse_label(text, len(names))
            if class_id is not None:
                verdict = builder.judge_name(names[class_id], class_id)
            elif problem:
                verdict = rejected("label_invalid", problem)
            else:
                verdict = rejected("label_missing", f"{label_path} is empty")
            if builder.passes(verdict, image_path, split=split):
                key = builder.keys.make(f"{split}_{stem_of(name_of(image_path))}")
                extra = {"yolo_box": box} if box else None
                builder.accept(key, image_path, split, verdict.label, str(class_id), extra=extra)
    builder.stop_if_no_image_found(num_labels, num_found, examples)
    builder.stop_if_most_labels_invalid(num_labels, f"class ids 0..{len(names) - 1}")
    if options.crop == "box":
        builder.notes.append(
            f"Boxes of {detection.layout} are fractions of pictures that are face crops already; "
            "the pictures stay whole."
        )
    builder.notes.append(PART_OF_AFFECTNET)
    return builder.finish()


def _class_names(store: Store, detection: Detection, labels: str | None, builder: LayoutScan) -> Sequence[str]:
    """Return AffectNet's class name for every class id: from ``data.yaml``, else by order.

    Raises:
        LayoutError: If ``data.yaml`` names a class that is not known.
        OptionError: If there are no names and ``labels`` is an order of RAF-DB, or there are names and it is any order.
    """
    path = detection.files.get("names")
    found = _stored_names(store, path) if path else None
    if found is not None and not all(name.isdecimal() for name in found):
        unknown = [name for name in found if canonical_name(name) is None]
        if unknown:
            raise LayoutError(
                f"{store.path(str(path))}: "
                f"class names {', '.join(unknown)} found, expected known names ({KNOWN_NAMES}); correct the file"
            )
        if labels is not None:
            refuse_labels(store.path(), labels, f"the names in {path}")
        return [str(canonical_name(name)) for name in found]
    if labels == "rafdb":
        raise OptionError(
            "labels: 'rafdb' found, expected affectnet or alphabetical for AffectNet in YOLO format; "
            "leave the option out"
        )
    lacking = f"{path} has no class names" if path else "there is no data.yaml"
    if labels == "affectnet":
        builder.notes.append(f"Class ids are read in AffectNet's order, as asked: {lacking}.")
        return AFFECTNET_8
    builder.notes.append(f"Warning: {lacking}; class ids are read in the alphabetical order of the 8 classes.")
    return ALPHABETICAL_8


def _stored_names(store: Store, path: str) -> list[str] | None:
    """Return the names in ``data.yaml``, or in a file of one name a line, such as ``classes.txt``."""
    data = store.read_range(path, 0, _MAX_BYTES + 1)
    text = decode_text(data)
    try:
        if len(data) > _MAX_BYTES or "\0" in text:
            raise ValueError(f"zero bytes, or more than {_MAX_BYTES:,} bytes,")
        if path.lower().endswith((".yaml", ".yml")):
            return parse_names(text)
        return [line.strip() for line in text.splitlines() if line.strip()] or None
    except ValueError as error:
        raise LayoutError(
            f"{store.path(path)}: {error} found where the class names stand, expected names: "
            "[anger, ...] or one name a line, in the order of their numbers; correct the file"
        ) from error


def parse_label(text: str, num_classes: int) -> tuple[int | None, list[float] | None, str]:
    """Return the class id, the first line's box (centre x, centre y, width, height: fractions), and what is wrong.

    An empty file has no class id and nothing wrong with it.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        return None, None, ""
    ids = list(dict.fromkeys(line[0] for line in lines))
    class_id = whole_number(ids[0])
    if len({whole_number(one) for one in ids}) > 1:
        return None, None, f"several faces of classes {', '.join(ids)}"
    if class_id is None or not 0 <= class_id < num_classes:
        return None, None, f"class id {ids[0]!r}"
    box = floats(lines[0][1:5]) or []
    return class_id, box if len(box) == 4 and all(0 <= part <= 1 for part in box) else None, ""


def _pair(
    store: Store, detection: Detection, split: str, builder: LayoutScan
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (label file, image) pairs in natural order of the labels, and labels without an image; reject others."""
    folder = detection.splits[split]
    here = list_folder(store, folder)
    image_dir, label_dir = here.dir("images"), here.dir("labels")
    listed = list_folder(store, image_dir) if image_dir else None
    images = NameIndex(listed.images if listed else (), any_suffix=True)
    reject_strays(builder, here, split)
    if listed:
        builder.ignore([below(listed.path, name) for name in listed.dirs], listed.others)
    labels = list_folder(store, label_dir).files if label_dir else ()
    pairs: list[tuple[str, str]] = []
    without: list[str] = []
    used: set[str] = set()
    for label in (name for name in labels if name.lower().endswith(".txt")):
        path, alike = below(str(label_dir), label), images.alike(label)
        found = [name for name in alike if stem_of(name) == stem_of(label)] or alike
        used.update(found)
        problem = judge_image(found, "no image of this name")
        if problem is None:
            builder.repairs["name_matched"] += stem_of(found[0]) != stem_of(label)
            pairs.append((path, below(str(image_dir), found[0])))
        elif found or label.lower() != "classes.txt":
            builder.passes(problem, path, split=split)
            without += [] if found else [path]
    unnamed = [below(str(image_dir), name) for name in images.rest(used)]
    builder.reject_unlabelled(unnamed, "no label file of this name", split=split)
    if not pairs:
        builder.notes.append(f"Warning: {folder} has no image with a label.")
    return pairs, without
