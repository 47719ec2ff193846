"""Read the official RAF-DB trees, basic and compound: one label list, aligned or original images, annotation files.

In: a tree with ``EmoLabel/list_patition_label.txt``. Out: a :class:`Scan`. Costs one listing of each folder and one read of each
annotation file that the chosen images can use; no image is opened.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_7, RAFDB_BASIC, RAFDB_COMPOUND, map_ids
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import Folder, below, list_folder, split_of
from ferdata.sources.files.matching import (
    StemIndex,
    has_wrong_order,
    stem_of,
    stop_if_most_labels_invalid,
    stop_if_no_image_found,
    whole_number,
)
from ferdata.sources.files.text_tables import iter_lines
from ferdata.sources.rafdb.annotations import AnnotationReader, Annotations, read_distribution
from ferdata.sources.rafdb.detector import iter_list
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """The images of one kind.

    Attributes:
        path: Their folder.
        by_name: File name -> path relative to the root; several where folders for train and test inside hold the same name.
        others: Files among them that are no images.
        unread: Folders inside that are not read.
    """

    path: str
    by_name: Mapping[str, Sequence[str]]
    others: Sequence[str]
    unread: Sequence[str]


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row and image of a RAF-DB basic or compound tree into accepted, skipped or rejected.

    Where there are no aligned images, the original ones are read and a note says so.

    Raises:
        LayoutError: If stems and labels disagree, the ids are not RAF-DB's, or there is no folder of the images asked for.
        SourceError: If most labels are not classes, or no row finds its image.
    """
    raf = RAF_SETS[detection.layout]
    builder = ScanBuilder()
    where = store.path(detection.files["labels"])
    rows = parse_list(store, detection.files["labels"], raf, builder)
    top = list_folder(store)
    images = _find_images(store, top, options.rafdb_images)
    if images is None and options.rafdb_images == "aligned":
        images = _find_images(store, top, "original")
        options = replace(options, rafdb_images="original")
        if images is not None:
            builder.notes.append(f"There are no aligned images, so the original ones in {images.path or '.'} are read.")
    if images is None:
        raise _no_images(store, top, options.rafdb_images)
    found = _match(rows, images, options.rafdb_images, builder, where)
    _accept_all(store, top, found, raf, options, builder)
    if images.path not in ("", top.dir("Image") or top.dir("Images")):
        builder.notes += ignored_images(store, images.unread, detection.layout)
        builder.notes += ignored_files(store, images.others)
    _note_repeats(rows, builder)
    _note_gaps(rows, raf, builder)
    return replace(finish_scan(builder, detection, raf.classes), has_originals=options.rafdb_images == "original")


def parse_list(store: Store, path: str, raf: RafSet, builder: ScanBuilder) -> list[ListRow]:
    """Return the usable lines of a label list, train before test; unusable ones become rejects.

    Accepted: any line ends, no final newline, blank lines, spaces, tabs, commas or semicolons, a third column, names with ``_aligned``.

    Raises:
        LayoutError: If ids belong to another numbering or to the other set.
        SourceError: If most labels are not whole numbers, or the file is no text.
    """
    where = store.path(path)
    rows: list[ListRow] = []
    num_lines = 0
    for line, written, label in iter_list(store, path):
        num_lines += 1
        name = written.replace("\\", "/").rsplit("/", 1)[-1]
        stem = RAF_STEM.fullmatch(stem_of(name))
        if stem is None:
            builder.reject(written, "bad_row", f"line {line}: not the name of a RAF-DB image", row=line)
            continue
        split, key = stem[1].lower(), f"{stem[1].lower()}_{stem[2]}"
        raf_id = whole_number(label or "")
        if label is None:
            builder.reject(written, "label_missing", f"line {line}: no label", split=split, row=line, key=key)
        elif raf_id is None or raf_id < 0:
            builder.reject(written, "label_invalid", f"label {label!r}", split=split, row=line, key=key)
        else:
            rows.append(ListRow(line=line, stem=key, suffix=name[len(stem[0]) :], split=split, raf_id=raf_id))
    stop_if_most_labels_invalid(builder.rejects, where, num_lines, f"RAF-DB ids 1..{len(raf.source_classes)}")
    if not rows:
        raise LayoutError(f"{where}: no usable line in {num_lines:,}, expected lines like 'train_00001.jpg 5'; take the official list")
    rows = _with_known_ids(rows, where, raf, builder)
    return sorted(rows, key=lambda row: row.split != "train")


def _with_known_ids(rows: Sequence[ListRow], where: str, raf: RafSet, builder: ScanBuilder) -> list[ListRow]:
    """Return the rows whose id is one of the set's; the others become rejects where they are few."""
    top = len(raf.source_classes)
    wrong = [row for row in rows if not 1 <= row.raf_id <= top]
    if has_wrong_order(Counter(row.raf_id for row in rows), top):
        raise LayoutError(
            f"{where}: line {wrong[0].line} gives {wrong[0].stem} the id {wrong[0].raf_id}, expected 1..{top} for the stems of RAF-DB "
            f"{raf.name}, as {len(wrong):,} of {len(rows):,} lines are not; this is a 0-based list, or basic and compound are mixed: take "
            "the official list of one of them"
        )
    # Nearly half of the real compound rows have an id above 7; that many rows without one carry the labels of basic.
    if raf.name == "compound" and len(rows) >= _SUSPICIOUS_ROWS and max(row.raf_id for row in rows) <= len(RAFDB_BASIC):
        raise LayoutError(
            f"{where}: no id above {len(RAFDB_BASIC)} in {len(rows):,} rows with the stems of RAF-DB compound, expected 1..{top}; "
            "digits and labels disagree: take the official list"
        )
    for row in wrong:
        builder.reject(f"{row.stem}{row.suffix}", "label_invalid", f"label '{row.raf_id}'", split=row.split, row=row.line, key=row.stem)
    return [row for row in rows if 1 <= row.raf_id <= top]


