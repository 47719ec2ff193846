"""Read the official RAF-DB trees, basic and compound: one label list, aligned or original images, annotation files.

In: a tree with ``EmoLabel/list_patition_label.txt``. Out: a :class:`Scan`. Costs one listing of each folder and one
read of each annotation file that the chosen images can use; no image is opened.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ferdata.labels import map_ids
from ferdata.shown import counted
from ferdata.sources.files.listing import Folder, below, list_folder
from ferdata.sources.files.matching import NameIndex, stem_of
from ferdata.sources.files.text_tables import iter_lines
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.rafdb.annotations import AnnotationReader, Annotations, read_distribution
from ferdata.sources.rafdb.image_folder import RafImages, find_images, is_kind, no_images
from ferdata.sources.rafdb.label_list import RAF_STEM, ListRow, RafSet, parse_list
from ferdata.sources.scan import Scan, judge_image
from ferdata.store import Store

__all__ = ["scan"]


def scan(store: Store, detection: Detection, options: ScanOptions, *, raf: RafSet) -> Scan:
    """Sort every row and image of a RAF-DB basic or compound tree into accepted, skipped or rejected.

    Where there are no aligned images, the original ones are read and a note says so.

    Raises:
        LayoutError: If stems and labels disagree, ids are not RAF-DB's, or no folder has the images asked for.
        SourceError: If most labels are not classes, or no row finds its image.
    """
    builder = LayoutScan(store, detection, options, classes=raf.classes)
    table = detection.files["labels"]
    rows = parse_list(store, table, raf, builder)
    top = list_folder(store)
    images = find_images(store, top, options.rafdb_images)
    if images is None and options.rafdb_images == "aligned":
        images = find_images(store, top, "original")
        options = replace(options, rafdb_images="original")
        if images is not None:
            builder.notes.append(f"There are no aligned images, so the original ones in {images.path or '.'} are read.")
    if images is None:
        raise no_images(store, top, options.rafdb_images)
    found = _match(rows, images, options.rafdb_images, builder, table)
    _accept_all(top, found, raf, options, builder)
    if images.path not in ("", top.dir("Image") or top.dir("Images")):
        builder.ignore(images.unread, images.others)
    _note_repeats(rows, builder)
    _note_gaps(rows, raf, builder)
    scan = builder.finish()
    return replace(scan, side=None) if options.rafdb_images == "original" else scan


def _match(
    rows: Sequence[ListRow], images: RafImages, kind: str, builder: LayoutScan, table: str
) -> list[tuple[ListRow, str]]:
    """Return the rows that find exactly one image; rows without one and images without a row become rejects."""
    other = "original" if kind == "aligned" else "aligned"
    # A folder of aligned images whose names have lost the mark is still one; originals among marked images are not.
    is_marked = kind == "original" or any(is_kind(name, kind) for name in images.by_name)
    apart = [name for name in images.by_name if is_marked and is_kind(name, other)]
    left_alone = frozenset(apart)
    index = NameIndex((name for name in images.by_name if name not in left_alone), any_suffix=True)
    mark = "_aligned" if kind == "aligned" and is_marked else ""
    found: list[tuple[ListRow, str]] = []
    used: set[str] = set()
    for row in rows:
        name = f"{row.stem}{mark}{row.suffix or '.jpg'}"
        names = index.find(name)
        path = below(images.path, name)
        used.update(names)
        paths = [path for one in names for path in images.by_name[one]]
        problem = judge_image(paths if len(names) == 1 else names, "no such image")
        if problem is None:
            found.append((row, paths[0]))
            builder.repairs["name_matched"] += names[0] != name
        else:
            builder.passes(problem, path, split=row.split, row=row.line, key=row.stem)
    looked_for = [below(images.path, f"{row.stem}{mark}.jpg") for row in rows[:3]]
    builder.stop_if_no_image_found(len(rows), len(used), looked_for, table=table)
    for reject in builder.rejects:
        if reject.reason in ("label_missing", "label_invalid"):
            used.update(index.find(f"{reject.key}{mark}.jpg"))
    for name in index.rest(used):
        stem = RAF_STEM.fullmatch(stem_of(name))
        split = stem[1].lower() if stem else ""
        builder.reject_unlabelled(images.by_name[name], "not in the label list", split=split)
    if apart:
        builder.notes.append(
            f"{images.path or '.'}: {len(apart):,} {other} images lie beside the {kind} ones and are left alone."
        )
    return found


def _accept_all(
    top: Folder, found: Sequence[tuple[ListRow, str]], raf: RafSet, options: ScanOptions, builder: LayoutScan
) -> None:
    to_label = map_ids(raf.source_classes, raf.classes)
    original = options.rafdb_images == "original"
    reader = AnnotationReader(builder.store, top, original=original)
    shares = _distribution(builder.store, top) if raf.name == "basic" else {}
    seen: set[str] = set()
    annotations = reader.read([row.stem for row, _ in found], num_workers=options.num_workers)
    for (row, path), notes in zip(found, annotations, strict=True):
        key = row.stem if row.stem not in seen else f"{row.stem}_row{row.line}"
        seen.add(row.stem)
        extra: dict[str, Any] = dict(notes.person)
        if notes.auto is not None:
            extra["auto_landmarks"] = notes.auto
        box = _box(notes)
        if original:
            is_invalid = notes.box is not None and box is None
            if is_invalid and options.crop == "box":
                builder.reject(path, "box_invalid", f"corners {notes.box}", split=row.split, row=row.line, key=key)
                continue
            builder.repairs["box_missing"] += notes.box is None
            builder.repairs["box_invalid"] += is_invalid
            builder.repairs["landmarks_missing"] += notes.manual is None and notes.auto is None
        label, landmarks = to_label[row.raf_id - 1], notes.manual or notes.auto
        soft = builder.soften(shares.get(row.stem), raf.source_classes)
        places: dict[str, Any] = {"box": box, "landmarks": landmarks}
        builder.accept(key, path, row.split, label, str(row.raf_id), **places, soft_labels=soft, extra=extra)
    _note_annotations(reader, original, options.crop, builder)


def _box(notes: Annotations) -> tuple[float, float, float, float] | None:
    """Return ``(x, y, width, height)``, None where there is no box, or one without an area."""
    x1, y1, x2, y2 = notes.box or (0.0, 0.0, 0.0, 0.0)
    return (x1, y1, x2 - x1, y2 - y1) if x2 > x1 and y2 > y1 else None


def _distribution(store: Store, top: Folder) -> dict[str, list[float]]:
    folder = top.dir("EmoLabel")
    inner = list_folder(store, folder) if folder else top
    path = inner.file("distribution_basic.txt") or top.file("distribution_basic.txt")
    return read_distribution(iter_lines(store, path)) if path else {}


def _note_annotations(reader: AnnotationReader, original: bool, crop: str, builder: LayoutScan) -> None:
    if not original:
        if crop == "box":
            builder.notes.append(
                "Boxes and points belong to the original images; aligned images are face crops already and stay whole."
            )
        return
    absent = [kind for kind in ("manual", "auto", "boundingbox") if kind not in reader.kinds]
    if absent:
        builder.notes.append(
            f"Annotation: {', '.join(absent)} not found; the images come without what these files hold."
        )


def _note_repeats(rows: Sequence[ListRow], builder: LayoutScan) -> None:
    ids: dict[str, list[int]] = {}
    for row in rows:
        ids.setdefault(row.stem, []).append(row.raf_id)
    repeated = [found for found in ids.values() if len(found) > 1]
    if repeated:
        differ = sum(len(set(found)) > 1 for found in repeated)
        builder.notes.append(
            f"{counted(len(repeated), 'image stands', 'images stand')} in several rows of the label list "
            f"({sum(map(len, repeated)):,} rows), "
            f"{differ:,} of them with different labels; every row is kept, later ones with the line number in the key."
        )


def _note_gaps(rows: Sequence[ListRow], raf: RafSet, builder: LayoutScan) -> None:
    for split in raf.digits:
        present = {row.raf_id for row in rows if row.split == split}
        empty = [name for raf_id, name in enumerate(raf.source_classes, start=1) if raf_id not in present]
        if not present:
            builder.notes.append(f"Warning: the label list has no row of split {split}.")
        elif empty:
            builder.notes.append(f"Warning: {split} has no image of {', '.join(empty)}.")
