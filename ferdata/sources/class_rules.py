"""Which classes a scan keeps, and the rule under which it leaves the others out.

In: a class name and a split. Out: the class index, or None and one more skip. Costs a dictionary lookup.
"""

from collections import Counter

from ferdata.labels import AFFECTNET_7, AFFECTNET_8, AFFECTNET_ALL
from ferdata.sources.scan import ScanBuilder, ScanOptions

__all__ = ["ClassRules"]


class ClassRules:
    """The classes of one scan.

    Attributes:
        names: Class names; a label is an index into them.
        left_out: (split, class name) -> rows left out by a rule, for the comparison with known totals.
    """

    def __init__(self, builder: ScanBuilder, options: ScanOptions, *, source: str) -> None:
        kept = AFFECTNET_8 if options.classes == 8 and source != "rafdb" else AFFECTNET_7
        self.names: tuple[str, ...] = kept + (AFFECTNET_ALL[8:] if options.keep_non_emotion and source != "rafdb" else ())
        self.left_out: Counter[tuple[str, str]] = Counter()
        self._builder = builder
        self._labels = {name: label for label, name in enumerate(self.names)}

    def label(self, class_name: str, split: str) -> int | None:
        """Return the class index, or None after counting a skip: ``contempt`` or ``not_emotion``."""
        label = self._labels.get(class_name)
        if label is None:
            self._builder.skipped["contempt" if class_name == "Contempt" else "not_emotion"] += 1
            self.left_out[split, class_name] += 1
        return label