def _find_images(store: Store, top: Folder, kind: str) -> _Images | None:
    """Return the aligned or original images, or None where there are none."""
    wrapper = top.dir("Image") or top.dir("Images")
    inner = list_folder(store, wrapper) if wrapper else None
    for start in (inner and inner.dir(kind), top.dir(kind)):
        images = _descend(store, start, kind) if start else None
        if images is not None:
            return images
    for flat in (inner, top):
        images = _gather(store, flat) if flat is not None else None
        if images is not None and any(_is_kind(name, kind) for name in images.by_name):
            return images
    return None


def _no_images(store: Store, top: Folder, kind: str) -> LayoutError:
    aligned = _find_images(store, top, "aligned") if kind == "original" else None
    advice = f"unpack {kind}.zip" + (f", or choose --rafdb-images aligned, which are in {aligned.path or '.'}" if aligned else "")
    return LayoutError(f"{store.path()}: no folder of {kind} images found, expected Image/{kind}; {advice}")


def _descend(store: Store, start: str, kind: str) -> _Images | None:
    """Return the images of the first folder with any, at or below ``start``: ``aligned/``, ``aligned/aligned/``, ``aligned/imgs/``."""
    folder = list_folder(store, start)
    for _ in range(4):
        images = _gather(store, folder)
        if images.by_name:
            return images
        named = next((path for path in map(folder.dir, (kind, *_IMAGE_FOLDERS)) if path), None)
        path = named or (below(folder.path, folder.dirs[0]) if len(folder.dirs) == 1 else None)
        if path is None:
            return None
        folder = list_folder(store, path)
    return None


def _gather(store: Store, folder: Folder) -> _Images:
    """Return the images of one folder and of the folders for train and test inside it."""
    by_name: dict[str, list[str]] = {}
    inside = [below(folder.path, name) for name in folder.dirs if split_of(name)]
    places = [folder, *(list_folder(store, path) for path in inside)]
    for place in places:
        for name in place.images:
            by_name.setdefault(name, []).append(below(place.path, name))
    unread = [below(folder.path, name) for name in folder.dirs if not split_of(name)]
    return _Images(path=folder.path, by_name=by_name, others=[path for place in places for path in place.others], unread=unread)


def _is_kind(name: str, kind: str) -> bool:
    stem = RAF_STEM.fullmatch(stem_of(name))
    return stem is not None and bool(stem[3]) == (kind == "aligned")


def _match(rows: Sequence[ListRow], images: _Images, kind: str, builder: ScanBuilder, where: str) -> list[tuple[ListRow, str]]:
    """Return the rows that find exactly one image; rows without one and images without a row become rejects."""
    other = "original" if kind == "aligned" else "aligned"
    # A folder of aligned images whose names have lost the mark is still one; originals among marked images are not.
    is_marked = kind == "original" or any(_is_kind(name, kind) for name in images.by_name)
    apart = [name for name in images.by_name if is_marked and _is_kind(name, other)]
    left_alone = frozenset(apart)
    index = StemIndex(name for name in images.by_name if name not in left_alone)
    mark = "_aligned" if kind == "aligned" and is_marked else ""
    found: list[tuple[ListRow, str]] = []
    used: set[str] = set()
    for row in rows:
        name = f"{row.stem}{mark}{row.suffix or '.jpg'}"
        names = index.find(name)
        path = below(images.path, name)
        used.update(names)
        paths = [path for one in names for path in images.by_name[one]]
        if len(paths) == 1:
            found.append((row, paths[0]))
            if names[0] != name:
                builder.repairs["name_matched"] += 1
        elif paths:
            shown = names if len(names) > 1 else paths
            builder.reject(path, "image_ambiguous", f"can be {' or '.join(shown)}", split=row.split, row=row.line, key=row.stem)
        else:
            builder.reject(path, "image_missing", "no such image", split=row.split, row=row.line, key=row.stem)
    stop_if_no_image_found(where, len(rows), len(used), [below(images.path, f"{row.stem}{mark}.jpg") for row in rows[:3]])
    for reject in builder.rejects:
        if reject.reason in ("label_missing", "label_invalid"):
            used.update(index.find(f"{reject.key}{mark}.jpg"))
    for name in index.rest(used):
        stem = RAF_STEM.fullmatch(stem_of(name))
        for path in images.by_name[name]:
            builder.reject(path, "label_missing", "not in the label list", split=stem[1].lower() if stem else "")
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
    return read_distribution(iter_lines(store, path)) if path else {}


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
