"""Read FER2013 from tables of pixels: ``fer2013.csv``, ``icml_face_data.csv``, or the challenge's ``train.csv``.

In: tables with an image in each row. Out: a :class:`Scan` whose paths are ``fer2013.csv#row``. Costs one pass over
every pixel, about 0.1 ms an image, and memory for a few megabytes of the table.
"""

from collections.abc import Iterator

from ferdata.labels import FER2013, canonical_name
from ferdata.shown import counted
from ferdata.sources.files.listing import shorten
from ferdata.sources.files.matching import whole_number
from ferdata.sources.files.pixel_rows import find_pixel_table, iter_pixel_rows, pixel_values
from ferdata.sources.files.text_tables import plain_name, role_columns, split_word
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, rejected
from ferdata.store import Store

__all__ = ["ALL", "USAGE", "scan"]

ALL = "all"
"""Role of a table that says the split of each row."""

USAGE = "usage"
"""The column that says it, as :func:`plain_name` spells it."""


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row of FER2013's tables into accepted, skipped or rejected.

    Raises:
        SourceError: If most labels are not 0 to 6, or a table is no text.
    """
    builder = LayoutScan(store, detection, options)
    for role, path in detection.files.items():
        before, num_rows = len(builder.rejects), 0
        blank: list[str] = []
        for num_rows, (verdict, split, written, pixels) in enumerate(_judged_rows(store, path, role, builder), 1):
            row = num_rows - 1
            image = f"{path}#{row}"
            if builder.passes(verdict, image, split=split, row=row):
                builder.accept(builder.keys.make(f"{split}_{row}"), image, split, verdict.label, written)
                if pixels.count(pixels[:1]) == len(pixels):
                    blank.append(image)
        builder.stop_if_most_labels_invalid(
            num_rows, "0 Angry, 1 Disgust, 2 Fear, 3 Happy, 4 Sad, 5 Surprise, 6 Neutral", table=path, since=before
        )
        if blank:
            builder.notes.append(
                f"Warning: {counted(len(blank), 'image is', 'images are')} of one grey value all over "
                f"({shorten(blank)}); {'it is' if len(blank) == 1 else 'they are'} kept."
            )
    return builder.finish()


def _judged_rows(store: Store, path: str, role: str, builder: LayoutScan) -> Iterator[tuple[Verdict, str, str, bytes]]:
    """Yield each row's verdict, split, label as written and pixels, of which one that is rejected may have none."""
    table = find_pixel_table(store, path)
    assert table is not None  # or it would not have been detected
    names = [plain_name(name) for name in table.header]
    labels = role_columns(table.header)[1]
    usage = names.index(USAGE) if USAGE in names else None
    for fields in iter_pixel_rows(store, path, table):
        split = role if role != ALL else ""
        if len(fields) != len(names):
            yield rejected("bad_row", f"{len(fields)} fields, expected {len(names)}"), split, "", b""
            continue
        said = fields[usage].decode("utf-8", "replace") if usage is not None else role
        if role == ALL:
            split = split_word(said) or ""
        written = fields[labels[0]].decode("utf-8", "replace") if labels else ""
        pixels = pixel_values(fields[table.pixels])
        if not split:
            verdict = rejected("bad_row", f"Usage {said!r}, expected Training, PublicTest or PrivateTest")
        elif not written:
            verdict = rejected("label_missing", "the label is empty" if labels else f"{path} has no labels")
        elif isinstance(pixels, str):
            verdict = rejected("image_corrupt", pixels)
        else:
            verdict = builder.judge_name(_class_name(written), written)
        yield verdict, split, written, pixels if isinstance(pixels, bytes) else b""


def _class_name(written: str) -> str | None:
    number = whole_number(written)
    if number is None:
        return canonical_name(written)
    return FER2013[number] if 0 <= number < len(FER2013) else None
