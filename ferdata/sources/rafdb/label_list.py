"""RAF-DB's label list: names of images, RAF ids, and what keeps a line from being used.

In: ``list_patition_label.txt``, in any of the forms that circulate. Out: its usable lines. Costs one read of the file.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_7, RAFDB_BASIC, RAFDB_COMPOUND
from ferdata.sources.files.listing import name_of
from ferdata.sources.files.matching import stem_of, whole_number
from ferdata.sources.files.text_tables import iter_rows, read_head, role_columns
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.scan import rejected
from ferdata.store import Store

__all__ = [
    "ALIGNED_SIDE",
    "BASIC",
    "COMPOUND",
    "RAF_BASIC_NAME",
    "RAF_STEM",
    "ListRow",
    "RafSet",
    "has_wrong_order",
    "iter_list",
    "match_name",
    "official_key",
    "parse_list",
]

RAF_STEM = re.compile(r"(train|test)_(\d+)(_aligned)?", re.IGNORECASE)
"""Stem of a RAF-DB image: split, number as text, and the mark of an aligned image."""

RAF_BASIC_NAME = re.compile(r"(?:train_\d{5}|test_\d{4})(?:_aligned)?\.\w+", re.IGNORECASE)
"""File name of an image of RAF-DB basic."""

ALIGNED_SIDE = 100
"""Width and height of the aligned images."""

_RAF_NAME = re.compile(rf"{RAF_STEM.pattern}\.\w+", re.IGNORECASE)
_SUSPICIOUS_ROWS = 100
_WRONG_SHARE = 10


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


BASIC = RafSet(name="basic", digits={"train": 5, "test": 4}, source_classes=RAFDB_BASIC, classes=AFFECTNET_7)
COMPOUND = RafSet(
    name="compound", digits={"train": 4, "test": 3}, source_classes=RAFDB_COMPOUND, classes=RAFDB_COMPOUND
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """One usable line of a label list: its number from 1, stem without ``_aligned``, extension, split and RAF id."""

    line: int
    stem: str
    suffix: str
    split: str
    raf_id: int


def official_key(path: str) -> str | None:
    """Return the key of an image with an official name, its stem without ``_aligned``; None for any other name."""
    stem = RAF_STEM.fullmatch(stem_of(name_of(path)))
    return f"{stem[1].lower()}_{stem[2]}" if stem else None


def match_name(field: str) -> re.Match[str] | None:
    """Match the file name in a field of a list with RAF-DB's: split and number as text; None where it is none."""
    return _RAF_NAME.fullmatch(name_of(field.replace("\\", "/")))


def iter_list(store: Store, path: str) -> Iterator[tuple[int, str, str | None]]:
    """Yield ``(line, name, label)`` for every line of a list that is not blank, header included; no label is None.

    The name comes first unless a header, or a label before it, says otherwise. Names hold no spaces, so a tab is one.

    Raises:
        SourceError: If the file is no table.
    """
    delimiter = read_head(store, path).delimiter
    columns: tuple[list[int], list[int]] | None = None
    for line, row in iter_rows(store, path, " " if delimiter == "\t" else delimiter):
        fields = [field.strip() for field in row]
        if columns is None:
            columns = role_columns(fields) if not any(map(match_name, fields)) else ([], [])
        if all(len(found) == 1 for found in columns):
            order = columns[0][0], columns[1][0]
        else:
            order = (1, 0) if len(fields) == 2 and match_name(fields[1]) and not match_name(fields[0]) else (0, 1)
        name, label = (fields[at] if at < len(fields) else "" for at in order)
        yield line, name, label or None


def parse_list(store: Store, path: str, raf: RafSet, builder: LayoutScan) -> list[ListRow]:
    """Return the usable lines of a label list, train before test; unusable ones become rejects.

    Accepted: any line ends, blank lines, spaces, tabs, commas or semicolons, a third column, names with ``_aligned``.

    Raises:
        LayoutError: If ids belong to another numbering or to the other set.
        SourceError: If most labels are not whole numbers, or the file is no text.
    """
    where = store.path(path)
    rows: list[ListRow] = []
    num_lines = 0
    for line, written, label in iter_list(store, path):
        num_lines += 1
        name = name_of(written.replace("\\", "/"))
        stem = RAF_STEM.fullmatch(stem_of(name))
        split, key = (stem[1].lower(), f"{stem[1].lower()}_{stem[2]}") if stem else ("", "")
        raf_id = whole_number(label or "")
        if stem is None:
            verdict = rejected("bad_row", f"line {line}: not the name of a RAF-DB image")
        elif label is None:
            verdict = rejected("label_missing", f"line {line}: no label")
        elif raf_id is None or raf_id < 0:
            verdict = rejected("label_invalid", f"label {label!r}")
        else:
            rows.append(ListRow(line=line, stem=key, suffix=name[len(stem[0]) :], split=split, raf_id=raf_id))
            continue
        builder.passes(verdict, written, split=split, row=line, key=key)
    builder.stop_if_most_labels_invalid(num_lines, f"RAF-DB ids 1..{len(raf.source_classes)}", table=path)
    if not rows:
        raise LayoutError(
            f"{where}: no usable line in {num_lines:,}, expected lines like 'train_00001.jpg 5'; take the official list"
        )
    return sorted(_with_known_ids(rows, where, raf, builder), key=lambda row: row.split != "train")


def _with_known_ids(rows: Sequence[ListRow], where: str, raf: RafSet, builder: LayoutScan) -> list[ListRow]:
    """Return the rows whose id is one of the set's; the others become rejects where they are few."""
    top = len(raf.source_classes)
    wrong = [row for row in rows if not 1 <= row.raf_id <= top]
    if has_wrong_order(Counter(row.raf_id for row in rows), top):
        raise LayoutError(
            f"{where}: line {wrong[0].line} gives {wrong[0].stem} the id {wrong[0].raf_id}, "
            f"expected 1..{top} for the stems of RAF-DB {raf.name}, as {len(wrong):,} of {len(rows):,} lines are not; "
            "this is a 0-based list, or basic and compound are mixed: take the official list of one of them"
        )
    # Nearly half of the real compound rows have an id above 7; that many rows without one carry the labels of basic.
    if raf.name == "compound" and len(rows) >= _SUSPICIOUS_ROWS and max(row.raf_id for row in rows) <= len(RAFDB_BASIC):
        raise LayoutError(
            f"{where}: no id above {len(RAFDB_BASIC)} in {len(rows):,} rows with the stems of RAF-DB compound, "
            f"expected 1..{top}; digits and labels disagree: take the official list"
        )
    for row in wrong:
        verdict = rejected("label_invalid", f"label '{row.raf_id}'")
        builder.passes(verdict, f"{row.stem}{row.suffix}", split=row.split, row=row.line, key=row.stem)
    return [row for row in rows if 1 <= row.raf_id <= top]


def has_wrong_order(counts: Mapping[int, int], num_classes: int) -> bool:
    """Tell whether ids that should run from 1 to ``num_classes`` are another list's, or only wrong in a few rows.

    Another list has a tenth of its ids outside, or runs from 0 and lacks the last id: 0 is the first class then.
    """
    outside = sum(count for number, count in counts.items() if not 1 <= number <= num_classes)
    return outside * _WRONG_SHARE > sum(counts.values()) or (bool(counts.get(0)) and not counts.get(num_classes))
