"""Read Aff-Wild2: line after line of a video's text files, with the crop of the frame that it is about.

In: ``Train_Set/<video>.txt``, whose first line names columns and whose line n after it is about frame n, and
``cropped_aligned/<video>/0000n.jpg``. Out: a :class:`Scan`. Costs one listing and a read of one or two texts a video,
and about 25 µs and 300 bytes a frame; no image is opened.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ferdata.labels import canonical_name, union_classes
from ferdata.shown import counted
from ferdata.sources.files.frames import evenly_spaced, frame_number
from ferdata.sources.files.listing import below, iter_names, list_folder, natural_key, shorten, sort_names
from ferdata.sources.files.matching import KeyMaker, floats, stem_of, whole_number
from ferdata.sources.files.text_tables import iter_rows, read_head
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict
from ferdata.store import Store

__all__ = ["UNLABELLED", "scan"]

UNLABELLED = "Unlabelled"
"""Class of frames that have valence and arousal and no expression."""

_NO_EXPRESSION = -1
_NO_SCORE = -5.0
_MAX_NAME_CHARS = 70
_SIDE = re.compile(r".*_(left|right)", re.IGNORECASE)
Score = tuple[float, float]


@dataclass(slots=True)
class _Video:
    """The texts of one video: its split, and what is said of its frames' expressions, and of valence and arousal."""

    split: str
    expression: str | None = None
    valence: str | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """What the texts say of one frame that is accepted if it has a crop."""

    number: int
    verdict: Verdict
    written: str
    score: Score | None


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every line into accepted, skipped or rejected.

    A frame is skipped as ``not_emotion`` if its expression is -1, as ``unlabelled`` if it has none, as ``no_crop`` if
    no face was found in it, and as ``frames`` if ``frames`` does not ask for it.

    Raises:
        SourceError: If no line finds its crop, or most expressions are not classes.
    """
    videos, notes = _videos(store, detection)
    headers = [_class_names(store, video.expression) for video in videos.values() if video.expression]
    classes = union_classes(*dict.fromkeys(headers))
    if not classes or options.keep_non_emotion:
        classes = (*classes, UNLABELLED)
    builder = LayoutScan(store, detection, options, classes=classes)
    builder.notes += notes
    places = _places(store, detection, videos, builder)
    keys, frame_folders = KeyMaker(), _frame_folders(detection)
    num_lines = num_crops = 0
    for name, video in videos.items():
        if name not in places:
            builder.reject(below(frame_folders[0], name), "image_missing", "no such folder", split=video.split)
            continue
        key = keys.make(name[:_MAX_NAME_CHARS])
        lines, crops = _add(name, video, below(places[name], name), key, options.frames, builder)
        num_lines, num_crops = num_lines + lines, num_crops + crops
    builder.stop_if_no_image_found(num_lines, num_crops, [f"{folder}/<video>/00001.jpg" for folder in frame_folders])
    return builder.finish()


def _add(
    name: str, video: _Video, folder: str, key: str, num_frames: int | None, builder: LayoutScan
) -> tuple[int, int]:
    """Sort the lines of one video, whose crops are in ``folder``; return how many lines and crops there are."""
    crops = _crops(builder.store, folder, video.split, builder)
    accepted, num_lines, num_before = [], 0, len(builder.rejects)
    for line in _lines(video, builder):
        num_lines = line.number
        if line.verdict.outcome == "accepted":
            accepted.append(line)
    if video.expression:
        expected = "the columns that the first line names, from 0, or -1"
        builder.stop_if_most_labels_invalid(num_lines, expected, table=video.expression, since=num_before)
    behind = (below(folder, crops[number]) for number in sorted(crops) if number > num_lines)
    builder.reject_unlabelled(behind, f"the texts of {name} end with frame {num_lines:,}", split=video.split)
    shown = [line for line in accepted if line.number in crops]
    builder.skipped["no_crop"] += len(accepted) - len(shown)
    kept = evenly_spaced(shown, num_frames)
    builder.skipped["frames"] += len(shown) - len(kept)
    side = _SIDE.fullmatch(name)
    face = {"face": side[1].lower()} if side else {}
    for line in kept:
        valence, arousal = line.score or (None, None)
        builder.accept(
            f"{key}_{line.number:05d}",
            below(folder, crops[line.number]),
            video.split,
            line.verdict.label,
            line.written,
            valence=valence,
            arousal=arousal,
            sequence=name,
            extra={"frame": line.number, **face},
        )
    return num_lines, len(crops)


def _frame_folders(detection: Detection) -> list[str]:
    return [path for role, path in detection.folders.items() if role.startswith("frames")]


def _videos(store: Store, detection: Detection) -> tuple[Mapping[str, _Video], list[str]]:
    """Return the videos that have texts, train first, and a note where the two kinds of texts disagree on the split."""
    videos: dict[str, _Video] = {}
    moved: list[str] = []
    for kind in ("expression", "valence"):
        for split in ("train", "val"):
            if (folder := detection.folders.get(f"{kind} {split}")) is None:
                continue
            for path in list_folder(store, folder).others:
                name = stem_of(path.rpartition("/")[2])
                if not path.lower().endswith(".txt"):
                    continue
                video = videos.setdefault(name, _Video(split))
                setattr(video, kind, path)
                if video.split != split:
                    moved.append(name)
    notes = []
    if moved:
        notes.append(
            f"Warning: {counted(len(moved), 'video is', 'videos are')} in train and in val; their expressions "
            f"decide, else train: {shorten(moved)}."
        )
    ordered = sorted(videos, key=lambda name: (videos[name].split == "val", natural_key(name)))
    return {name: videos[name] for name in ordered}, notes


def _places(store: Store, detection: Detection, videos: Mapping[str, _Video], builder: LayoutScan) -> dict[str, str]:
    """Return the folder that each video's folder lies in; the first that has it, aligned crops before others."""
    places: dict[str, str] = {}
    unread: set[str] = set()
    for folder in _frame_folders(detection):
        for name, is_dir in iter_names(store, folder):
            if is_dir and name in videos:
                places.setdefault(name, folder)
            elif is_dir:
                unread.add(name)
    if unread := unread - {part for path in detection.folders.values() for part in path.split("/")}:
        builder.notes.append(
            f"Ignored {len(unread):,} folders of frames without texts, as those of the test set are: "
            f"{shorten(sorted(unread, key=natural_key))}."
        )
    return places


