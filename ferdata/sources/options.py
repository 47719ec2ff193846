"""What can be asked of a scan. In: keyword arguments. Out: a frozen, checked :class:`ScanOptions`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from ferdata.labels import NUMBER_ORDERS
from ferdata.place import expand
from ferdata.setting import Setting, check_settings

__all__ = ["LABEL_ORDERS", "ScanOptions"]

LABEL_ORDERS = tuple(NUMBER_ORDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """What the user asks of a scan.

    Example:
        >>> ferdata.ScanOptions(classes=7).rafdb_images
        'aligned'

    Attributes:
        crop: ``"box"`` rejects items whose face box is unusable; ``"none"`` keeps them without a box.
        num_workers: Threads or processes that read annotation files.
        fold: Which of the release's own folds is read, from 1, if it comes in folds; None for the first.
    """

    classes: Annotated[
        int, Setting("Keep Contempt if the source has it (8), or leave it out (7).", "Labels", choices=(8, 7))
    ] = 8
    labels: Annotated[
        str | None,
        Setting(
            "Read numbers without names in this data set's order.",
            "Labels",
            choices=LABEL_ORDERS,
            none="asked for where needed",
        ),
    ] = None
    votes: Annotated[
        str,
        Setting(
            "Take FERPlus's images that most of the votes agree on, as its own code does, or all by most votes.",
            "Labels",
            choices=("majority", "most"),
        ),
    ] = "majority"
    rafdb_images: Annotated[
        str, Setting("Read the images of RAF-DB, or of SFEW, in this form.", "Source", choices=("aligned", "original"))
    ] = "aligned"
    automatic: Annotated[bool, Setting("Add AffectNet's automatically annotated part to train.", "Source")] = False
    frames: Annotated[
        int | None,
        Setting(
            "Take this many frames of a clip, evenly spaced; of a sequence of CK+ the last ones.",
            "Source",
            none="all; CK+: 3",
            least=1,
        ),
    ] = None
    keep_non_emotion: Annotated[bool, Setting("Keep labels that are no expression, as None and Unknown.", "Labels")] = (
        False
    )
    table: Annotated[
        str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
        Setting(
            "Read what each image shows from this csv, tsv or parquet file, or from several (source table).",
            "Source",
            none="the one in the folder",
            metavar="FILE",
        ),
    ] = None
    columns: Annotated[
        str | Mapping[str, str] | None,
        Setting(
            "Say what the table's columns are: path=file,label=emotion and so on; split and person, too.",
            "Source",
            none="guessed, and told",
        ),
    ] = None
    class_names: Annotated[
        str | Sequence[str] | Mapping[int, str] | None,
        Setting(
            "Read the table's label numbers as these classes, from 0 up, or with their numbers: 1:happy,2:sad.",
            "Labels",
            none="asked for where needed",
        ),
    ] = None
    crop: str = "none"
    num_workers: int = 2
    fold: int | None = None

    def __post_init__(self) -> None:
        check_settings(self)

    def tables(self) -> tuple[str, ...]:
        """Return the files of ``table``, each by its whole name."""
        named = self.table if self.table is not None else ()
        several = named.split(",") if isinstance(named, str) else [named] if isinstance(named, os.PathLike) else named
        return tuple(expand(path) for path in several)
