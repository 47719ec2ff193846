"""Read the Kaggle copies of AffectNet: class folders with one ``labels.csv``, which is right where the folder is not.

In: AN-kaggle-A (no splits) or B (Train and Test). Out: a :class:`Scan`. Lists each folder once; opens no image.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_8, KNOWN_NAMES, canonical_name, name_key
from ferdata.sources.affectnet.totals import PART_OF_AFFECTNET
from ferdata.sources.class_folders.class_tree import list_class_tree
from ferdata.sources.class_folders.own_classes import PARTS
from ferdata.sources.files.listing import below, name_of, split_of
from ferdata.sources.files.matching import NameIndex, floats, in_order, stem_of
from ferdata.sources.files.text_tables import find_columns, plain_name, read_table
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, judge_image, rejected
from ferdata.store import Store

__all__ = ["scan"]

_Extra = dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _LabelRow:
    """One row of ``labels.csv``: line number from 1, image path, label as written, its verdict, other columns."""

    line: int
    path: str
    label: str
    verdict: Verdict
    extra: _Extra


def scan(store: Store, detection: Detection, options: ScanOptions, *, names_all: bool) -> Scan:
    """Sort every row and image of the tree into accepted, skipped or rejected.

    Args:
        store: Where the tree lives.
        detection: Its split folders and its label file.
        options: What the user asks for.
        names_all: An image without a row is rejected; else it takes its class from its folder.

    Raises:
        LayoutError: If the CSV has not its columns, or a folder that must give the class is no known class.
        SourceError: If most labels are not classes, or no row finds its image.
    """
    reader = _Reader(store, detection, options)
    reader.read_rows()
    reader.read_rest(names_all=names_all)
    if not names_all:
        reader.builder.notes.append(PART_OF_AFFECTNET)
        reader.builder.note_missing_folders()
    return reader.builder.finish()


class _Reader:
    """The state of one scan: what is on the disk, which of it a row has named, and what was made of it."""

    def __init__(self, store: Store, detection: Detection, options: ScanOptions) -> None:
        self.builder = LayoutScan(store, detection, options)
        self._store, self._csv = store, detection.files["labels"]
        self._trees = {split: list_class_tree(store, folder) for split, folder in in_order(detection.splits).items()}
        self._index = {split: NameIndex(path for _, path in tree.images()) for split, tree in self._trees.items()}
        self._by_name: dict[str, dict[str, list[str]]] = {}
        self._named: set[str] = set()

    def read_rows(self) -> None:
        """Accept, skip or reject every row of the label file.

        Raises:
            LayoutError: If the columns of image and label are not there, once each.
            SourceError: If the file is no table, most labels are not classes, or no row finds its image.
        """
        rows = self._labels()
        # A label file in a split folder means its own images first; one beside them leaves open which split it means.
        inside = [
            split for split, tree in self._trees.items() if tree.folder and self._csv.startswith(f"{tree.folder}/")
        ]
        found: dict[str, list[tuple[_LabelRow, str]]] = {split: [] for split in self._trees}
        num_found = num_several = 0
        for row in rows:
            places: dict[str, list[str]] = {}
            for path in _tails(row.path):
                places = places or self._places(path, inside) or self._places(path, self._trees)
            num_found += bool(places)
            for names in places.values():
                self._named.update(names)
            if row.verdict.outcome == "rejected":
                continue
            num_several += len(places) > 1
            for split, names in places.items() or [("", [])]:
                problem = judge_image(names, "in no class folder")
                if problem is None:
                    found[split].append((row, names[0]))
                else:
                    self.builder.passes(problem, row.path, split=split, row=row.line)
        self.builder.stop_if_no_image_found(len(rows), num_found, [row.path for row in rows[:3]], table=self._csv)
        for split, pairs in found.items():
            self._accept_rows(split, pairs)
        if num_several:
            self.builder.notes.append(
                f"{num_several:,} rows name an image of several splits; each of these images takes the row's label."
            )

    def _labels(self) -> list[_LabelRow]:
        header, lines = read_table(self._store, self._csv)
        path_column, label_column = find_columns(header, self._store.path(self._csv))
        confidence = next((column for column, name in enumerate(header) if plain_name(name) == "relfcs"), None)
        rows: list[_LabelRow] = []
        for line, fields in lines:
            fields = fields + [""] * (len(header) - len(fields))
            path, label = fields[path_column].replace("\\", "/").lstrip("./"), fields[label_column]
            if not path:
                verdict = rejected("bad_row", f"line {line}: no image path")
            elif not label:
                verdict = rejected("label_missing", f"line {line}: no label")
            else:
                verdict = self.builder.judge_name(canonical_name(label), label)
            if verdict.outcome == "rejected":
                self.builder.passes(verdict, path, split="", row=line)
            extra = _confidence(fields[confidence]) if confidence is not None else None
            rows.append(_LabelRow(line=line, path=path, label=label, verdict=verdict, extra=extra))
        expected = f"class names such as {', '.join(AFFECTNET_8).lower()}"
        self.builder.stop_if_most_labels_invalid(len(lines), expected, table=self._csv)
        return rows

    def _places(self, path: str, splits: Iterable[str]) -> dict[str, list[str]]:
        return {split: names for split in splits if (names := self._find(split, path))}

    def _find(self, split: str, path: str) -> list[str]:
        """Return the images of a split that a row's path can mean: from the split folder, from the root, or by name."""
        found = self._index[split].find(below(self._trees[split].folder, path)) or self._index[split].find(path)
        return found or ([] if "/" in path else self._named_like(split).get(path, []))

    def _named_like(self, split: str) -> dict[str, list[str]]:
        """Return file name -> images of a split, for rows without a folder; listed when the first of them comes."""
        if split not in self._by_name:
            names = self._by_name[split] = {}
            for _, path in self._trees[split].images():
                names.setdefault(name_of(path), []).append(path)
        return self._by_name[split]

    def _accept_rows(self, split: str, pairs: list[tuple[_LabelRow, str]]) -> None:
        times: Counter[str] = Counter()
        for row, path in pairs:
            self.builder.repairs["name_matched"] += not path.endswith(row.path)
            self.builder.repairs["folder_differs"] += _class_of_folder(path) not in (None, row.verdict.class_name)
            times[path] += 1
            mark = f"_row{row.line}" if times[path] > 1 else ""
            self._accept(path, split, row.verdict, row.label, extra=row.extra, mark=mark)
        self.builder.note_repeats(split, times)

    def read_rest(self, *, names_all: bool) -> None:
        """Decide on the images that no row names, and warn of empty class folders.

        Raises:
            LayoutError: If such an image's folder must give its class and is none that is known.
        """
        for split, tree in self._trees.items():
            for folder, path in tree.images():
                class_name = canonical_name(folder)
                if path in self._named:
                    continue
                if names_all or name_key(folder) in ("", *PARTS):
                    self.builder.reject(path, "label_missing", f"not in {self._csv}", split=split)
                elif class_name is None:
                    raise LayoutError(
                        f"{self._store.path(below(tree.folder, folder))}: "
                        f"class folder {folder!r} found with images that {self._csv} does not name, "
                        f"expected known names ({KNOWN_NAMES}); rename it or move it away"
                    )
                else:
                    self.builder.repairs["label_from_folder"] += 1
                    self._accept(path, split, self.builder.judge_name(class_name, folder), folder)
            self.builder.notes += tree.notes
            empty = [name for name, paths in tree.by_class.items() if not paths and canonical_name(name)]
            self.builder.notes += [f"Warning: class folder {below(tree.folder, name)} is empty." for name in empty]

    def _accept(
        self, path: str, split: str, verdict: Verdict, label: str, *, extra: _Extra = None, mark: str = ""
    ) -> None:
        if self.builder.passes(verdict, path, split=split):
            key = self.builder.keys.make(f"{split}_{stem_of(self._trees[split].inside(path))}{mark}")
            self.builder.accept(key, path, split, verdict.label, label, extra=extra)


def _tails(path: str) -> Iterator[str]:
    """Yield a row's path, then without the folders above the class folder, but never without the split it names."""
    while path:
        yield path
        first, _, path = path.partition("/")
        if split_of(first) or "/" not in path:
            return


def _class_of_folder(path: str) -> str | None:
    return canonical_name(path.rsplit("/", 2)[-2]) if "/" in path else None


def _confidence(text: str) -> _Extra:
    value = floats([text])
    return {"relFCs": value[0]} if value else None