def _crops(store: Store, folder: str, split: str, builder: LayoutScan) -> dict[int, str]:
    """Return frame number -> file name."""
    _, images, others = sort_names(store, folder)
    numbers = {name: frame_number(name) for name in images}
    strange = sorted(name for name, number in numbers.items() if number is None)
    builder.reject_unlabelled((below(folder, name) for name in strange), "not a name like 00001.jpg", split=split)
    builder.ignore((), (below(folder, name) for name in sorted(others)))
    return {number: name for name, number in numbers.items() if number is not None}


def _class_names(store: Store, path: str) -> tuple[str, ...]:
    """Return the classes by number that the first line of a text names."""
    return tuple(canonical_name(cell) or cell.strip() for cell in read_head(store, path).header)


def _lines(video: _Video, builder: LayoutScan) -> Iterator[_Line]:
    """Yield what is said of every frame of a video; what is skipped or rejected is counted."""
    written = _rows(builder.store, video.expression)
    scores = _rows(builder.store, video.valence)
    names = _class_names(builder.store, video.expression) if video.expression else ()
    judged: dict[str, Verdict] = {}
    for number in range(1, max((*written, *scores), default=0) + 1):
        text = ",".join(written.get(number, ()))
        score = _score(scores[number], builder) if number in scores else None
        if text not in judged:
            judged[text] = _judge(text, names, builder)
        verdict = judged[text]
        if verdict.outcome == "skipped" and score and UNLABELLED in builder.classes:
            verdict = builder.judge_name(UNLABELLED, text)
        builder.passes(verdict, video.expression or "", split=video.split, row=number + 1)
        yield _Line(number, verdict, text, score)


def _rows(store: Store, path: str | None) -> dict[int, list[str]]:
    """Return frame number -> the fields of its line; the line after the first is about frame 1."""
    rows = iter_rows(store, path, ",") if path else iter(())
    return {line - 1: [field.strip() for field in fields] for line, fields in rows if line > 1}


def _judge(text: str, names: tuple[str, ...], builder: LayoutScan) -> Verdict:
    if not text:
        return Verdict("skipped", "unlabelled")
    if whole_number(text) == _NO_EXPRESSION:
        return Verdict("skipped", "not_emotion")
    return builder.judge_id(text, names)


def _score(fields: list[str], builder: LayoutScan) -> Score | None:
    """Return valence and arousal, None where there are none: -5, or nothing that can be one."""
    numbers = floats(fields)
    if numbers is not None and len(numbers) == 2 and all(-1 <= number <= 1 for number in numbers):
        return numbers[0], numbers[1]
    builder.repairs["va_invalid"] += numbers is None or _NO_SCORE not in numbers
    return None
