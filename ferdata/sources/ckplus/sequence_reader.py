"""Read CK+: of every labelled sequence its first frame, which is neutral, and its last ones, which have the label.

In: ``S005/001/*.png`` and ``S005/001/*_emotion.txt``. Out: a :class:`Scan`, all of it train. Costs one listing of each
sequence's folders and one read of each label and of each accepted frame's landmarks; no image is opened.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from ferdata.labels import CKPLUS
from ferdata.parallel import iterate_in_threads
from ferdata.sources.ckplus.frames import FRAME_NAME, SUBJECT
from ferdata.sources.files.listing import Folder, below, list_folder
from ferdata.sources.files.matching import floats, stem_of
from ferdata.sources.files.text_tables import decode_text
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.rafdb.annotations import parse_points
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["PEAK_FRAMES", "scan_sequences"]

PEAK_FRAMES = 3
"""Last frames of a sequence that have its label, unless ``frames`` says otherwise."""

_FIRST = "first frame"
"""What stands for the label of a frame that the release leaves without one."""

_NUM_LANDMARKS = 68
_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Frame:
    """One accepted frame: its sequence's folder (``S005/001``), number and file, its class, and what the label says."""

    folder: str
    number: int
    file: str
    class_name: str
    written: str


def scan_sequences(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every frame into accepted, skipped or rejected.

    A sequence without a label is skipped as ``unlabelled``, a frame between the first and the last ones as ``onset``.
    """
    builder = LayoutScan(store, detection, options)
    images, emotions = detection.folders["images"], detection.folders["emotions"]
    top = list_folder(store, images)
    subjects = [name for name in top.dirs if SUBJECT.fullmatch(name)]
    num_peak = options.frames or PEAK_FRAMES
    accepted: list[_Frame] = []
    labelled: Counter[tuple[str, str]] = Counter()
    label_files = _label_files(store, emotions)
    for folder in _sequences(store, images, subjects):
        frames = _frames(list_folder(store, below(images, folder)), builder)
        files = label_files.pop(folder, [])
        if files and not frames:
            builder.reject(files[0], "image_missing", f"no frame in {below(images, folder)}", split="train")
        label = _label(files, len(frames), builder) if frames else None
        if label is not None:
            class_name, written = label
            labelled["train", class_name] += 1
            accepted += _chosen(folder, frames, class_name, written, num_peak, builder)
    for files in label_files.values():
        builder.reject(files[0], "image_missing", f"no such sequence in {images}", split="train")
    _accept(accepted, detection, options, builder)
    builder.ignore((below(images, name) for name in top.dirs if name not in subjects), top.others)
    builder.notes.append(
        f"Of each labelled sequence the first frame is neutral and the last {num_peak} have its label; "
        "frames= takes another number."
    )
    builder.note_people()
    return builder.finish(units=labelled)


def _frames(folder: Folder, builder: LayoutScan) -> dict[int, str]:
    """Return the number and file name of every frame of a sequence, in order."""
    found: dict[int, str] = {}
    for name in folder.images:
        if match := FRAME_NAME.fullmatch(stem_of(name)):
            found[int(match[3])] = name
        else:
            why = "not a name like S005_001_00000011.png"
            builder.reject_unlabelled([below(folder.path, name)], why, split="train")
    return dict(sorted(found.items()))


def _sequences(store: Store, top: str, subjects: Iterable[str]) -> list[str]:
    """Return ``S005/001`` of every sequence, relative to ``top``."""
    return [below(name, session) for name in subjects for session in list_folder(store, below(top, name)).dirs]


def _label_files(store: Store, emotions: str) -> dict[str, list[str]]:
    """Return sequence -> its label files; no entry for the many folders that are empty."""
    subjects = (name for name in list_folder(store, emotions).dirs if SUBJECT.fullmatch(name))
    found = {}
    for folder in _sequences(store, emotions, subjects):
        others = list_folder(store, below(emotions, folder)).others
        if files := [path for path in others if path.lower().endswith("_emotion.txt")]:
            found[folder] = files
    return found


def _label(files: Sequence[str], num_frames: int, builder: LayoutScan) -> tuple[str, str] | None:
    """Return the class of a sequence and its label as written, or None once its frames are dealt with."""
    if not files:
        builder.skipped["unlabelled"] += num_frames
        return None
    if len(files) > 1:
        builder.reject(files[0], "label_ambiguous", f"{' and '.join(files)} found", split="train")
        return None
    written = decode_text(builder.store.read_range(files[0], 0, _MAX_BYTES)).strip()
    numbers = floats([written]) or [-1.0]  # written as 3.0000000e+00
    is_known = numbers[0] in range(len(CKPLUS))
    class_name = CKPLUS[int(numbers[0])] if is_known else None
    verdict = builder.judge_name(class_name, written)
    if verdict.outcome == "skipped":
        builder.skipped[verdict.reason] += num_frames
        return None
    return (verdict.class_name, written) if builder.passes(verdict, files[0], split="train") else None


def _chosen(
    folder: str, frames: dict[int, str], class_name: str, written: str, num_peak: int, builder: LayoutScan
) -> list[_Frame]:
    numbers = list(frames)
    peak = numbers[-num_peak:]
    first = [number for number in numbers[:1] if number not in peak]
    builder.skipped["onset"] += len(numbers) - len(peak) - len(first)
    labels = [("Neutral", _FIRST)] * len(first) + [(class_name, written)] * len(peak)
    return [
        _Frame(folder, number, frames[number], *label) for number, label in zip([*first, *peak], labels, strict=True)
    ]


def _accept(chosen: Sequence[_Frame], detection: Detection, options: ScanOptions, builder: LayoutScan) -> None:
    read = partial(_landmarks, builder.store, detection.folders.get("landmarks"))
    points = iterate_in_threads(read, chosen, num_threads=options.num_workers)
    for frame, landmarks in zip(chosen, points, strict=True):
        person, session = frame.folder.upper().split("/")
        builder.repairs["landmarks_missing"] += landmarks is None
        builder.accept(
            builder.keys.make(stem_of(frame.file)),
            below(detection.folders["images"], frame.folder, frame.file),
            "train",
            builder.judge_name(frame.class_name, frame.written).label,
            frame.written,
            landmarks=landmarks,
            person=person,
            sequence=f"{person}_{session}",
            extra={"frame": frame.number},
        )


def _landmarks(store: Store, folder: str | None, frame: _Frame) -> list[float] | None:
    """Return the 68 points of a frame, in pixels of its image, or None where they are missing or malformed."""
    if folder is None:
        return None
    path = below(folder, frame.folder, f"{stem_of(frame.file)}_landmarks.txt")
    text = decode_text(store.read_range(path, 0, _MAX_BYTES)) if store.exists(path) else ""
    return parse_points(text.splitlines(), _NUM_LANDMARKS)
