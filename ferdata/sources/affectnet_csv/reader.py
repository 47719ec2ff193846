"""Read AffectNet's full release of 2017 (AN-csv): photographs, and CSV files with box, landmarks, class and scores.

In: CSV files of 9 columns, or 144 where the landmarks are split, and an image folder. Out: a :class:`Scan`. The CSV is
streamed and each image folder is listed once; no image is opened. A row with landmarks costs about 30 µs of one core.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from ferdata.errors import LayoutError
from ferdata.sources.affectnet.values import clean_score
from ferdata.sources.affectnet_csv.rows import iter_official_rows, landmark_text, parse_box, parse_landmarks
from ferdata.sources.files.listing import below, name_of, natural_key, sort_names
from ferdata.sources.files.matching import NameIndex
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import AFFECTNET_IDS, LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, judge_image, rejected
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
        reader.builder.is_automatic = True
        reader.read_file(automatic, "auto", "train", images)
        reader.reject_unlabelled(images, automatic)
    elif automatic is not None:
        reader.builder.notes.append(
            f"The automatically annotated part ({automatic}) was left out: it was not asked for."
        )
    return reader.finish()


class ImageFolder:
    """The images of an AN-csv image folder, as ``<n>/<hash>.<ext>`` or flattened; each folder is listed once.

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
        """Return what a path in the CSV can mean, from the root: one path, none, or several that differ in case."""
        folder, _, name = written.rpartition("/")
        if folder not in self._folders:
            folder = ""
        found = self._index(folder).find(name)
        self._used.setdefault(folder, set()).update(found)
        return [below(self.home, folder, match) for match in found]

    def unused(self) -> Iterator[str]:
        """Yield the images that no row has named, in natural order."""
        for folder in ("", *sorted(self._folders, key=natural_key)):
            for name in self._index(folder).rest(self._used.get(folder, ())):
                yield below(self.home, folder, name)

    def other_folders(self) -> list[str]:
        """Return the folders that no path in the CSV can mean, of those that have been listed."""
        return [below(self.home, path) for path in self._inner if path not in self._folders]

    def _index(self, folder: str) -> NameIndex:
        if folder not in self._indices:
            dirs, images, others = sort_names(self._store, below(self.home, folder))
            self._inner += [below(folder, name) for name in dirs]
            self.others += [below(self.home, folder, name) for name in others]
            self._indices[folder] = NameIndex(images)
        return self._indices[folder]


class _Reader:
    """The state of one scan: its builder and what has been counted."""

    def __init__(self, store: Store, detection: Detection, options: ScanOptions) -> None:
        self.builder = LayoutScan(store, detection, options)
        self._needs_box = options.crop == "box"
        self._homes = tuple(detection.folders.values())
        self._num_rows = self._num_found = self._num_repeated = 0
        self._waiting: list[tuple[tuple[str, str, str, int, str], dict[str, Any], str]] = []

    def read_file(self, path: str, prefix: str, split: str, images: ImageFolder) -> None:
        """Read one CSV file; its rows get keys ``<prefix>_<row number>_<hash>``."""
        builder = self.builder
        num_rejects = len(builder.rejects)
        seen: set[str] = set()
        number = -1
        for number, (line, fields, problem) in enumerate(iter_official_rows(builder.store, path)):
            written = fields[0].strip().replace("\\", "/")
            found = images.find(written)
            box = None if problem else parse_box(fields)
            verdict = self._judge(fields, problem, found, box)
            shown = found[0] if len(found) == 1 else below(images.home, written)
            if builder.passes(verdict, shown, split=split, row=line):
                self._num_repeated += shown in seen
                seen.add(shown)
                self._accept(fields, f"{prefix}_{number}", shown, split, verdict.label, box)
        self._flush()
        builder.stop_if_most_labels_invalid(number + 1, AFFECTNET_IDS, table=path, since=num_rejects)
        num_bad = sum(reject.reason == "bad_row" for reject in builder.rejects[num_rejects:])
        if num_bad > (prefix == "train"):
            builder.notes.append(
                f"Warning: {num_bad:,} bad rows in {path}; the released training.csv has one, the other files none."
            )

    def reject_unlabelled(self, images: ImageFolder, csv_files: str) -> None:
        """Reject the images that no row names.

        Raises:
            SourceError: If no row has found its image.
        """
        self.builder.stop_if_no_image_found(self._num_rows, self._num_found, [f"{images.home}/<n>/<hash>.jpg"])
        self.builder.reject_unlabelled(images.unused(), f"not in {csv_files}")
        others = (f"{path}/" for path in images.other_folders())
        apart = [path[:-1] for path in others if not any(f"{home}/".startswith(path) for home in self._homes)]
        self.builder.ignore(apart, images.others)

    def finish(self) -> Scan:
        """Return the scan, with a note on how many rows name a file again."""
        if self._num_repeated:
            self.builder.notes.append(
                f"{self._num_repeated:,} rows name a file that an earlier row of the split has named; "
                "every row is kept, its number is in the key."
            )
        return self.builder.finish()

    def _judge(
        self, fields: Sequence[str], problem: str, found: Sequence[str], box: tuple[float, ...] | None
    ) -> Verdict:
        if problem:
            return rejected("bad_row", problem)
        if not fields[0].strip() or any(field.strip() in _EMPTY for field in fields[1:5]):
            return rejected("bad_row", f"face_x, face_y, face_width, face_height are {', '.join(fields[1:5])}")
        verdict = self.builder.judge_id(fields[-3])
        if verdict.outcome != "accepted":
            return verdict
        self._num_rows += 1
        self._num_found += bool(found)
        if box is None and self._needs_box:
            verdict = rejected("box_invalid", f"box {', '.join(fields[1:5])}")
        return judge_image(found, "no such image") or verdict

    def _accept(
        self, fields: Sequence[str], key: str, path: str, split: str, label: int, box: tuple[float, ...] | None
    ) -> None:
        name = name_of(path)
        valence, is_valence_invalid = clean_score(fields[-2])
        arousal, is_arousal_invalid = clean_score(fields[-1])
        self.builder.repairs["name_matched"] += not fields[0].strip().endswith(name)
        self.builder.repairs["va_invalid"] += is_valence_invalid or is_arousal_invalid
        self.builder.repairs["box_invalid"] += box is None
        stem = _NOT_IN_KEY.sub("_", name.rpartition(".")[0])[:_HASH_CHARS]
        values = {"valence": valence, "arousal": arousal, "box": box}
        self._waiting.append(((f"{key}_{stem}", path, split, label, fields[-3].strip()), values, landmark_text(fields)))
        if len(self._waiting) == _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Accept the rows that wait; their landmarks are parsed together, which is five times faster."""
        landmarks = parse_landmarks([text for _, _, text in self._waiting])
        for (item, values, _), points in zip(self._waiting, landmarks, strict=True):
            self.builder.accept(*item, **values, landmarks=cast(Sequence[float] | None, points))
        self.builder.repairs["landmarks_missing"] += sum(points is None for points in landmarks)
        self._waiting.clear()
