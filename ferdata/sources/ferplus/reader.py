"""Read FERPlus: votes beside FER2013's table of pixels, row by row, or beside folders of its images.

In: ``fer2013new.csv`` with ``fer2013.csv``, or ``FER2013Train/*.png`` with ``label.csv``. Out: a :class:`Scan` with
soft labels. Costs one pass over every pixel, or a listing of each folder; no image is opened.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from ferdata.errors import SourceError
from ferdata.labels import FERPLUS
from ferdata.sources.fer2013.reader import USAGE
from ferdata.sources.ferplus.votes import VOTE_COLUMNS, class_of_votes, read_votes
from ferdata.sources.files.listing import below, list_folder
from ferdata.sources.files.matching import NameIndex, box_of_corners, floats, stem_of
from ferdata.sources.files.pixel_rows import find_pixel_table, iter_pixel_rows, pixel_values
from ferdata.sources.files.text_tables import iter_rows, plain_name, read_table, split_word
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, judge_image, rejected
from ferdata.store import Store

__all__ = ["PIXELS", "VOTES", "scan"]

VOTES, PIXELS = "votes", "pixels"
"""Roles of ``fer2013new.csv`` and ``fer2013.csv``."""

Box = tuple[float, float, float, float]
_VOTES_KEYS = tuple(map(plain_name, VOTE_COLUMNS))


class _Row(NamedTuple):
    """One row of votes: line, what it says, and its box if it has one."""

    line: int
    usage: str
    name: str
    votes: Sequence[str]
    box: Box | None = None


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row of votes into accepted, skipped or rejected.

    Raises:
        SourceError: If votes and pixels are not in the same order, or no row of votes finds its image.
    """
    builder = LayoutScan(store, detection, options)
    if PIXELS in detection.files:
        _scan_tables(store, detection, options, builder)
    else:
        _scan_folders(store, detection, options, builder)
    return builder.finish()


def _scan_tables(store: Store, detection: Detection, options: ScanOptions, builder: LayoutScan) -> None:
    votes_path, path = detection.files[VOTES], detection.files[PIXELS]
    table = find_pixel_table(store, path)
    assert table is not None  # or it would not have been detected
    usage = [plain_name(name) for name in table.header].index(USAGE)
    pairs = zip_longest(_table_rows(store, votes_path), iter_pixel_rows(store, path, table))
    for row, (voted, fields) in enumerate(pairs):
        if voted is None or fields is None:
            shorter, longer = (votes_path, path) if voted is None else (path, votes_path)
            raise SourceError(
                f"{store.path(shorter)}: {row:,} rows found and more in {longer}, expected a row of votes for each "
                "image; take both files as they were released"
            )
        said = fields[usage].decode("utf-8", "replace") if len(fields) == len(table.header) else voted.usage
        if said != voted.usage:
            raise SourceError(
                f"{store.path(votes_path)}: line {voted.line:,} is of {voted.usage!r}, but row {row:,} of {path} of "
                f"{said!r}, expected both files in the same order; take them as they were released"
            )
        values = pixel_values(fields[table.pixels]) if len(fields) == len(table.header) else "a row of other columns"
        problem = rejected("image_corrupt", values) if isinstance(values, str) else None
        _add(voted, f"{path}#{row}", split_word(voted.usage), problem, options, builder)


def _scan_folders(store: Store, detection: Detection, options: ScanOptions, builder: LayoutScan) -> None:
    num_rows = num_found = 0
    for split, folder in detection.splits.items():
        listed = list_folder(store, folder)
        builder.ignore([below(folder, name) for name in listed.dirs], ())
        index, seen = NameIndex(listed.images), Counter[str]()
        if split in detection.files:
            rows, where = list(_file_rows(store, detection.files[split])), detection.files[split]
        else:
            where = detection.files[VOTES]
            rows = [row for row in _table_rows(store, where) if split_word(row.usage) == split]
        for row in rows:
            found = index.find(row.name) if row.name else []
            problem = judge_image(found, f"not in {folder}") if row.name else None
            image = below(folder, found[0] if found else row.name)
            seen.update(found)
            _add(row, image, split, problem, options, builder, is_repeat=len(found) == 1 and seen[found[0]] > 1)
        num_rows, num_found = num_rows + len(rows), num_found + len(seen)
        unnamed = [below(folder, name) for name in index.rest(seen)]
        builder.reject_unlabelled(unnamed, f"not in {where}", split=split)
        builder.note_repeats(where, seen)
    builder.stop_if_no_image_found(
        num_rows, num_found, [below(path, "fer0000000.png") for path in detection.splits.values()]
    )


def _add(
    row: _Row,
    path: str,
    split: str | None,
    problem: Verdict | None,
    options: ScanOptions,
    builder: LayoutScan,
    *,
    is_repeat: bool = False,
) -> None:
    """Write down one row of votes."""
    votes = read_votes(row.votes)
    voted = class_of_votes(votes, options.votes) if votes else None
    if not row.name:
        verdict = rejected("no_face", "no image name: all votes say that it shows no face")
    elif split is None:
        verdict = rejected("bad_row", f"Usage {row.usage!r}, expected Training, PublicTest or PrivateTest")
    elif votes is None or voted is None:
        verdict = rejected("bad_row", f"votes {','.join(row.votes)}, expected {len(VOTE_COLUMNS)} counts")
    elif problem is not None:
        verdict = problem
    else:
        verdict = builder.judge_name(FERPLUS[voted.column], VOTE_COLUMNS[voted.column])
        if verdict.outcome == "skipped" and not voted.has_majority:
            verdict = Verdict("skipped", "no_majority", class_name=verdict.class_name)
    key = stem_of(row.name) + (f"_row{row.line}" if is_repeat else "")
    if builder.passes(verdict, path, split=split or "", row=row.line, key=key):
        assert votes and voted and split
        builder.repairs["votes_tied"] += voted.is_tied
        builder.accept(
            builder.keys.make(key),
            path,
            split,
            verdict.label,
            VOTE_COLUMNS[voted.column],
            box=row.box,
            soft_labels=builder.soften(votes, FERPLUS),
            extra={"votes": votes},
        )


def _table_rows(store: Store, path: str) -> Iterator[_Row]:
    """Yield the rows of ``fer2013new.csv``, whose columns are found by their names."""
    header, rows = read_table(store, path)
    names = [plain_name(name) for name in header]
    usage, image = names.index(USAGE), names.index("imagename")
    votes = [names.index(name) for name in _VOTES_KEYS]
    for line, fields in rows:
        whole = [*fields, *[""] * (len(names) - len(fields))]
        yield _Row(line, whole[usage], whole[image], [whole[column] for column in votes])


def _file_rows(store: Store, path: str) -> Iterator[_Row]:
    """Yield the rows of a ``label.csv``: an image's name, perhaps its box by its corners, and ten votes."""
    for line, fields in iter_rows(store, path, ","):
        name, votes = fields[0].strip(), [field.strip() for field in fields[-len(VOTE_COLUMNS) :]]
        if tuple(map(plain_name, votes)) == _VOTES_KEYS:
            continue
        yield _Row(line, "", name, votes, _box(",".join(fields[1 : -len(VOTE_COLUMNS)])))


def _box(corners: str) -> Box | None:
    """Return the box that ``(left, top, right, bottom)`` means, or None where there is none."""
    found = floats(corners.strip(' ()"').split(","))
    return box_of_corners(found) if found and len(found) == 4 else None
