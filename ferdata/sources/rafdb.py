"""Read the official RAF-DB trees, basic and compound: one label list, aligned or original images, annotation files.

In: a tree with ``EmoLabel/list_patition_label.txt``. Out: a :class:`Scan`. Costs one listing of each folder and one read of each
annotation file that the chosen images can use; no image is opened.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_7, RAFDB_BASIC, RAFDB_COMPOUND, map_ids
from ferdata.sources.detection import Detection
from ferdata.sources.listing import Folder, below, list_folder
from ferdata.sources.matching import StemIndex, decode_text, stem_of, stop_if_most_labels_invalid, stop_if_no_image_found, whole_number
from ferdata.sources.rafdb_annotations import AnnotationReader, Annotations, read_distribution
from ferdata.sources.scan import Scan, ScanBuilder, ScanOptions
from ferdata.sources.totals import finish_scan
from ferdata.sources.unread import ignored_files, ignored_images
from ferdata.store import Store

__all__ = ["RAF_SETS", "RAF_STEM", "ListRow", "RafSet", "parse_list", "scan"]

RAF_STEM = re.compile(r"(train|test)_(\d+)(_aligned)?", re.IGNORECASE)
"""Stem of a RAF-DB image: split, number as text, and the mark of an aligned image."""

_SUSPICIOUS_ROWS = 100
_IMAGE_FOLDERS = ("imgs", "images", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class RafSet:
    """One of RAF-DB's two sets.

    Attributes:
        name: ``basic`` or ``compound``.
        digits: Split -> digits in the number of a stem.
        source_classes: Class names by RAF id - 1.
        classes: Class names in the order ferdata stores them.
    """

    name: str
    digits: dict[str, int]
    source_classes: tuple[str, ...]
    classes: tuple[str, ...]


RAF_SETS = {
    "RAF-basic": RafSet(name="basic", digits={"train": 5, "test": 4}, source_classes=RAFDB_BASIC, classes=AFFECTNET_7),
    "RAF-compound": RafSet(name="compound", digits={"train": 4, "test": 3}, source_classes=RAFDB_COMPOUND, classes=RAFDB_COMPOUND),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """One usable line of a label list: line number from 1, stem without ``_aligned``, extension as written, split and RAF id."""

    line: int
    stem: str
    suffix: str
    split: str
    raf_id: int


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row and image of a RAF-DB basic or compound tree into accepted, skipped or rejected.

    Raises:
        LayoutError: If stems and labels disagree, the ids are not RAF-DB's, or there is no folder of the images asked for.
        SourceError: If most labels are not classes, or no row finds its image.
    """
    raf = RAF_SETS[detection.layout]
    builder = ScanBuilder()
    where = store.path(detection.files["labels"])
    rows = parse_list(store.read(detection.files["labels"]), where, raf, builder)
    top = list_folder(store)
    images = _find_images(store, top, options.rafdb_images)
    found = _match(rows, images, options.rafdb_images, builder, where)
    _accept_all(store, top, found, raf, options, builder)
    if images.path not in ("", top.dir("Image") or top.dir("Images")):
        builder.notes += ignored_images(store, [below(images.path, name) for name in images.dirs], detection.layout)
        builder.notes += ignored_files(store, images.others)
    _note_repeats(rows, builder)
    _note_gaps(rows, raf, builder)
    return finish_scan(builder, detection, raf.classes)


def parse_list(data: bytes, where: str, raf: RafSet, builder: ScanBuilder) -> list[ListRow]:
    """Return the usable lines of a label list, train before test; unusable ones become rejects.

    Accepted: CRLF, no final newline, blank lines, spaces or tabs in any number, a third column, names with ``_aligned``.

    Raises:
        LayoutError: If ids or stems belong to another numbering or to the other set.
        SourceError: If most labels are not whole numbers.
    """
    rows: list[ListRow] = []
    num_lines = 0
    for line, text in enumerate(decode_text(data).splitlines(), start=1):
        parts = text.split()
        if not parts:
            continue
        num_lines += 1
        name = parts[0].replace("\\", "/").rsplit("/", 1)[-1]
        stem = RAF_STEM.fullmatch(stem_of(name))
        if stem is None:
            builder.reject(parts[0], "bad_row", f"line {line}: not the name of a RAF-DB image", row=line)
            continue
        split, key = stem[1].lower(), f"{stem[1].lower()}_{stem[2]}"
        raf_id = whole_number(parts[1]) if len(parts) > 1 else None
        if len(parts) < 2:
            builder.reject(parts[0], "label_missing", f"line {line}: no label", split=split, row=line, key=key)
        elif raf_id is None or raf_id < 0:
            builder.reject(parts[0], "label_invalid", f"label {parts[1]!r}", split=split, row=line, key=key)
        else:
            rows.append(ListRow(line=line, stem=key, suffix=name[len(stem[0]) :], split=split, raf_id=raf_id))
    stop_if_most_labels_invalid(builder.rejects, where, num_lines, f"RAF-DB ids 1..{len(raf.source_classes)}")
    if not rows:
        raise LayoutError(f"{where}: no usable line in {num_lines:,}, expected lines like 'train_00001.jpg 5'; take the official list")
    _check_digits(rows, where, raf)
    _check_ids(rows, where, raf)
    return sorted(rows, key=lambda row: row.split != "train")


