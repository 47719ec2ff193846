"""Read the Kaggle copies of AffectNet: class folders with one ``labels.csv``, whose labels are right where the folder is not.

In: AN-kaggle-A (no splits) or AN-kaggle-B (Train and Test). Out: a :class:`Scan`. Costs one listing of each folder; no image is opened.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_8, canonical_name
from ferdata.sources.class_folders.class_tree import list_class_tree
from ferdata.sources.class_rules import ClassRules
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import NameIndex, below, split_of
from ferdata.sources.files.matching import (
    KNOWN_ALIASES,
    PART_OF_AFFECTNET,
    SPLIT_ORDER,
    KeyMaker,
    stem_of,
    stop_if_most_labels_invalid,
    stop_if_no_image_found,
)
from ferdata.sources.files.text_tables import find_columns, plain_name, read_table
from ferdata.sources.scan import Scan, ScanBuilder, ScanOptions
from ferdata.sources.totals import finish_scan
from ferdata.store import Store

__all__ = ["LabelRow", "read_labels", "scan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of ``labels.csv``: line number from 1, image path, label as written, its class (None: rejected), other columns."""

    line: int
    path: str
    label: str
    class_name: str | None
    extra: dict[str, Any] | None


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row and image of an AN-kaggle tree into accepted, skipped or rejected.

    An image without a row is rejected in AN-kaggle-A; AN-kaggle-B has a row for some of its images only, and the others take
    their class from the folder.

    Raises:
        LayoutError: If the CSV has not its columns, or a folder that must give the class is no known class.
        SourceError: If most labels are not classes, or no row finds its image.
    """
    reader = _Reader(store, detection, options)
    reader.read_rows()
    reader.read_rest()
    return finish_scan(reader.builder, detection, reader.rules.names, left_out=reader.rules.left_out)


def read_labels(store: Store, table: str, builder: ScanBuilder) -> list[LabelRow]:
    """Return every row of a ``labels.csv``; a row that cannot be used is a reject too, and has no class.

    Raises:
        LayoutError: If the columns of image and label are not there, once each.
        SourceError: If the file is no table, or most labels are not classes.
    """
    where = store.path(table)
    header, lines = read_table(store, table)
    path_column, label_column = find_columns(header, where)
    confidence = next((column for column, name in enumerate(header) if plain_name(name) == "relfcs"), None)
    rows: list[LabelRow] = []
    for line, fields in lines:
        fields = fields + [""] * (len(header) - len(fields))
        path, label = fields[path_column].replace("\\", "/").lstrip("./"), fields[label_column]
        class_name = canonical_name(label) if path else None
        if not path:
            builder.reject("", "bad_row", f"line {line}: no image path", row=line)
        elif not label:
            builder.reject(path, "label_missing", f"line {line}: no label", row=line)
        elif class_name is None:
            builder.reject(path, "label_invalid", f"label {label!r}", row=line)
        extra = _confidence(fields[confidence]) if confidence is not None else None
        rows.append(LabelRow(line=line, path=path, label=label, class_name=class_name, extra=extra))
    stop_if_most_labels_invalid(builder.rejects, where, len(lines), f"class names such as {', '.join(AFFECTNET_8).lower()}")
    return rows


class _Reader:
    """The state of one scan: what is on the disk, which of it a row has named, and what was made of it."""

    def __init__(self, store: Store, detection: Detection, options: ScanOptions) -> None:
        self.builder = ScanBuilder()
        self.rules = ClassRules(self.builder, options, source=detection.source)
        self._store, self._csv = store, detection.files["labels"]
        self._has_splits = detection.layout == "AN-kaggle-B"
        self._trees = {split: list_class_tree(store, detection.splits[split]) for split in SPLIT_ORDER if split in detection.splits}
        self._index = {split: NameIndex(path for _, path in tree.images()) for split, tree in self._trees.items()}
        self._named: set[str] = set()
        self._keys = KeyMaker()

    def read_rows(self) -> None:
        """Accept, skip or reject every row of the label file."""
        where = self._store.path(self._csv)
        rows = read_labels(self._store, self._csv, self.builder)
        # A label file inside a split folder means its own images first; one beside them leaves open which split a row means.
        inside = [split for split, tree in self._trees.items() if tree.folder and self._csv.startswith(f"{tree.folder}/")]
        found: dict[str, list[tuple[LabelRow, str]]] = {split: [] for split in self._trees}
        num_found = num_several = 0
        for row in rows:
            places = next(filter(None, (self._places(path, inside) or self._places(path, self._trees) for path in _tails(row.path))), {})
            num_found += bool(places)
            for names in places.values():
                self._named.update(names)
            if row.class_name is None:
                continue
            num_several += len(places) > 1
            if not places:
                self.builder.reject(row.path, "image_missing", "in no class folder", row=row.line)
            for split, names in places.items():
                if len(names) > 1:
                    self.builder.reject(row.path, "image_ambiguous", f"can be {' or '.join(names)}", split=split, row=row.line)
                else:
                    found[split].append((row, names[0]))
        stop_if_no_image_found(where, len(rows), num_found, [row.path for row in rows[:3]])
        for split, pairs in found.items():
            self._accept_rows(split, pairs)
        if num_several:
            self.builder.notes.append(f"{num_several:,} rows name an image of several splits; each of these images takes the row's label.")

    def _places(self, path: str, splits: Iterable[str]) -> dict[str, list[str]]:
        return {split: names for split in splits if (names := self._find(split, path))}

    def _find(self, split: str, path: str) -> list[str]:
        """Return the images of a split that a row's path can mean: below the split folder, or below the root if it names the split."""
        return self._index[split].find(below(self._trees[split].folder, path)) or self._index[split].find(path)

    def _accept_rows(self, split: str, pairs: list[tuple[LabelRow, str]]) -> None:
        times: Counter[str] = Counter()
        for row, path in pairs:
            class_name = str(row.class_name)
            if not path.endswith(row.path):
                self.builder.repairs["name_matched"] += 1
            if canonical_name(_folder_of(path)) != class_name:
                self.builder.repairs["folder_differs"] += 1
            times[path] += 1
            self._accept(path, split, class_name, row.label, extra=row.extra, repeat=row.line if times[path] > 1 else None)
        if repeated := sum(count > 1 for count in times.values()):
            self.builder.notes.append(
                f"{split}: {repeated:,} images stand in several rows; every row is kept, later ones with the line number in the key."
            )

    def read_rest(self) -> None:
        """Decide on the images that no row names, and warn of empty class folders and missing splits.

        Raises:
            LayoutError: If such an image's folder is no known class.
        """
        for split, tree in self._trees.items():
            for folder, path in tree.images():
                class_name = canonical_name(folder)
                if path in self._named:
                    continue
                if not self._has_splits or not folder:
                    self.builder.reject(path, "label_missing", f"not in {self._csv}", split=split)
                elif class_name is None:
                    raise LayoutError(
                        f"{self._store.path(below(tree.folder, folder))}: class folder {folder!r} found with images that {self._csv} does "
                        f"not name, expected known names ({KNOWN_ALIASES}); rename it or move it away"
                    )
                else:
                    self.builder.repairs["label_from_folder"] += 1
                    self._accept(path, split, class_name, folder)
            self.builder.notes += tree.notes
            empty = [name for name, paths in tree.by_class.items() if not paths and canonical_name(name)]
            self.builder.notes += [f"Warning: class folder {below(tree.folder, name)} is empty." for name in empty]
        if self._has_splits:
            self.builder.notes.append(PART_OF_AFFECTNET)
            self.builder.notes += [f"Warning: there is no {split} folder." for split in ("train", "test") if split not in self._trees]

    def _accept(
        self, path: str, split: str, class_name: str, source_label: str, *, extra: dict[str, Any] | None = None, repeat: int | None = None
    ) -> None:
        label = self.rules.label(class_name, split)
        if label is None:
            return
        key = f"{split}_{stem_of(self._trees[split].inside(path))}" + (f"_row{repeat}" if repeat else "")
        self.builder.accept(key=self._keys.make(key), path=path, split=split, label=label, source_label=source_label, extra=extra)


def _tails(path: str) -> Iterator[str]:
    """Yield a row's path, then without the folders above the class folder that its writer had, but never without the split it names."""
    while path:
        yield path
        first, _, path = path.partition("/")
        if split_of(first) or "/" not in path:
            return


def _folder_of(path: str) -> str:
    return path.rsplit("/", 2)[-2] if "/" in path else ""


def _confidence(text: str) -> dict[str, Any] | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return {"relFCs": value} if math.isfinite(value) else None
