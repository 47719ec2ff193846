"""Read any images with a table of what they show: csv, tsv, or parquet with paths or with the images themselves.

In: a folder, and the options that name the table and its columns. Out: a :class:`Scan`. Reads each table twice and
lists each folder once; opens no image. About 30 µs a row, and 0.7 kB.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ferdata.errors import LayoutError, SourceError
from ferdata.sources.files.find_images import ImageFinder, plain_path
from ferdata.sources.files.listing import is_within, shorten
from ferdata.sources.files.matching import stem_of
from ferdata.sources.files.text_tables import split_word
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, judge_image, rejected
from ferdata.sources.tables.classes import Meaning, find_meaning, parse_class_names
from ferdata.sources.tables.columns import parse_columns
from ferdata.sources.tables.find_tables import TableOfSplit, absolute, find_tables
from ferdata.sources.tables.row import Row
from ferdata.sources.tables.rows import Table
from ferdata.sources.tables.survey import Survey, common_root, split_of_path, survey
from ferdata.store import Store

__all__ = ["scan"]

_KEY_CHARS = 64
_MOST_SHOWN = 3


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row of the tables into accepted, skipped or rejected.

    Raises:
        LayoutError: If there is no table, or it does not show which column is what.
        AmbiguousLayoutError: If several tables could be meant, or nothing says what numbers stand for.
        OptionError: If an option for numbers is given and labels are words.
        SourceError: If no row finds its image, or most labels are not classes.
    """
    store, asked = absolute(store), parse_columns(options.columns)
    tables = find_tables(store, options.tables(), asked)
    found = survey(tables, store.root)
    where = tables[0].table.where if len(tables) == 1 else str(store)
    meaning = find_meaning(found.labels, options, where)
    folders = [each.table.store.root for each in tables if each.table.has_images]
    root = Store(common_root(store, [*found.folders, *folders]))
    options = options if meaning.has_expressions else replace(options, keep_non_emotion=True)
    builder = LayoutScan(root, replace(detection, root=root.root), options, classes=meaning.classes)
    reader = _Reader(builder, ImageFinder(root, _within(root, store.root)), meaning, options)
    for each in tables:
        reader.read(each, splits_below=store.root if found.are_folders_splits else None)
    reader.finish(found.rows, store)
    builder.notes += _note_columns(tables, asked)
    builder.notes += _note_splits(tables, found)
    return builder.finish()


