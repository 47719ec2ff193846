"""Which classes a scan keeps, and the rule under which it skips rows of the others.

In: a row's class, by its name or its id. Out: a :class:`Verdict`. Costs a dictionary lookup.
"""

from collections.abc import Sequence

from ferdata.labels import AFFECTNET_7, AFFECTNET_8, AFFECTNET_ALL
from ferdata.sources.files.matching import whole_number
from ferdata.sources.layout import Layout
from ferdata.sources.scan import ScanOptions
from ferdata.sources.verdict import Verdict, rejected

__all__ = ["ClassRules", "kept_classes"]


def kept_classes(layout: Layout, options: ScanOptions) -> tuple[str, ...]:
    """Return the official classes that a scan keeps; of RAF-DB these are always seven."""
    if layout.source == "rafdb":
        return AFFECTNET_7
    return (AFFECTNET_8 if options.classes == 8 else AFFECTNET_7) + (AFFECTNET_ALL[8:] if options.keep_non_emotion else ())


class ClassRules:
    """The classes of one scan, and the rule under which the other official ones are skipped.

    Attributes:
        names: Class names; a label is an index into them.
    """

    expected_ids = f"whole numbers 0 to {len(AFFECTNET_ALL) - 1} (0 Neutral, 1 Happy ... 7 Contempt)"
    """AffectNet's ids that are labels, for error texts."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._verdicts = {name: Verdict("accepted", class_name=name, label=label) for label, name in enumerate(names)}
        for name in set(AFFECTNET_ALL).difference(names):
            self._verdicts[name] = Verdict("skipped", "contempt" if name == "Contempt" else "not_emotion", class_name=name)

    def of_name(self, class_name: str | None, written: object) -> Verdict:
        """Judge a row by its class, None where the source's ``written`` label names none."""
        return rejected("label_invalid", f"label {written!r}") if class_name is None else self._verdicts[class_name]

    def of_id(self, written: str) -> Verdict:
        """Judge a row by AffectNet's official id; ``3.0`` is 3."""
        number = whole_number(written)
        return self.of_name(AFFECTNET_ALL[number] if number is not None and 0 <= number < len(AFFECTNET_ALL) else None, written)
