"""Read AffectNet+ (AN-plus): face crops with one JSON file an image.

In: split folders with ``images/`` and ``annotations/<id>.json``. Out: a :class:`Scan`, with gender, race, age, pose, soft label and
subset as extra values. Costs one listing of each folder and one read of each JSON file; no image is opened.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferdata.errors import FerdataError, LayoutError
from ferdata.labels import AFFECTNET_ALL
from ferdata.parallel import FILES_PER_JOB, read_in_order
from ferdata.sources.affectnet.values import ClassRule, ImageStems, clean_landmarks, clean_score, number_order, reject_strays
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import Tree, below, iter_names
from ferdata.sources.files.matching import KeyMaker, plain_reason, stop_if_most_labels_invalid, stop_if_no_image_found
from ferdata.sources.scan import Scan, ScanBuilder, ScanOptions
from ferdata.sources.totals import finish_scan
from ferdata.sources.unread import ignored_files, ignored_images
from ferdata.store import Store

__all__ = ["scan"]

_MAX_BYTES = 1 << 20
_MAX_BRACKETS = 500
_META = ("gender", "race", "age", "pose")
_TOP = ("soft-label", "subset")


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every image and JSON file of an AN-plus tree into accepted, skipped or rejected.

    The part without human annotation is read into train when the options ask for it, or when there is nothing else.

    Raises:
        LayoutError: If the part without human annotation is asked for and is not there.
        SourceError: If no JSON file finds its image, or most labels are no AffectNet ids.
    """
    reader = _Reader(store, options)
    automatic = detection.folders.get("automatic")
    if options.automatic and automatic is None:
        raise LayoutError(f"{store}: no no_human_annotated/ found, expected it beside human_annotated/; unpack it or do not ask for it")
    for split, folder in detection.splits.items():
        reader.read_split(split, split, folder)
    if automatic is not None and (options.automatic or not detection.splits):
        reader.read_split("auto", "train", automatic)
    elif automatic is not None:
        reader.builder.notes.append(f"The part without human annotation ({automatic}) was left out: it was not asked for.")
    reader.stop_if_unusable()
    apart = {"AN-plus automatic": reader.automatic} if reader.automatic else None
    return finish_scan(reader.builder, detection, reader.rule.classes, left_out=reader.rule.left_out, apart=apart)


