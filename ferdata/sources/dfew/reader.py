"""Read DFEW: the lists of one fold, and the frames of the clips they name.

In: ``set_1.csv`` (video_name, label) of train and of test, a folder of frames a clip, and a table of votes. Out: a
:class:`Scan`. Costs one listing a clip, and about 15 µs a frame; no image is opened.
"""

from collections import Counter

from ferdata.errors import LayoutError
from ferdata.labels import DFEW, canonical_name
from ferdata.sources.files.frames import evenly_spaced, frame_number
from ferdata.sources.files.listing import below, iter_names, list_folder, shorten
from ferdata.sources.files.matching import floats, whole_number
from ferdata.sources.files.text_tables import plain_name, read_table
from ferdata.sources.files.xlsx import read_sheet
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, rejected
from ferdata.store import Store

__all__ = ["scan"]

_SPLITS = ("train", "test")
_CLIP_COLUMNS = frozenset(("order", "clipname", "videoname"))


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row of the lists into accepted, skipped or rejected, and its frames into accepted or skipped.

    Raises:
        LayoutError: If there is no list of the fold.
        SourceError: If no row finds its clip, or most labels are not classes.
    """
    fold = options.fold or 1
    if not any(f"{split} {fold}" in detection.files for split in _SPLITS):
        raise LayoutError(
            f"{store.path()}: no list of fold {fold} found, expected one of {', '.join(sorted(detection.files))}; "
            "name another fold, or unpack EmoLabel_DataSplit"
        )
    builder = LayoutScan(store, detection, options)
    clips, votes = _clips(store, detection), _votes(store, detection, builder)
    usable: Counter[tuple[str, str]] = Counter()
    num_rows = num_found = 0
    for split in (split for split in _SPLITS if f"{split} {fold}" in detection.files):
        table = detection.files[f"{split} {fold}"]
        num_before = len(builder.rejects)
        rows = _rows(store, table)
        for line, name, written in rows:
            clip = whole_number(name)
            verdict = _judge(written, builder)
            if verdict.outcome == "accepted" and clip not in clips:
                verdict = rejected("image_missing", "no folder of its frames")
            num_found += clip in clips
            if builder.passes(verdict, name, split=split, row=line):
                soft = builder.soften(votes.get(clip or 0), DFEW)
                usable[split, verdict.class_name] += _add(
                    clips[clip or 0], split, verdict, written, soft, options, builder
                )
        num_rows += len(rows)
        builder.stop_if_most_labels_invalid(
            len(rows),
            "1 Happy, 2 Sad, 3 Neutral, 4 Angry, 5 Surprise, 6 Disgust, 7 Fear",
            table=table,
            since=num_before,
        )
    looked_for = [f"{path}/00001/" for path in detection.folders.values()]
    builder.stop_if_no_image_found(num_rows, num_found, looked_for)
    builder.notes.append(f"Fold {fold} of {detection.layout.folds} is read; fold= names another.")
    return builder.finish(units=usable, releases=detection.layout.releases[fold - 1 : fold])


def _clips(store: Store, detection: Detection) -> dict[int, str]:
    """Return clip -> the folder of its frames; where several places have it, the first."""
    found: dict[int, str] = {}
    for place in detection.folders.values():
        for name, is_dir in iter_names(store, place):
            if is_dir and name.isdecimal():
                found.setdefault(int(name), below(place, name))
    return found


def _votes(store: Store, detection: Detection, builder: LayoutScan) -> dict[int, list[float]]:
    """Return clip -> the votes of ten people, in the order of the ids; none where there is no such table."""
    if (path := detection.files.get("votes")) is None:
        return {}
    header, *rows = read_sheet(store, path) or [[]]
    classes = [canonical_name(cell.strip().lstrip("1234567")) for cell in header]
    names = [plain_name(cell) for cell in header]
    clip = next((number for number, name in enumerate(names) if name in _CLIP_COLUMNS), None)
    if clip is None or any(classes.count(name) != 1 for name in DFEW):
        builder.notes.append(f"{path}: header {shorten(header)} is not that of DFEW's votes; there are no soft labels.")
        return {}
    columns = [classes.index(name) for name in DFEW]
    found: dict[int, list[float]] = {}
    for row in (row for row in rows if len(row) > max(clip, *columns)):
        number, votes = whole_number(row[clip].removesuffix(".mp4")), floats(row[column] for column in columns)
        if number is not None and votes is not None:
            found[number] = votes
    return found


def _rows(store: Store, path: str) -> list[tuple[int, str, str]]:
    """Return the line, the clip and the label of every row."""
    header, rows = read_table(store, path)
    columns = [plain_name(cell) for cell in header]
    label = columns.index("label")
    clip = int(label == 0)
    return [(line, fields[clip], fields[label]) for line, fields in rows if len(fields) > max(clip, label)]


def _judge(written: str, builder: LayoutScan) -> Verdict:
    number = whole_number(written)
    if number == 0:
        return Verdict("skipped", "not_emotion")  # clips of mixed emotions, which the complete list has
    if number is None:
        return builder.judge_name(canonical_name(written), written)
    return builder.judge_id(written, DFEW, first=1)


def _add(
    folder: str,
    split: str,
    verdict: Verdict,
    written: str,
    soft: list[float] | None,
    options: ScanOptions,
    builder: LayoutScan,
) -> bool:
    """Accept the frames of a clip that are asked for; tell whether there are any."""
    here = list_folder(builder.store, folder)
    numbers = {name: frame_number(name) for name in here.images}
    frames = [name for name in here.images if numbers[name] is not None]
    strange = (below(folder, name) for name in here.images if numbers[name] is None)
    builder.reject_unlabelled(strange, "not a name like 00001_00001.jpg", split=split)
    builder.ignore((), here.others)
    kept = evenly_spaced(frames, options.frames)
    builder.skipped["frames"] += len(frames) - len(kept)
    clip = folder.rpartition("/")[2]
    for name in kept:
        builder.accept(
            f"{clip}_{numbers[name]:05d}", below(folder, name), split, verdict.label, written,
            sequence=clip, soft_labels=soft, extra={"frame": numbers[name]},
        )  # fmt: skip
    if not frames:
        builder.reject(folder, "image_missing", "no frame in the clip's folder", split=split)
    return bool(frames)
