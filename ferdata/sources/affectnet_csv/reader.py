"""Read AffectNet's full release of 2017 (AN-csv): photographs, and CSV files with face box, landmarks, class, valence and arousal.

In: CSV files of 9 columns, or 144 where the landmarks are split, and an image folder. Out: a :class:`Scan`. The CSV is streamed and
each image folder is listed once; no image is opened. A row with landmarks costs about 30 µs of one core.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_ALL
from ferdata.sources.affectnet.values import ClassRule, clean_score
from ferdata.sources.affectnet_csv.rows import iter_official_rows, landmark_text, parse_box, parse_landmarks
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import NameIndex, below, is_image_at, iter_names, natural_key
from ferdata.sources.files.matching import stop_if_most_labels_invalid, stop_if_no_image_found
from ferdata.sources.scan import Scan, ScanBuilder, ScanOptions
from ferdata.sources.totals import finish_scan
from ferdata.sources.unread import ignored_files, ignored_images
from ferdata.store import Store

__all__ = ["ImageFolder", "scan"]

_HASH_CHARS = 32
_ROWS_AT_ONCE = 1024
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_-]+")
_EMPTY = frozenset(("", "NULL", "null", "Null", "None"))


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row and image of an AN-csv tree into accepted, skipped or rejected.

    The automatically annotated part is read into train when the options ask for it, or when there is nothing else.

    Raises:
        LayoutError: If the automatically annotated part is asked for and is not there.
        SourceError: If no row finds its image, most labels are no AffectNet ids, or a file is no CSV.
    """
    reader = _Reader(store, detection, options)
    automatic = detection.files.get("automatic")
    if options.automatic and automatic is None:
        raise LayoutError(
            f"{store}: no automatically annotated part found, expected automatically_annotated.csv and its images; "
            f"unpack it or do not ask for it"
        )
    manual = {role: path for role, path in detection.files.items() if role != "automatic"}
    if manual:
        images = ImageFolder(store, detection.folders["manual"])
        for split, path in manual.items():
            reader.read_file(path, split, split, images)
        reader.reject_unlabelled(images, ", ".join(manual.values()))
    if automatic is not None and (options.automatic or not manual):
        images = ImageFolder(store, detection.folders["automatic"])
        reader.read_file(automatic, "auto", "train", images)
        reader.reject_unlabelled(images, automatic)
    elif automatic is not None:
        reader.builder.notes.append(f"The automatically annotated part ({automatic}) was left out: it was not asked for.")
    reader.report_repeats()
    apart = {"AN-csv automatic": reader.automatic} if reader.automatic else None
    return finish_scan(reader.builder, detection, reader.rule.classes, left_out=reader.rule.left_out, apart=apart)


class ImageFolder:
    """The images of an AN-csv image folder, as ``<n>/<hash>.<ext>`` or flattened; each folder is listed once, when it is first needed.

    Attributes:
        home: The folder, relative to the store's root.
        others: Paths of the files that are no images, of the folders that have been listed.
    """

    def __init__(self, store: Store, home: str) -> None:
        self.home = home
        self.others: list[str] = []
        self._store = store
        self._indices: dict[str, NameIndex] = {}
        self._used: dict[str, set[str]] = {}
        self._inner: list[str] = []
        self._index("")
        self._folders = dict.fromkeys(name for name in self._inner if name.isdecimal())

    def find(self, written: str) -> list[str]:
        """Return what a path in the CSV can mean, relative to the root: one path, none, or several that differ in case."""
        folder, _, name = written.rpartition("/")
        if folder not in self._folders:
            folder = ""
        found = self._index(folder).find(name)
        self._used.setdefault(folder, set()).update(found)
        return [below(self.home, folder, match) for match in found]

    def unused(self) -> Iterator[str]:
        """Yield the images that no row has named, in natural order."""
        for folder in ("", *sorted(self._folders, key=natural_key)):
            used = self._used.get(folder, set())
            for name in sorted((name for name in self._index(folder) if name not in used), key=natural_key):
                yield below(self.home, folder, name)

    def other_folders(self) -> list[str]:
        """Return the folders that no path in the CSV can mean, of those that have been listed."""
        return [below(self.home, path) for path in self._inner if path not in self._folders]

    def _index(self, folder: str) -> NameIndex:
        if folder not in self._indices:
            names: list[str] = []
            for name, is_dir in iter_names(self._store, below(self.home, folder)):
                if is_dir:
                    self._inner.append(below(folder, name))
                elif is_image_at(self._store, below(self.home, folder), name):
                    names.append(name)
                else:
                    self.others.append(below(self.home, below(folder, name)))
            self._indices[folder] = NameIndex(names)
        return self._indices[folder]


@dataclass(frozen=True, slots=True)
class _Row:
    """Where a row stands: its image, its split, its number among the data rows from 0, and its line in the file from 1."""

    path: str
    split: str
    number: int
    line: int

    def reject(self, builder: ScanBuilder, reason: str, detail: str) -> None:
        """Record the row as one that cannot be used."""
        builder.reject(self.path, reason, detail, split=self.split, row=self.line)