class _Reader:
    """The state of one scan: what has been found so far."""

    def __init__(self, builder: LayoutScan, finder: ImageFinder, meaning: Meaning, options: ScanOptions) -> None:
        self._builder, self._finder, self._meaning = builder, finder, meaning
        self._needs_box = options.crop == "box"
        names = parse_class_names(options.class_names)
        self._soft_names = names if isinstance(names, tuple) else tuple(names[number] for number in sorted(names))
        self._times: Counter[str] = Counter()
        self._not_found: list[str] = []
        self._num_missing = self._num_looked_for = 0

    def read(self, each: TableOfSplit, *, splits_below: str | None) -> None:
        """Accept, skip or reject every row of a table.

        Args:
            each: The table.
            splits_below: The source, if folders of paths below it tell the splits.

        Raises:
            LayoutError: If it has soft labels and nothing says of which classes.
        """
        table = each.table
        if "soft_labels" in table.columns.roles and not self._soft_names:
            raise LayoutError(
                f"{table.where}: a column of soft labels found, expected to know of which classes; "
                "name them in its order with class_names="
            )
        inside = _within(self._builder.store, table.where)
        beside = inside.rpartition("/")[0]
        for number, cells in table.rows():
            row = Row(number, cells, table.columns)
            written = row.text("path")
            own = f"{inside}#{number}"
            found = [own] if table.has_images else self._find(written, beside) if written is not None else []
            split = _split(each, row, written, splits_below)
            verdict = self._judge(table, row, found, split)
            if self._builder.passes(verdict, written or own, split=split or "", row=number):
                self._accept(table, row, found[0], split or "", verdict.label)

    def finish(self, num_rows: int, src: Store) -> None:
        """Note what is odd about all rows together.

        Raises:
            SourceError: If no row finds its image, or most labels are not classes.
        """
        if self._num_looked_for and self._num_missing == self._num_looked_for:
            raise SourceError(
                f"{src}: none of {self._num_looked_for:,} rows finds its image, expected for instance "
                f"{shorten(self._not_found)} in it; give the folder that paths start from with src=, "
                "and unpack archives first"
            )
        self._builder.stop_if_most_labels_invalid(num_rows, "names of classes, or numbers that have one")
        self._builder.note_repeats("The table", self._times)
        if beside := self._finder.images_beside(set(self._times)):
            are = "is" if beside == 1 else "are"
            self._builder.notes.append(f"Images beside those that are read: {beside:,} {are} in no row, and left out.")

    def _find(self, written: str, beside: str) -> list[str]:
        found = self._finder.find(written, beside)
        self._num_looked_for += 1
        self._num_missing += not found
        if not found and len(self._not_found) < _MOST_SHOWN:
            self._not_found.append(written)
        if len(found) == 1:
            self._times[found[0]] += 1
            self._builder.repairs["name_matched"] += not found[0].endswith(plain_path(written).lstrip("/"))
        return found

    def _judge(self, table: Table, row: Row, found: Sequence[str], split: str | None) -> Verdict:
        label = row.text("label")
        if not row.cells:
            return rejected("bad_row", f"line {row.number}: more cells than the header has columns")
        if not table.has_images and row.text("path") is None:
            return rejected("bad_row", "no image path")
        if label is None:
            return rejected("label_missing", "the label is empty")
        if split is None:
            return rejected("split_missing", "the split is empty, and other rows have one")
        verdict = self._builder.judge_name(self._meaning.by_label.get(label), label)
        if verdict.outcome == "rejected":
            return verdict
        if table.has_images and row.number in table.without_image:
            return rejected("image_missing", "the image is empty")
        if problem := judge_image(found, "not there, nor in another folder of the source"):
            return problem
        if self._needs_box and row.has_box and row.box() is None:
            return rejected("box_invalid", "no box with an area; crop=none keeps whole images")
        return verdict

    def _accept(self, table: Table, row: Row, path: str, split: str, label: int) -> None:
        builder = self._builder
        mark = f"_row{row.number}" if self._times[path] > 1 else ""
        file, _, inner = path.rpartition("#")
        stem = f"{stem_of(file)}_{inner}" if file and inner.isdecimal() else stem_of(path)
        valence, arousal, is_va_invalid = row.scores()
        box = row.box()
        builder.repairs["va_invalid"] += is_va_invalid
        builder.repairs["box_invalid"] += box is None and row.has("box")
        builder.accept(
            builder.keys.make(row.text("key") or f"{split}_{stem[-_KEY_CHARS:]}{mark}"),
            path,
            split,
            label,
            row.text("label") or "",
            valence=valence,
            arousal=arousal,
            box=box,
            person=row.text("person"),
            sequence=row.text("sequence"),
            soft_labels=builder.soften(row.soft(), self._soft_names),
            extra=row.extra() or None,
        )


def _split(each: TableOfSplit, row: Row, written: str | None, splits_below: str | None) -> str | None:
    """Return a row's split: of its column, its table or its path's folders; None where its cell is empty."""
    if "split" in each.table.columns.roles:
        word = row.text("split")
        return split_word(word) if word is not None else None
    by_folder = split_of_path(plain_path(written), splits_below) if splits_below is not None and written else None
    return each.split or by_folder or "train"


def _within(root: Store, path: str) -> str:
    """Return a path relative to a root; if it lies outside, the root's own."""
    return path[len(root.root.rstrip("/")) :].strip("/") if is_within(path, root.root) else ""


def _note_columns(tables: Sequence[TableOfSplit], asked: Mapping[str, str]) -> list[str]:
    """Return what columns were taken for, where the user has not said it of each; of tables alike, once."""
    told: dict[str, str] = {}
    for table in (each.table for each in tables):
        if table.columns.roles.keys() - asked.keys():
            told.setdefault(table.columns.describe(), table.path)
    return [f"{path}: {text}" for text, path in [*told.items()][:_MOST_SHOWN]]


def _note_splits(tables: Sequence[TableOfSplit], found: Survey) -> list[str]:
    if found.are_folders_splits:
        return [f"Splits are read from the folders in paths: {', '.join(sorted(filter(None, found.path_splits)))}."]
    by_name = [each for each in tables if each.split is not None and "split" not in each.table.columns.roles]
    if by_name:
        named = shorten([f"{each.table.path} is {each.split}" for each in by_name])
        return [f"Splits are read from the names of the tables: {named}."]
    if some := sorted(filter(None, found.path_splits)):
        number = sum(found.path_splits[split] for split in some)
        return [
            f"Warning: {number:,} of {sum(found.path_splits.values()):,} paths have a folder called "
            f"{' or '.join(some)} and others have none, so all are train; give the splits in a column."
        ]
    return []
