"""Options that a layout has no use for: an error, since whoever gave one expects that it does something.

In: the layout found and the options. Out: nothing, or an error that names the option.
"""

from ferdata.errors import OptionError
from ferdata.sources.layout import Detection
from ferdata.sources.options import ScanOptions

__all__ = ["refuse_idle_options", "refuse_labels"]


def refuse_idle_options(detection: Detection, options: ScanOptions) -> None:
    """Refuse options that are asked for where they would change nothing.

    Where labels may need an order, the reader decides about ``labels``, once it knows whether names are stored.

    Raises:
        OptionError: If one of them was asked for, or a fold that there is not.
    """
    where, layout = detection.root, detection.layout
    if options.automatic and layout.automatic is None:
        raise OptionError(
            f"{where}: automatic asked for, but {layout} has no automatically annotated part; leave automatic= out"
        )
    if options.rafdb_images == "original" and not layout.has_originals:
        raise OptionError(
            f"{where}: rafdb_images original asked for, but {layout} has no choice of images; leave rafdb_images= out"
        )
    if options.frames is not None and not layout.has_sequences:
        raise OptionError(
            f"{where}: frames {options.frames} asked for, but {layout} has no clips of frames; leave frames= out"
        )
    if options.fold is not None and not layout.folds:
        raise OptionError(
            f"{where}: fold {options.fold} asked for, but {layout} has no folds of its own; leave fold= out, "
            "or say by folds= into how many train is divided"
        )
    if options.fold is not None and options.fold > layout.folds:
        raise OptionError(
            f"{where}: fold {options.fold} asked for, but {layout} has folds 1 to {layout.folds}; name one"
        )
    if options.votes != "majority" and not layout.has_votes:
        raise OptionError(
            f"{where}: votes {options.votes} asked for, but {layout} has one label for each image; leave votes= out"
        )
    for name in ("table", "columns", "class_names"):
        if getattr(options, name) is not None and layout.source != "table":
            raise OptionError(
                f"{where}: {name} asked for, but {layout} says itself what its images show; leave {name}= out, "
                "or use source 'table'"
            )
    has_numbers = any(name.isdecimal() for name in detection.class_folders)
    if options.labels is not None and not layout.may_need_order and not has_numbers:
        found = "class folders with names" if detection.class_folders else f"the labels of {layout}"
        refuse_labels(where, options.labels, found)


def refuse_labels(where: str, labels: str, found: str) -> None:
    """Refuse an order of numbers where the labels need none.

    Raises:
        OptionError: Always.
    """
    raise OptionError(
        f"{where}: labels {labels} asked for, but {found} need no order, expected numbers without names; "
        "leave labels= out"
    )