class _Reader:
    """The state of one scan: its builder, its class rule and the numbers that decide whether to stop."""

    def __init__(self, store: Store, options: ScanOptions) -> None:
        self.builder = ScanBuilder()
        self.rule = ClassRule(options)
        self.automatic: Counter[tuple[str, str]] = Counter()
        self._store, self._tree, self._keys = store, Tree(store), KeyMaker()
        self._num_workers = options.num_workers
        self._num_labels = self._num_found = 0

    def read_split(self, prefix: str, split: str, folder: str) -> None:
        """Match the images of one folder with their JSON files, by stem, and read these; keys are ``<prefix>_<id>``."""
        here = self._tree.folder(folder)
        images, annotations = here.dir("images"), here.dir("annotations")
        names = ImageStems(self._store, images)
        reject_strays(self.builder, here, split)
        self.builder.notes += ignored_images(self._store, names.folders, "AN-plus") + ignored_files(self._store, names.others)
        labels = _json_files(self._store, annotations)
        counts_before = Counter(self.rule.left_out)
        matched: list[tuple[str, str, str]] = []
        for stem in sorted({*labels, *names}, key=number_order):
            path = self._image_of(stem, split, images or below(folder, "images"), names, labels.get(stem, []))
            if path is not None:
                matched.append((stem, path, labels[stem][0]))
        for (stem, path, label_path), found in zip(matched, self._read([match[2] for match in matched]), strict=True):
            outcome = self._add(f"{prefix}_{stem}", split, path, label_path, found)
            if prefix == "auto" and outcome:
                self.automatic[split, outcome] += 1
        if prefix == "auto":
            self.automatic.update(self.rule.left_out - counts_before)

    def stop_if_unusable(self) -> None:
        """Refuse a tree whose JSON files find no image, or are mostly no labels."""
        where = self._store.path()
        stop_if_no_image_found(where, self._num_labels, self._num_found, ["images/0.jpg beside annotations/0.json"])
        stop_if_most_labels_invalid(self.builder.rejects, where, self._num_found, self.rule.expected)

    def _image_of(self, stem: str, split: str, folder: str, names: ImageStems, labels: list[str]) -> str | None:
        found, others = names.find(stem)
        self._num_labels += bool(labels)
        self._num_found += bool(labels and found)
        for name in others:
            self.builder.reject(below(folder, name), "label_missing", f"{found[0]} is the image of this id", split=split)
        if not found:
            self.builder.reject(labels[0], "image_missing", f"no image {stem}.jpg in {folder}", split=split)
        elif not labels:
            for name in found:
                self.builder.reject(below(folder, name), "label_missing", f"no {stem}.json", split=split)
        elif len(found) > 1:
            self.builder.reject(below(folder, found[0]), "image_ambiguous", f"can be {' or '.join(found)}", split=split)
        elif len(labels) > 1:
            self.builder.reject(below(folder, found[0]), "label_corrupt", f"{' and '.join(labels)} found, expected one", split=split)
        else:
            if found[0] != f"{stem}.jpg":
                self.builder.repairs["name_matched"] += 1
            return below(folder, found[0])
        return None

    def _read(self, paths: list[str]) -> Iterator["_Document"]:
        jobs = [paths[start : start + FILES_PER_JOB] for start in range(0, len(paths), FILES_PER_JOB)]
        for documents in read_in_order(self._store, _read_documents, jobs, num_jobs=len(jobs), num_workers=self._num_workers):
            yield from documents

    def _add(self, key: str, split: str, path: str, label_path: str, found: "_Document") -> str:
        """Add one item; return its class if it was accepted, ``unlabelled`` if it has none, else nothing."""
        builder, rule = self.builder, self.rule
        if found.error:
            builder.reject(path, "label_corrupt", f"{label_path}: {found.error}", split=split)
            return ""
        if found.label is None:
            builder.reject(path, "unlabelled", f"{label_path}: no human-label", split=split)
            return "unlabelled"
        class_id = rule.class_id(found.label)
        if class_id is None:
            builder.reject(path, "label_invalid", f"label {found.label!r}", split=split)
            return ""
        position = rule.index(class_id)
        if position is None:
            rule.skip(builder, split, class_id)
            return ""
        if found.is_va_invalid:
            builder.repairs["va_invalid"] += 1
        if found.is_landmarks_invalid:
            builder.repairs["landmarks_missing"] += 1
        if found.is_extra_invalid:
            builder.repairs["extra_invalid"] += 1
        builder.accept(
            key=self._keys.make(key),
            path=path,
            split=split,
            label=position,
            source_label=found.label,
            valence=found.valence,
            arousal=found.arousal,
            landmarks=found.landmarks,
            extra=found.extra,
        )
        return AFFECTNET_ALL[class_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """What one JSON file says; ``error`` where it cannot be read, and a ``label`` of None where it has no human label."""

    error: str = ""
    label: str | None = None
    valence: float | None = None
    arousal: float | None = None
    is_va_invalid: bool = False
    landmarks: Sequence[float] | None = None
    is_landmarks_invalid: bool = False
    extra: Mapping[str, Any] | None = None
    is_extra_invalid: bool = False


def _read_documents(store: Store, paths: Sequence[str]) -> list[_Document]:
    return [_read_document(store, path) for path in paths]


def _read_document(store: Store, path: str) -> _Document:
    try:
        data = store.read_range(path, 0, _MAX_BYTES + 1)
        if len(data) > _MAX_BYTES or data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
            raise ValueError(f"more than {_MAX_BYTES:,} bytes or {_MAX_BRACKETS} brackets found, expected one image's annotation")
        # NaN and Infinity are not JSON; as text they are refused as numbers and can be written again.
        found = json.loads(data, parse_constant=str, object_pairs_hook=_without_doubles)
    except (ValueError, OSError, FerdataError) as error:
        return _Document(error=plain_reason(error, store))
    if not isinstance(found, dict):
        return _Document(error=f"a JSON {type(found).__name__} found, expected an object")
    try:
        found = _lower_keys(found)
        label, meta = found.get("human-label"), found.get("meta-data")
        meta = _lower_keys(meta) if isinstance(meta, dict) else {}
    except ValueError as error:
        return _Document(error=str(error))
    scores = [(None, False) if meta.get(name) is None else clean_score(meta[name]) for name in ("valence", "arousal")]
    extra = {name: values[name] for values, names in ((meta, _META), (found, _TOP)) for name in names if values.get(name) is not None}
    kept = extra if _is_writable(extra) else {name: value for name, value in extra.items() if _is_writable(value)}
    landmarks = meta.get("landmark-68")
    points = clean_landmarks(landmarks)
    return _Document(
        label=None if label is None else str(label),
        valence=scores[0][0],
        arousal=scores[1][0],
        is_va_invalid=scores[0][1] or scores[1][1],
        landmarks=points,
        is_landmarks_invalid=landmarks is not None and points is None,
        extra=kept,
        is_extra_invalid=len(kept) < len(extra),
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that stands twice in one object found, expected each once")
    return found


def _is_writable(value: Any) -> bool:
    """Tell whether a value can be written as JSON in UTF-8: infinite numbers (``1e999``) and half surrogates cannot."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _json_files(store: Store, folder: str | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, is_dir in iter_names(store, folder) if folder is not None else ():
        if not is_dir and name.lower().endswith(".json"):
            found.setdefault(name[:-5].lower(), []).append(below(folder or "", name))
    return {stem: [path for path in paths if path.endswith(f"/{stem}.json")] or sorted(paths) for stem, paths in found.items()}


def _lower_keys(found: Mapping[str, Any]) -> dict[str, Any]:
    return _without_doubles([(name.lower().replace("_", "-"), value) for name, value in found.items()])
