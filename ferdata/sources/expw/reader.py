"""Read ExpW: a list of faces, and the photographs they are in; every face is an item of its own.

In: ``label/label.lst`` and ``image/origin/``. Out: a :class:`Scan`, all of it train. Costs about 3 µs a face; no image
is opened.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ferdata.labels import FER2013
from ferdata.sources.files.listing import below, list_folder
from ferdata.sources.files.matching import NameIndex, box_of_corners, floats, stem_of
from ferdata.sources.files.text_tables import iter_rows, plain_name, read_head
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, judge_image, rejected
from ferdata.store import Store

__all__ = ["IMAGES", "LABELS", "face_rows", "scan"]

LABELS, IMAGES = "labels", "images"
"""Roles of the list and of the folder of photographs."""

_COLUMNS = ("imagename", "faceidinimage", "faceboxtop", "faceboxleft", "faceboxright", "faceboxbottom",
            "faceboxconfidence", "expressionlabel")  # fmt: skip
"""In the order of the list, which has no header: top and left come first, right before bottom."""

_MISSPELT = {"faceboxcofidence": "faceboxconfidence"}
"""As the release's own readme has it."""

Row = Mapping[str, str]


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every face of the list into accepted, skipped or rejected.

    Raises:
        SourceError: If most labels are not 0 to 6, or no row finds its photograph.
    """
    builder = LayoutScan(store, detection, options)
    path, folder = detection.files[LABELS], detection.folders[IMAGES]
    listed = list_folder(store, folder)
    builder.ignore([below(folder, name) for name in listed.dirs], listed.others)
    index = NameIndex(listed.images)
    faces, images = Counter[str](), Counter[str]()
    num_rows = 0
    for line, row, written in face_rows(store, path):
        num_rows += 1
        found = index.find(row["imagename"]) if row else []
        box, confidence = _box(row), floats([row.get("faceboxconfidence", "")])
        if not row:
            verdict = rejected("bad_row", f"{written}, expected a name, a number, four sides, a confidence and a label")
        elif (problem := judge_image(found, f"not in {folder}")) is not None:
            verdict = problem
        elif box is None and options.crop == "box":
            verdict = rejected(
                "box_invalid", f"top, left, right, bottom {', '.join(row[name] for name in _COLUMNS[2:6])}"
            )
        else:
            verdict = builder.judge_id(row["expressionlabel"], FER2013)
        name = found[0] if found else row.get("imagename", "")
        face = f"{stem_of(name)}_{row.get('faceidinimage', '')}"
        images.update(found)
        if not builder.passes(verdict, below(folder, name), split="train", row=line):
            continue
        faces[face] += 1
        builder.repairs["name_matched"] += name != row["imagename"]
        builder.repairs["box_invalid"] += box is None
        builder.accept(
            builder.keys.make(f"{face}_row{line}" if faces[face] > 1 else face),
            below(folder, name),
            "train",
            verdict.label,
            row["expressionlabel"],
            box=box,
            extra={"face": row["faceidinimage"], "confidence": confidence[0] if confidence else None},
        )
    builder.stop_if_no_image_found(num_rows, len(images), [below(folder, "<image>")], table=path)
    builder.stop_if_most_labels_invalid(num_rows, "0 angry, 1 disgust ... 6 neutral", table=path)
    builder.reject_unlabelled([below(folder, name) for name in index.rest(images)], f"not in {path}", split="train")
    builder.note_repeats(path, faces)
    several = sum(count > 1 for count in images.values())
    if several and options.crop != "box":
        builder.notes.append(
            f"Warning: {several:,} photographs show several faces, and each is stored once for every face; "
            'crop="box" stores the faces instead.'
        )
    return builder.finish()


def face_rows(store: Store, path: str, *, head: bool = False) -> Iterator[tuple[int, Row, str]]:
    """Yield line, fields by column and the line as written, of every face; no fields where a line has too few.

    Args:
        store: Where the source lives.
        path: The list: lines of eight fields as released, or a table that names its columns.
        head: Only those of the first lines.
    """
    start = read_head(store, path)
    names = _names(start.header)
    lines = enumerate(start.rows, 1) if head else iter_rows(store, path, start.delimiter)
    for number, (line, fields) in enumerate(lines):
        if names and not number:
            continue
        columns = names or _COLUMNS
        extra = len(fields) - len(columns)
        # A name with spaces in it falls into several fields of a list that is parted by spaces.
        whole = [" ".join(fields[: 1 + extra]), *fields[1 + extra :]] if extra > 0 and not names else fields
        row = dict(zip(columns, map(str.strip, whole), strict=False)) if extra >= 0 else {}
        yield line, row, start.delimiter.join(fields)


def _names(header: Sequence[str]) -> tuple[str, ...]:
    """Return the columns' names if a first line has them all."""
    names = tuple(_MISSPELT.get(name, name) for name in map(plain_name, header))
    return names if set(_COLUMNS) <= set(names) else ()


def _box(row: Row) -> tuple[float, float, float, float] | None:
    sides = floats([row.get(f"facebox{side}", "") for side in ("left", "top", "right", "bottom")])
    return box_of_corners(sides) if sides else None
