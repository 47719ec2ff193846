"""What the rest must know of a layout: how it is found and read, what its releases hold, which options change anything.

In: nothing. Out: the values that a layout's folder fills. All of them stand in :data:`ferdata.sources.layouts.LAYOUTS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ferdata.sources.files.listing import Tree
from ferdata.sources.options import ScanOptions
from ferdata.store import Store

if TYPE_CHECKING:
    from ferdata.sources.scan import Scan  # no help text waits for pyarrow

__all__ = ["DATA_SETS", "DRAWN", "SOURCES", "Asked", "Detection", "Layout", "Release"]

DATA_SETS: Mapping[str, str] = {
    "affectnet": "AffectNet",
    "rafdb": "RAF-DB",
    "fer2013": "FER2013",
    "ferplus": "FERPlus",
    "expw": "ExpW",
    "caers": "CAER-S",
    "sfew": "SFEW",
    "jaffe": "JAFFE",
    "kdef": "KDEF",
    "ckplus": "CK+",
    "affwild2": "Aff-Wild2",
    "dfew": "DFEW",
}
"""Data sets by the names of their sources -> what to call them to the user."""

DRAWN: Mapping[str, str] = {**DATA_SETS, "table": "images with a table"}
"""What can be drawn, likewise."""

SOURCES: Mapping[str, str] = {**DRAWN, "folder": "class folders"}
"""Whose data a folder can hold -> what to call it to the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What one release is known to hold.

    Attributes:
        title: How to name it to the user.
        splits: Split -> images by class, or one number where the classes are not known.
        is_only: No other release has this layout, so any difference is worth telling.
        is_reduced: A cut-down copy that circulates, never complete.
        remark: What the user should know of it.
    """

    title: str
    splits: Mapping[str, Mapping[str, int] | int]
    is_only: bool = True
    is_reduced: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user says of a folder: whose data it holds, and the order of its numeric labels; None leaves it open."""

    source: str | None = None
    labels: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """One way in which a data set lies on a disk.

    Attributes:
        name: As in the layout specification: ``AN-npy``, ``RAF-basic``, ``AN-folders`` ...
        source: Whose data it is, a key of ``SOURCES``.
        detector: Tells whether a folder holds it; one function may find several layouts.
        scan: Sorts every row of it into accepted, skipped or rejected.
        sign: What shows it, for the error where nothing is found.
        evidence: What that is: ``files`` of no other data set, which count wherever they lie; ``columns`` of a table,
            which many have; or ``names`` of folders, which are looked at last.
        is_scattered: Its label files and its images may lie in folders of their own, anywhere below one root.
        classes: Classes that an image can have, in the order of the release's own ids where it has any; AffectNet's if
            empty.
        releases: The releases with this layout, the full one first.
        automatic: The automatically annotated part, which ``automatic`` asks for, where there is one.
        has_originals: There are original photographs too, which ``rafdb_images`` asks for.
        may_need_order: Its labels can be numbers without names, so ``labels`` can have a use; its reader decides.
        side: Width and height of its images in pixels, where all have the same.
        has_sequences: Its images are frames, of which ``frames`` asks for some.
        folds: How many folds of its own the release has, one of which is read at a time; 0 if it has none.
        has_votes: Its labels are votes of several people, so ``votes`` has a use.
        parts: Folders that its reader knows, in a split folder or else in the root; images in others are unread.
    """

    name: str
    source: str
    detector: Callable[[Tree, str, Asked], "Detection | None"]
    scan: "Callable[[Store, Detection, ScanOptions], Scan]"
    sign: str = ""
    evidence: Literal["files", "columns", "names"] = "files"
    is_scattered: bool = False
    classes: tuple[str, ...] = ()
    releases: tuple[Release, ...] = ()
    automatic: Release | None = None
    has_originals: bool = False
    may_need_order: bool = False
    side: int | None = None
    has_sequences: bool = False
    folds: int = 0
    has_votes: bool = False
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A layout found on a disk. Every path below is relative to ``root``; ``root`` itself is ``""``.

    Attributes:
        layout: What was found.
        root: Folder or URL where the layout starts. Readers get a store rooted here, and item paths are relative to it.
        splits: Split -> split folder, where the layout has split folders; ``train``, ``val``, ``test`` in this order.
        files: Role -> label file. AN-csv: ``train``, ``val``, ``automatic``. RAF-basic, RAF-compound and AN-kaggle:
            ``labels``. RAF-kaggle: ``train``, ``test``. AN-yolo: ``names`` (``data.yaml``), where there is one.
        tables: Split -> parquet files of that split, in natural order.
        folders: Role -> image folder. AN-csv: ``manual``, ``automatic``. AN-plus: ``automatic``.
        class_folders: Name of a class folder as written on disk -> official class name.
        same: Files and folders that hold the same images once more; they are not read.
        notes: Sentences for the user: where the layout was found, what was ignored, which splits are missing.
    """

    layout: Layout
    root: str
    splits: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    class_folders: Mapping[str, str] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
