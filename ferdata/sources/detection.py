"""What layout detection hands to a reader: the layout's name, where it starts and which folders and files belong to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Detection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A layout found on a disk. Every path below is relative to ``root``; ``root`` itself is ``""``.

    Attributes:
        layout: Name as in the layout specification: ``AN-npy``, ``RAF-basic``, ``AN-folders`` ...
        source: ``affectnet``, ``rafdb`` or ``folder``: whose data it is, or was taken to be where names alone cannot tell.
        root: Folder or URL where the layout starts. Readers get a store that is rooted here, and item paths are relative to it.
        given: Folder or URL the user named; ``root`` or a parent of it.
        splits: Split -> split folder, where the layout has split folders; ``train``, ``val``, ``test`` in this order.
        files: Role -> label file. AN-csv: ``train``, ``val``, ``automatic``. RAF-basic, RAF-compound and AN-kaggle: ``labels``.
            RAF-kaggle: ``train``, ``test``. AN-yolo: ``names`` (``data.yaml``), where there is one.
        tables: Split -> parquet files of that split, in natural order (AN-parquet, RAF-parquet).
        folders: Role -> image folder. AN-csv: ``manual``, ``automatic``. AN-plus: ``automatic``.
        class_folders: Name of a class folder as written on disk -> official class name (AN-folders, RAF-folders, folder).
        notes: Sentences for the user: where the layout was found, what was ignored, which splits are missing.
    """

    layout: str
    source: str
    root: str
    given: str
    splits: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    class_folders: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