def _check_digits(rows: Sequence[ListRow], where: str, raf: RafSet) -> None:
    found = Counter((row.split, len(row.stem) - len(row.split) - 1) for row in rows)
    if any(raf.digits[split] != digits for split, digits in found):
        shown = ", ".join(f"{count:,} {split} stems of {digits} digits" for (split, digits), count in sorted(found.items()))
        raise LayoutError(
            f"{where}: {shown} found, expected {raf.digits['train']} digits in train and {raf.digits['test']} in test (RAF-DB {raf.name}); "
            "basic and compound must not be mixed: keep the list of one of them"
        )


def _check_ids(rows: Sequence[ListRow], where: str, raf: RafSet) -> None:
    top = len(raf.source_classes)
    for row in rows:
        if row.raf_id == 0:
            raise LayoutError(
                f"{where}: line {row.line} gives {row.stem} the id 0, expected 1..{top}; this is a 0-based list: take the official one"
            )
        if row.raf_id > top:
            raise LayoutError(
                f"{where}: line {row.line} gives {row.stem} the id {row.raf_id}, expected 1..{top} for the stems of RAF-DB {raf.name}; "
                "digits and labels disagree, basic and compound are mixed: take the official list of one of them"
            )
    # Nearly half of the real compound rows have an id above 7; that many rows without one carry the labels of basic.
    if raf.name == "compound" and len(rows) >= _SUSPICIOUS_ROWS and max(row.raf_id for row in rows) <= len(RAFDB_BASIC):
        raise LayoutError(
            f"{where}: no id above {len(RAFDB_BASIC)} in {len(rows):,} rows with the stems of RAF-DB compound, expected 1..{top}; "
            "digits and labels disagree: take the official list"
        )


def _find_images(store: Store, top: Folder, kind: str) -> Folder:
    """Return the listing of the folder that holds the aligned or original images."""
    wrapper = top.dir("Image") or top.dir("Images")
    inner = list_folder(store, wrapper) if wrapper else None
    for start in (inner and inner.dir(kind), top.dir(kind)):
        folder = _descend(store, start, kind) if start else None
        if folder is not None:
            return folder
    for flat in (inner, top):
        if flat is not None and any(_is_kind(name, kind) for name in flat.images):
            return flat
    other = "original" if kind == "aligned" else "aligned"
    has_other = any(folder is not None and folder.dir(other) for folder in (inner, top))
    advice = f"unpack {kind}.zip" + (f", or choose --rafdb-images {other}, which are there" if has_other else "")
    raise LayoutError(f"{store.path()}: no folder of {kind} images found, expected Image/{kind}; {advice}")


def _descend(store: Store, start: str, kind: str) -> Folder | None:
    """Return the first folder with images at or below ``start``: ``aligned/``, ``aligned/aligned/``, ``aligned/imgs/``."""
    folder = list_folder(store, start)
    for _ in range(4):
        if folder.images:
            return folder
        named = next((path for path in map(folder.dir, (kind, *_IMAGE_FOLDERS)) if path), None)
        path = named or (below(folder.path, folder.dirs[0]) if len(folder.dirs) == 1 else None)
        if path is None:
            return None
        folder = list_folder(store, path)
    return None


def _is_kind(name: str, kind: str) -> bool:
    stem = RAF_STEM.fullmatch(stem_of(name))
    return stem is not None and bool(stem[3]) == (kind == "aligned")


def _match(rows: Sequence[ListRow], images: Folder, kind: str, builder: ScanBuilder, where: str) -> list[tuple[ListRow, str]]:
    """Return the rows that find exactly one image; rows without one and images without a row become rejects."""
    other = "original" if kind == "aligned" else "aligned"
    # A folder of aligned images whose names have lost the mark is still one; originals among marked images are not.
    is_marked = kind == "original" or any(_is_kind(name, kind) for name in images.images)
    apart = [name for name in images.images if is_marked and _is_kind(name, other)]
    index = StemIndex(set(images.images).difference(apart))
    mark = "_aligned" if kind == "aligned" and is_marked else ""
    found: list[tuple[ListRow, str]] = []
    used: set[str] = set()
    for row in rows:
        name = f"{row.stem}{mark}{row.suffix or '.jpg'}"
        names = index.find(name)
        path = below(images.path, name)
        used.update(names)
        if len(names) == 1:
            found.append((row, below(images.path, names[0])))
            if names[0] != name:
                builder.repairs["name_matched"] += 1
        elif names:
            builder.reject(path, "image_ambiguous", f"can be {' or '.join(names)}", split=row.split, row=row.line, key=row.stem)
        else:
            builder.reject(path, "image_missing", "no such image", split=row.split, row=row.line, key=row.stem)
    stop_if_no_image_found(where, len(rows), len(used), [below(images.path, f"{row.stem}{mark}.jpg") for row in rows[:3]])
    for reject in builder.rejects:
        if reject.reason in ("label_missing", "label_invalid"):
            used.update(index.find(f"{reject.key}{mark}.jpg"))
    for name in index.rest(used):
        stem = RAF_STEM.fullmatch(stem_of(name))
        builder.reject(below(images.path, name), "label_missing", "not in the label list", split=stem[1].lower() if stem else "")
    if apart:
        builder.notes.append(f"{images.path or '.'}: {len(apart):,} {other} images lie beside the {kind} ones and are left alone.")
    return found