class _Reader:
    """The state of one scan: its builder, its class rule and what has been counted."""

    def __init__(self, store: Store, detection: Detection, options: ScanOptions) -> None:
        self.builder = ScanBuilder()
        self.rule = ClassRule(options)
        self.automatic: Counter[tuple[str, str]] = Counter()
        self._store, self._needs_box = store, options.crop == "box"
        self._homes = tuple(detection.folders.values())
        self._num_rows = self._num_found = self._num_repeated = 0
        self._waiting: list[tuple[dict[str, Any], str]] = []

    def read_file(self, path: str, prefix: str, split: str, images: ImageFolder) -> None:
        """Read one CSV file; its rows get keys ``<prefix>_<row number>_<hash>``."""
        builder, rule = self.builder, self.rule
        num_rejects = len(builder.rejects)
        counts_before = Counter(rule.left_out)
        seen: set[str] = set()
        number = -1
        for number, (line, fields, problem) in enumerate(iter_official_rows(self._store, path)):
            written = fields[0].strip().replace("\\", "/")
            found = images.find(written)
            shown = found[0] if len(found) == 1 else below(images.home, written)
            row = _Row(shown, split, number, line)
            class_id = self._class_of(fields, row, problem)
            if class_id is None:
                continue
            position = rule.index(class_id)
            if position is None:
                rule.skip(builder, split, class_id)
                continue
            self._num_rows += 1
            self._num_found += bool(found)
            if len(found) != 1:
                reason, detail = ("image_ambiguous", f"can be {' or '.join(found)}") if found else ("image_missing", "no such image")
                row.reject(builder, reason, detail)
                continue
            box = parse_box(fields)
            if box is None:
                if self._needs_box:
                    row.reject(builder, "box_invalid", f"box {', '.join(fields[1:5])}")
                    continue
                builder.repairs["box_invalid"] += 1
            self._num_repeated += found[0] in seen
            seen.add(found[0])
            self._accept(fields, prefix, row, position, box)
            if prefix == "auto":
                self.automatic[split, AFFECTNET_ALL[class_id]] += 1
        self._flush()
        rejects = builder.rejects[num_rejects:]
        stop_if_most_labels_invalid(rejects, self._store.path(path), number + 1, rule.expected)
        if prefix == "auto":
            self.automatic.update(rule.left_out - counts_before)
        num_bad = sum(reject.reason == "bad_row" for reject in rejects)
        if num_bad > (prefix == "train"):
            builder.notes.append(f"Warning: {num_bad:,} bad rows in {path}; the released training.csv has one, the other files none.")

    def reject_unlabelled(self, images: ImageFolder, csv_files: str) -> None:
        """Reject the images that no row names.

        Raises:
            SourceError: If no row has found its image.
        """
        stop_if_no_image_found(self._store.path(), self._num_rows, self._num_found, [f"{images.home}/<n>/<hash>.jpg"])
        for path in images.unused():
            self.builder.reject(path, "label_missing", f"not in {csv_files}")
        others = [path for path in images.other_folders() if not any(f"{home}/".startswith(f"{path}/") for home in self._homes)]
        self.builder.notes += ignored_images(self._store, others, "AN-csv") + ignored_files(self._store, images.others)

    def report_repeats(self) -> None:
        """Say how many rows name a file again."""
        if self._num_repeated:
            self.builder.notes.append(
                f"{self._num_repeated:,} rows name a file that an earlier row of the split has named; every row is kept, "
                f"its number is in the key."
            )

    def _class_of(self, fields: Sequence[str], row: _Row, problem: str) -> int | None:
        """Return the official id of a row, or reject it."""
        if problem:
            row.reject(self.builder, "bad_row", problem)
            return None
        if not fields[0].strip() or any(field.strip() in _EMPTY for field in fields[1:5]):
            row.reject(self.builder, "bad_row", f"face_x, face_y, face_width, face_height are {', '.join(fields[1:5])}")
            return None
        class_id = self.rule.class_id(fields[-3])
        if class_id is None:
            row.reject(self.builder, "label_invalid", f"label {fields[-3]!r}")
        return class_id

    def _accept(self, fields: Sequence[str], prefix: str, row: _Row, position: int, box: tuple[float, ...] | None) -> None:
        name = row.path.rpartition("/")[2]
        if not fields[0].strip().endswith(name):
            self.builder.repairs["name_matched"] += 1
        valence, is_valence_invalid = clean_score(fields[-2])
        arousal, is_arousal_invalid = clean_score(fields[-1])
        if is_valence_invalid or is_arousal_invalid:
            self.builder.repairs["va_invalid"] += 1
        stem = _NOT_IN_KEY.sub("_", name.rpartition(".")[0])[:_HASH_CHARS]
        item = {
            "key": f"{prefix}_{row.number}_{stem}",
            "path": row.path,
            "split": row.split,
            "label": position,
            "source_label": fields[-3].strip(),
            "valence": valence,
            "arousal": arousal,
            "box": box,
        }
        self._waiting.append((item, landmark_text(fields)))
        if len(self._waiting) == _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Accept the rows that wait; their landmarks are parsed together, which is five times faster."""
        landmarks = parse_landmarks([text for _, text in self._waiting])
        for (item, _), points in zip(self._waiting, landmarks, strict=True):
            self.builder.accept(**item, landmarks=cast(Sequence[float] | None, points))
        self.builder.repairs.update({"landmarks_missing": missing} if (missing := sum(points is None for points in landmarks)) else {})
        self._waiting.clear()
