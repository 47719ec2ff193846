"""The scan of one layout while its reader fills it: what becomes of a row, when to stop, what the user should know.

In: rows. Out: the finished :class:`Scan`. Costs a dictionary lookup a row, and one pass over two columns at the end.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ferdata.errors import SourceError
from ferdata.labels import AFFECTNET_ALL, NON_EMOTIONS, choose_classes, soft_labels
from ferdata.shown import counted
from ferdata.sources.completeness import compare_totals, count_items
from ferdata.sources.files.matching import whole_number
from ferdata.sources.layout import Detection, Release
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, ScanBuilder, Verdict, rejected
from ferdata.sources.unread import ignored_files, ignored_images
from ferdata.store import Store

__all__ = ["AFFECTNET_IDS", "LayoutScan"]

AFFECTNET_IDS = f"whole numbers 0 to {len(AFFECTNET_ALL) - 1} (0 Neutral, 1 Happy ... 7 Contempt)"
"""AffectNet's ids that are labels, for error texts."""


class LayoutScan(ScanBuilder):
    """Collects the rows of a detected layout.

    Attributes:
        store: Where the source lives; paths are relative to its root.
        layout: The layout.
        classes: Class names; a label is an index into them.
    """

    def __init__(
        self, store: Store, detection: Detection, options: ScanOptions, *, classes: Sequence[str] = ()
    ) -> None:
        """Begin a scan; ``classes`` are the tree's own, else those that its layout can have. Options leave some out."""
        super().__init__()
        self.store, self.layout, self._detection = store, detection.layout, detection
        names = tuple(classes) or self.layout.classes or AFFECTNET_ALL
        self.classes = choose_classes(names, contempt=options.classes == 8, non_emotions=options.keep_non_emotion)
        self._verdicts = {
            "Contempt": Verdict("skipped", "contempt", class_name="Contempt"),
            **{name: Verdict("skipped", "not_emotion", class_name=name) for name in NON_EMOTIONS},
            **{name: Verdict("accepted", class_name=name, label=label) for label, name in enumerate(self.classes)},
        }

    def judge_name(self, class_name: str | None, written: object) -> Verdict:
        """Judge a row by its class, None where the source's ``written`` label names none."""
        verdict = self._verdicts.get(class_name) if class_name is not None else None
        return verdict or rejected("label_invalid", f"label {written!r}")

    def judge_id(self, written: str, order: Sequence[str] = AFFECTNET_ALL, *, first: int = 0) -> Verdict:
        """Judge a row by its id in an order of classes, AffectNet's where none is given; ``3.0`` is 3."""
        number = whole_number(written)
        place = -1 if number is None else number - first
        return self.judge_name(order[place] if 0 <= place < len(order) else None, written)

    def soften(self, votes: Sequence[float] | None, names: Sequence[str]) -> list[float] | None:
        """Return the soft labels of a row by its votes for ``names``, None where it has none for the classes kept.

        Votes that cannot be any are left out, which counts as a repair.
        """
        if votes is None:
            return None
        if len(votes) != len(names) or not all(0 <= vote < math.inf for vote in votes):
            self.repairs["soft_labels_invalid"] += 1
            return None
        return soft_labels(votes, names, self.classes)

    def ignore(self, folders: Iterable[str], files: Iterable[str]) -> None:
        """Note the images in folders that are not read, and the files that are no images."""
        self.notes += ignored_images(self.store, folders, self.layout.name) + ignored_files(self.store, files)

    def note_repeats(self, where: str, times: Counter[str]) -> None:
        """Note the images that stand in several rows; ``times`` counts the rows of each."""
        if repeated := sum(count > 1 for count in times.values()):
            self.notes.append(
                f"{where}: {counted(repeated, 'image stands', 'images stand')} in several rows; "
                "every row is kept, later ones with the line number in the key."
            )

    def note_people(self) -> None:
        """Note that a set of few people comes without splits, and how to cut them."""
        self.notes.append(
            "There is no official split; cut one that keeps people apart: val=0.1 with group_by=person, for instance."
        )

    def note_missing_folders(self) -> None:
        """Warn of a release of train and test that there is no folder for one of them."""
        missing = [split for split in ("train", "test") if split not in self._detection.splits]
        self.notes += [f"Warning: there is no {split} folder." for split in missing]

    def stop_if_no_image_found(
        self, num_rows: int, num_found: int, looked_for: Sequence[str], *, table: str = ""
    ) -> None:
        """Refuse a source, or one table of it, none of whose rows finds its image: the root is wrong.

        Raises:
            SourceError: If there are rows and no image.
        """
        if num_rows and not num_found:
            raise SourceError(
                f"{self.store.path(table)}: "
                f"none of {num_rows:,} label rows finds its image, expected for instance {', '.join(looked_for[:3])}; "
                "point to the folder that holds labels and images together, and unpack archives first"
            )

    def stop_if_most_labels_invalid(self, num_rows: int, expected: str, *, table: str = "", since: int = 0) -> None:
        """Refuse a source, or one table of it, most of whose labels are not classes: it is read with the wrong map.

        Args:
            num_rows: Its rows.
            expected: What labels are.
            table: The table.
            since: How many rejects there were before.

        Raises:
            SourceError: If more than half of the rows were rejected as ``label_invalid``.
        """
        wrong = [reject.detail for reject in self.rejects[since:] if reject.reason == "label_invalid"]
        if 2 * len(wrong) > num_rows:
            common = ", ".join(f"{detail} ({count:,} x)" for detail, count in Counter(wrong).most_common(3))
            raise SourceError(
                f"{self.store.path(table)}: {len(wrong):,} of {num_rows:,} labels are not classes: {common}; "
                f"expected {expected}; check that this is the right label file"
            )

    def finish(
        self, *, units: Counter[tuple[str, str]] | None = None, releases: Sequence[Release] | None = None
    ) -> Scan:
        """Return the scan, with notes on its counts per split and class, and on whether it is complete.

        Rows that a rule skipped count too; those of an automatically annotated part are compared apart.

        Args:
            units: (split, class name) -> sequences or clips, where these are what is known of the release.
            releases: The releases that this one can be, where the layout has others too.
        """
        layout = self.layout
        scan = self.build(source=layout.source, layout=layout.name, root=self._detection.root, classes=self.classes)
        accepted = count_items(scan)
        compared = accepted + self.left_out if units is None else units.copy()
        compared.subtract(self.automatic)
        notes, complete = compare_totals(layout.releases if releases is None else releases, +compared)
        if self.automatic and layout.automatic:
            part_notes, part_complete = compare_totals([layout.automatic], self.automatic)
            notes += part_notes
            complete = None if complete is None else complete and part_complete
        counted = []
        for split in scan.items.splits():
            here = {name: accepted[split, name] for name in self.classes}
            shown = ", ".join(f"{name} {number:,}" for name, number in here.items())
            counted.append(f"{split}: {sum(here.values()):,} items: {shown}.")
        return replace(
            scan, notes=[*self._detection.notes, *counted, *notes, *self.notes], complete=complete, side=layout.side
        )