def _accept_all(
    store: Store, top: Folder, found: Sequence[tuple[ListRow, str]], raf: RafSet, options: ScanOptions, builder: ScanBuilder
) -> None:
    to_label = list(range(len(raf.classes))) if raf.name == "compound" else map_ids(raf.source_classes, raf.classes)
    original = options.rafdb_images == "original"
    reader = AnnotationReader(store, top, original=original)
    shares = _distribution(store, top) if raf.name == "basic" else {}
    order = [to_label.index(label) for label in range(len(raf.classes))]
    seen: set[str] = set()
    annotations = reader.read([row.stem for row, _ in found], num_workers=options.num_workers)
    for (row, path), notes in zip(found, annotations, strict=True):
        key = row.stem if row.stem not in seen else f"{row.stem}_row{row.line}"
        seen.add(row.stem)
        extra: dict[str, Any] = dict(notes.person)
        if notes.auto is not None:
            extra["auto_landmarks"] = notes.auto
        if row.stem in shares:
            extra["soft_label"] = [shares[row.stem][position] for position in order]
        box = None
        if original:
            box, is_valid = _box(notes, builder)
            if not is_valid and options.crop == "box":
                builder.reject(path, "box_invalid", f"corners {notes.box}", split=row.split, row=row.line, key=key)
                continue
            if not is_valid:
                builder.repairs["box_invalid"] += 1
            if notes.manual is None and notes.auto is None:
                builder.repairs["landmarks_missing"] += 1
        builder.accept(
            key=key,
            path=path,
            split=row.split,
            label=to_label[row.raf_id - 1],
            source_label=str(row.raf_id),
            box=box,
            landmarks=notes.manual or notes.auto,
            extra=extra or None,
        )
    _note_annotations(reader, original, options.crop, builder)


def _box(notes: Annotations, builder: ScanBuilder) -> tuple[tuple[float, float, float, float] | None, bool]:
    """Return ``(x, y, width, height)`` or None, and whether the file's box, if there is one, has an area."""
    if notes.box is None:
        builder.repairs["box_missing"] += 1
        return None, True
    x1, y1, x2, y2 = notes.box
    return ((x1, y1, x2 - x1, y2 - y1), True) if x2 > x1 and y2 > y1 else (None, False)


def _distribution(store: Store, top: Folder) -> dict[str, list[float]]:
    folder = top.dir("EmoLabel")
    listed: Iterator[Folder] = (list_folder(store, path) for path in (folder, "") if path is not None)
    path = next((path for path in (one.file("distribution_basic.txt") for one in listed) if path), None)
    return read_distribution(store.read(path)) if path else {}


def _note_annotations(reader: AnnotationReader, original: bool, crop: str, builder: ScanBuilder) -> None:
    if not original:
        if crop == "box":
            builder.notes.append("Boxes and points belong to the original images; aligned images are face crops already and stay whole.")
        return
    absent = [kind for kind in ("manual", "auto", "boundingbox") if kind not in reader.kinds]
    if absent:
        builder.notes.append(f"Annotation: {', '.join(absent)} not found; the images come without what these files hold.")


def _note_repeats(rows: Sequence[ListRow], builder: ScanBuilder) -> None:
    stems = Counter(row.stem for row in rows)
    repeated = {stem: count for stem, count in stems.items() if count > 1}
    if repeated:
        ids: dict[str, set[int]] = {}
        for row in rows:
            if row.stem in repeated:
                ids.setdefault(row.stem, set()).add(row.raf_id)
        differ = sum(len(found) > 1 for found in ids.values())
        builder.notes.append(
            f"{len(repeated):,} images stand in several rows of the label list ({sum(repeated.values()):,} rows), "
            f"{differ:,} of them with different labels; every row is kept, later ones with the line number in the key."
        )


def _note_gaps(rows: Sequence[ListRow], raf: RafSet, builder: ScanBuilder) -> None:
    for split in raf.digits:
        present = {row.raf_id for row in rows if row.split == split}
        empty = [name for raf_id, name in enumerate(raf.source_classes, start=1) if raf_id not in present]
        if not present:
            builder.notes.append(f"Warning: the label list has no row of split {split}.")
        elif empty:
            builder.notes.append(f"Warning: {split} has no image of {', '.join(empty)}.")
