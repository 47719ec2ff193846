"""Read AffectNet's 8-label release of 2021 (AN-npy) and its form with one folder a kind (AN-va).

In: split folders with images and ``.npy`` annotations. Out: a :class:`Scan`. Costs one listing of each folder and one read of each
annotation file, see :mod:`ferdata.sources.affectnet_npy.npy_values`; no image is opened.
"""

from collections.abc import Sequence
from typing import cast

from ferdata.sources.affectnet.values import ClassRule, ImageStems, number_order, reject_strays
from ferdata.sources.affectnet_npy.npy_values import KINDS, Annotation, AnnotationIndex, index_annotations, read_annotations
from ferdata.sources.detection import Detection
from ferdata.sources.files.listing import Tree, below
from ferdata.sources.files.matching import KeyMaker, stop_if_most_labels_invalid, stop_if_no_image_found
from ferdata.sources.scan import Scan, ScanBuilder, ScanOptions
from ferdata.sources.totals import finish_scan
from ferdata.sources.unread import ignored_files, ignored_images
from ferdata.store import Store

__all__ = ["scan"]

_VA_FOLDERS = {"exp": "emotion", "val": "valence", "aro": "arousal"}


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every image and label of an AN-npy or AN-va tree into accepted, skipped or rejected.

    Raises:
        SourceError: If no label finds its image, or most labels are no AffectNet ids.
    """
    reader = _Reader(store, detection, options)
    for split, folder in detection.splits.items():
        reader.read_split(split, folder)
    stop_if_no_image_found(
        store.path(), reader.num_labels, reader.num_found, [f"{path}/images/0.jpg" for path in detection.splits.values()]
    )
    stop_if_most_labels_invalid(reader.builder.rejects, store.path(), reader.num_found, reader.rule.expected)
    return finish_scan(reader.builder, detection, reader.rule.classes, left_out=reader.rule.left_out)


class _Reader:
    """The state of one scan: its builder, its class rule and the numbers that decide whether to stop."""

    def __init__(self, store: Store, detection: Detection, options: ScanOptions) -> None:
        self.builder = ScanBuilder()
        self.rule = ClassRule(options)
        self.num_labels = self.num_found = 0
        self._tree = Tree(store)
        self._store, self._layout, self._num_workers = store, detection.layout, options.num_workers
        self._keys = KeyMaker()

    def read_split(self, split: str, folder: str) -> None:
        """Match the images of one split with their annotation files, by stem, and read these."""
        here = self._tree.folder(folder)
        images = here.dir("images")
        names = ImageStems(self._store, images)
        reject_strays(self.builder, here, split)
        self.builder.notes += ignored_images(self._store, names.folders, self._layout) + ignored_files(self._store, names.others)
        kinds = {kind: _VA_FOLDERS.get(kind, "") if self._layout == "AN-va" else "annotations" for kind in KINDS}
        folders = {kind: path for kind, name in kinds.items() if name and (path := here.dir(name)) is not None}
        index = index_annotations(self._store, folders)
        paths: dict[str, str] = {}
        for stem in sorted(index.stems() | set(names), key=number_order):
            path = self._image_of(stem, split, images or below(folder, "images"), names, index)
            if path is not None:
                paths[stem] = path
        for annotation in read_annotations(self._store, index, list(paths), self._num_workers):
            self._add(annotation, split, paths[annotation.stem])

    def _image_of(self, stem: str, split: str, folder: str, names: ImageStems, index: AnnotationIndex) -> str | None:
        """Return the image of a stem that has a label, else reject what there is of it."""
        found, others = names.find(stem)
        labels = index.paths(stem, "exp")
        self.num_labels += bool(labels)
        self.num_found += bool(labels and found)
        for name in others:
            self.builder.reject(below(folder, name), "label_missing", f"{found[0]} is the image of this id", split=split)
        if not found:
            path = next(path for kind in KINDS for path in index.paths(stem, kind))
            self.builder.reject(path, "image_missing", f"no image {stem}.jpg in {folder}", split=split)
        elif not labels:
            for name in found:
                self.builder.reject(below(folder, name), "label_missing", f"no {stem}_exp.npy", split=split)
        elif len(found) > 1:
            self.builder.reject(below(folder, found[0]), "image_ambiguous", f"can be {' or '.join(found)}", split=split)
        else:
            if found[0] != f"{stem}.jpg":
                self.builder.repairs["name_matched"] += 1
            return below(folder, found[0])
        return None

    def _add(self, annotation: Annotation, split: str, path: str) -> None:
        builder, rule, label = self.builder, self.rule, annotation.label
        if label is None:
            builder.reject(path, "label_corrupt", f"{annotation.stem}_exp.npy: {annotation.error}", split=split)
            return
        class_id = rule.class_id(label)
        if class_id is None:
            builder.reject(path, "label_invalid", f"label {label!r}", split=split)
            return
        position = rule.index(class_id)
        if position is None:
            rule.skip(builder, split, class_id)
            return
        if annotation.is_va_invalid:
            builder.repairs["va_invalid"] += 1
        if annotation.is_landmarks_invalid:
            builder.repairs["landmarks_missing"] += 1
        builder.accept(
            key=self._keys.make(f"{split}_{annotation.stem}"),
            path=path,
            split=split,
            label=position,
            source_label=label,
            valence=annotation.valence,
            arousal=annotation.arousal,
            landmarks=cast(Sequence[float] | None, annotation.landmarks),
        )
