"""Read AffectNet+ (AN-plus): face crops with one JSON file an image.

In: split folders with ``images/`` and ``annotations/<id>.json``. Out: a :class:`Scan`, with gender, race, age, pose,
and subset as extra values. Lists each folder once, reads each JSON file once, opens no image.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

from ferdata.errors import FerdataError, LayoutError
from ferdata.parallel import FILES_PER_JOB, read_in_order
from ferdata.sources.affectnet.pairs import PairScan
from ferdata.sources.affectnet.values import Annotation, clean_landmarks, clean_score
from ferdata.sources.files.listing import below, iter_names
from ferdata.sources.files.matching import floats, plain_reason
from ferdata.sources.layout import Detection
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["scan"]

_MAX_BYTES = 1 << 20
_MAX_BRACKETS = 500
_META = ("gender", "race", "age", "pose")
_TOP = ("subset",)


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every image and JSON file of an AN-plus tree into accepted, skipped or rejected.

    The part without human annotation is read into train when the options ask for it, or when there is nothing else.

    Raises:
        LayoutError: If the part without human annotation is asked for and is not there.
        SourceError: If no JSON file finds its image, or most labels are no AffectNet ids.
    """
    automatic = detection.folders.get("automatic")
    if options.automatic and automatic is None:
        raise LayoutError(
            f"{store}: no no_human_annotated/ found, expected it beside human_annotated/; "
            "unpack it or do not ask for it"
        )
    pairs = PairScan(store, detection, options)
    for split, folder in detection.splits.items():
        _read_split(store, pairs, split, split, folder, options.num_workers)
    if automatic is not None and (options.automatic or not detection.splits):
        pairs.builder.is_automatic = True
        _read_split(store, pairs, "auto", "train", automatic, options.num_workers)
    elif automatic is not None:
        pairs.builder.notes.append(
            f"The part without human annotation ({automatic}) was left out: it was not asked for."
        )
    return pairs.finish(["images/0.jpg beside annotations/0.json"])


def _read_split(store: Store, pairs: PairScan, prefix: str, split: str, folder: str, num_workers: int) -> None:
    """Match the images of one folder with their JSON files, by stem, and read these; keys are ``<prefix>_<id>``."""
    files = _JsonFiles(store, pairs.tree.folder(folder).dir("annotations"))
    images = pairs.match(split, folder, files, ".json")
    paths = [files.of_label(stem) for stem in images]
    jobs = [paths[start : start + FILES_PER_JOB] for start in range(0, len(paths), FILES_PER_JOB)]
    chunks = read_in_order(store, _read_documents, jobs, num_jobs=len(jobs), num_workers=num_workers)
    for (stem, image), label, document in zip(images.items(), paths, chain.from_iterable(chunks), strict=True):
        pairs.add(f"{prefix}_{stem}", image, split, label[0], document)


class _JsonFiles:
    """The JSON files of one folder by stem."""

    def __init__(self, store: Store, folder: str | None) -> None:
        self._paths: dict[str, list[str]] = {}
        for name, is_dir in iter_names(store, folder) if folder is not None else ():
            if not is_dir and name.lower().endswith(".json"):
                self._paths.setdefault(name[:-5].lower(), []).append(below(folder or "", name))

    def stems(self) -> Collection[str]:
        """Return every stem that has a file, in lower case."""
        return self._paths.keys()

    def of_label(self, stem: str) -> list[str]:
        """Return the file of a stem; several where only names in other case are there."""
        paths = self._paths.get(stem, [])
        return [path for path in paths if path.endswith(f"/{stem}.json")] or sorted(paths)

    of_any = of_label


def _read_documents(store: Store, chunk: Sequence[Sequence[str]]) -> list[Annotation]:
    return [_read_document(store, paths) for paths in chunk]


def _read_document(store: Store, paths: Sequence[str]) -> Annotation:
    """Return what one JSON file says; a ``label`` of None where it has no human label."""
    try:
        if len(paths) > 1:
            raise ValueError(f"{' and '.join(paths)} found, expected one")
        data = store.read_range(paths[0], 0, _MAX_BYTES + 1)
        if len(data) > _MAX_BYTES or data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
            raise ValueError(
                f"more than {_MAX_BYTES:,} bytes or {_MAX_BRACKETS} brackets found, expected one image's annotation"
            )
        # NaN and Infinity are not JSON; as text they are refused as numbers and can be written again.
        found = json.loads(data, parse_constant=str, object_pairs_hook=_without_doubles)
        if not isinstance(found, dict):
            raise ValueError(f"a JSON {type(found).__name__} found, expected an object")
        found = _lower_keys(found)
        label, meta = found.get("human-label"), found.get("meta-data")
        meta = _lower_keys(meta) if isinstance(meta, dict) else {}
    except (ValueError, OSError, FerdataError) as error:
        return Annotation(error=plain_reason(error, store))
    scores = [(None, False) if meta.get(name) is None else clean_score(meta[name]) for name in ("valence", "arousal")]
    extra = {
        name: values[name]
        for values, names in ((meta, _META), (found, _TOP))
        for name in names
        if values.get(name) is not None
    }
    kept = extra if _is_writable(extra) else {name: value for name, value in extra.items() if _is_writable(value)}
    landmarks, soft = meta.get("landmark-68"), found.get("soft-label")
    points = clean_landmarks(landmarks)
    return Annotation(
        label=None if label is None else str(label),
        valence=scores[0][0],
        arousal=scores[1][0],
        is_va_invalid=scores[0][1] or scores[1][1],
        landmarks=points,
        is_landmarks_invalid=landmarks is not None and points is None,
        soft=None if soft is None else (floats(soft) if isinstance(soft, list) else None) or [],
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


def _lower_keys(found: Mapping[str, Any]) -> dict[str, Any]:
    return _without_doubles([(name.lower().replace("_", "-"), value) for name, value in found.items()])
