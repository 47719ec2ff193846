"""Read split folders that hold ``images/`` beside label files of the same stems (AN-npy, AN-va, AN-plus).

In: listings of both. Out: pairs, and their labels as items, skips and rejects. Costs one listing of each folder.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from ferdata.labels import AFFECTNET_8
from ferdata.sources.affectnet.values import Annotation
from ferdata.sources.files.listing import Folder, Tree, below, sort_names
from ferdata.sources.files.matching import NameIndex, stem_of
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import AFFECTNET_IDS, LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, ScanBuilder, Verdict, judge_image, rejected
from ferdata.store import Store

__all__ = ["LabelFiles", "PairScan", "reject_strays"]


class LabelFiles(Protocol):
    """The label files of one split."""

    def stems(self) -> Collection[str]:
        """Return every stem that has some file."""

    def of_label(self, stem: str) -> Sequence[str]:
        """Return the files of a stem that hold its label."""

    def of_any(self, stem: str) -> Sequence[str]:
        """Return all files of a stem."""


class PairScan:
    """One scan: its builder and the numbers that decide whether to stop."""

    def __init__(self, store: Store, detection: Detection, options: ScanOptions) -> None:
        self.builder = LayoutScan(store, detection, options)
        self.tree = Tree(store)
        self._num_labels = self._num_found = 0

    def match(self, split: str, folder: str, labels: LabelFiles, ending: str) -> dict[str, str]:
        """Return stem -> image of the stems with a label and one image; what is there of the others becomes rejects.

        Args:
            split: The split.
            folder: Its folder.
            labels: Its label files.
            ending: What stands behind the stem of a file with a label.
        """
        here = self.tree.folder(folder)
        images = here.dir("images")
        dirs, names, others = sort_names(self.builder.store, images) if images else ([], [], [])
        index = NameIndex(names, any_suffix=True)
        reject_strays(self.builder, here, split)
        self.builder.ignore(*([below(str(images), name) for name in one] for one in (dirs, others)))
        found: dict[str, str] = {}
        for stem in sorted({*labels.stems(), *(stem_of(name).lower() for name in names)}, key=_number_order):
            image = self._image_of(stem, split, images or below(folder, "images"), index, labels, ending)
            if image is not None:
                found[stem] = image
        return found

    def _image_of(
        self, stem: str, split: str, folder: str, names: NameIndex, labels: LabelFiles, ending: str
    ) -> str | None:
        own = f"{stem}.jpg"
        alike = names.alike(own)
        found = [own] if own in alike else alike
        is_labelled = bool(labels.of_label(stem))
        self._num_labels += is_labelled
        self._num_found += is_labelled and bool(found)
        if len(found) == 1:
            others = [below(folder, name) for name in alike if name not in found]
            self.builder.reject_unlabelled(others, f"{found[0]} is the image of this id", split=split)
        if found and not is_labelled:
            unlabelled = [below(folder, name) for name in found]
            self.builder.reject_unlabelled(unlabelled, f"no {stem}{ending}", split=split)
            return None
        path = below(folder, found[0]) if found else labels.of_any(stem)[0]
        if verdict := judge_image(found, f"no image {own} in {folder}"):
            self.builder.passes(verdict, path, split=split)
            return None
        self.builder.repairs["name_matched"] += found[0] != own
        return path

    def add(self, key: str, path: str, split: str, label_name: str, annotation: Annotation) -> None:
        """Sort one image by what its label files say; ``label_name`` is the one with its class."""
        builder = self.builder
        verdict = self._judge(label_name, annotation)
        if not builder.passes(verdict, path, split=split):
            return
        builder.repairs["va_invalid"] += annotation.is_va_invalid
        builder.repairs["landmarks_missing"] += annotation.is_landmarks_invalid
        builder.repairs["extra_invalid"] += annotation.is_extra_invalid
        builder.accept(
            builder.keys.make(key),
            path,
            split,
            verdict.label,
            str(annotation.label),
            valence=annotation.valence,
            arousal=annotation.arousal,
            landmarks=annotation.landmarks,
            soft_labels=builder.soften(annotation.soft, AFFECTNET_8),
            extra=annotation.extra,
        )

    def _judge(self, label_name: str, annotation: Annotation) -> Verdict:
        if annotation.error:
            return rejected("label_corrupt", f"{label_name}: {annotation.error}")
        if annotation.label is None:
            # It has no class, but the totals of the automatically annotated part count it.
            return rejected("unlabelled", f"{label_name}: no human-label")._replace(class_name="unlabelled")
        return self.builder.judge_id(annotation.label)

    def finish(self, examples: Sequence[str]) -> Scan:
        """Return the scan.

        Args:
            examples: Images that were looked for, for the error.

        Raises:
            SourceError: If no label finds its image, or most labels are no AffectNet ids.
        """
        self.builder.stop_if_no_image_found(self._num_labels, self._num_found, examples)
        self.builder.stop_if_most_labels_invalid(self._num_found, AFFECTNET_IDS)
        return self.builder.finish()


def reject_strays(builder: ScanBuilder, split_folder: Folder, split: str) -> None:
    """Reject the images that lie in a split folder itself, where no label can name them."""
    paths = [below(split_folder.path, name) for name in split_folder.images]
    builder.reject_unlabelled(paths, "not in images/", split=split)


def _number_order(stem: str) -> tuple[int, int, str]:
    """Return a sort key that puts plain numbers first, as numbers."""
    return (0, int(stem), stem) if stem.isdecimal() else (1, 0, stem)
