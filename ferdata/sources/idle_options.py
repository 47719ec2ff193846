"""Options that a layout has no use for: an error, since whoever gave one expects that it does something.

In: the layout found and the options. Out: nothing, or an error that names the option.
"""

from ferdata.errors import OptionError
from ferdata.sources.detection import Detection
from ferdata.sources.scan import ScanOptions

__all__ = ["refuse_idle_options", "refuse_labels"]

_WITH_AUTOMATIC = ("AN-csv", "AN-plus")
_WITH_ORIGINALS = ("RAF-basic", "RAF-compound")
_WITH_LABELS = ("AN-yolo", "AN-parquet", "RAF-parquet")


def refuse_idle_options(detection: Detection, options: ScanOptions) -> None:
    """Refuse ``automatic``, ``rafdb_images`` and ``labels`` where they would change nothing.

    Readers of the layouts in ``_WITH_LABELS`` decide about ``labels`` themselves, once they know whether names are stored.

    Raises:
        OptionError: If one of them was asked for.
    """
    where, layout = detection.root, detection.layout
    if options.automatic and layout not in _WITH_AUTOMATIC:
        raise OptionError(f"{where}: automatic asked for, but {layout} has no automatically annotated part; leave --automatic out")
    if options.rafdb_images == "original" and layout not in _WITH_ORIGINALS:
        raise OptionError(f"{where}: rafdb-images original asked for, but {layout} has no choice of images; leave --rafdb-images out")
    has_numbers = any(name.isdecimal() for name in detection.class_folders)
    if options.labels is not None and layout not in _WITH_LABELS and not has_numbers:
        refuse_labels(where, options.labels, "class folders with names" if detection.class_folders else f"the labels of {layout}")


def refuse_labels(where: str, labels: str, found: str) -> None:
    """Refuse an order of numbers where the labels need none.

    Raises:
        OptionError: Always.
    """
    raise OptionError(f"{where}: labels {labels} asked for, but {found} need no order, expected numbers without names; leave --labels out")
