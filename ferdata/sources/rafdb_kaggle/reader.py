"""Read the Kaggle form of RAF-DB basic: class folders 1..7 and one CSV file a split, which must agree.

In: ``DATASET/{train,test}/{1..7}/`` beside ``train_labels.csv`` and ``test_labels.csv``. Out: a :class:`Scan`. Costs
one listing of each folder; no image is opened.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_7, RAFDB_BASIC, map_ids
from ferdata.sources.files.listing import below, list_folder, name_of, natural_key
from ferdata.sources.files.matching import SPLIT_ORDER, NameIndex, stem_of, whole_number
from ferdata.sources.files.text_tables import find_columns, read_table
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.rafdb.label_list import has_wrong_order, official_key
from ferdata.sources.scan import Scan, Verdict, judge_image, rejected
from ferdata.store import Store

__all__ = ["scan"]

_TO_LABEL = map_ids(RAFDB_BASIC, AFFECTNET_7)
_RAF_IDS = range(1, len(RAFDB_BASIC) + 1)


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row and image of a RAF-kaggle tree into accepted, skipped or rejected.

    Raises:
        LayoutError: If a label and the image's folder disagree, or ids or folders are not 1..7: an altered copy.
        SourceError: If most labels are not numbers, or no row finds its image.
    """
    builder = LayoutScan(store, detection, options)
    num_rows = num_found = 0
    for split in SPLIT_ORDER:
        folders = _list_split(store, detection, split, builder) if split in detection.splits else {}
        if split in detection.files:
            rows, found = _read_split(store, detection.files[split], split, folders, builder)
            num_rows, num_found = num_rows + rows, num_found + found
        elif folders:
            builder.notes.append(f"Warning: no CSV file for split {split}; its labels are the folders' numbers.")
            for raf_id, (folder, names) in folders.items():
                for name in sorted(names, key=natural_key):
                    _accept(builder, below(folder, name), split, raf_id)
    builder.note_missing_folders()
    builder.stop_if_no_image_found(num_rows, num_found, [f"{folder}/1/<image>" for folder in detection.splits.values()])
    return builder.finish()


def _list_split(
    store: Store, detection: Detection, split: str, builder: LayoutScan
) -> dict[int, tuple[str, list[str]]]:
    """Return RAF id -> (folder, image names), and warn of empty folders."""
    split_folder = detection.splits[split]
    listed = list_folder(store, split_folder)
    folders: dict[int, tuple[str, list[str]]] = {}
    for name in listed.dirs:
        raf_id = whole_number(name)
        if raf_id is None or raf_id not in _RAF_IDS or raf_id in folders:
            raise LayoutError(
                f"{store.path(below(split_folder, name))}: class folder {name!r} found, expected 1..7 once each (RAF "
                "ids); this is an altered copy of RAF-kaggle: take the original or move the folder away"
            )
        path = below(split_folder, name)
        here = list_folder(store, path)
        folders[raf_id] = path, list(here.images)
        builder.ignore([below(path, inner) for inner in here.dirs], here.others)
    loose = [below(split_folder, name) for name in listed.images]
    builder.reject_unlabelled(loose, "in no class folder", split=split)
    for raf_id in _RAF_IDS:
        if not folders.get(raf_id, ("", []))[1]:
            builder.notes.append(f"Warning: {split_folder}/{raf_id} ({RAFDB_BASIC[raf_id - 1]}) holds no image.")
    return folders


def _read_split(
    store: Store, csv_path: str, split: str, folders: Mapping[int, tuple[str, Sequence[str]]], builder: LayoutScan
) -> tuple[int, int]:
    """Read one CSV file against its class folders; return its rows and how many of them find an image."""
    where = store.path(csv_path)
    header, rows = read_table(store, csv_path)
    image_column, label_column = find_columns(header, where)
    numbers = Counter(whole_number(fields[label_column]) for _, fields in rows if label_column < len(fields))
    ids = {number: count for number, count in numbers.items() if number is not None}
    if has_wrong_order(ids, len(_RAF_IDS)):
        raise LayoutError(
            f"{where}: ids from {min(ids)} to {max(ids)} found, expected 1..7; "
            "a 0-based or altered list: take the original"
        )
    indices = {raf_id: NameIndex(names, any_suffix=True) for raf_id, (_, names) in folders.items()}
    used: dict[int, set[str]] = {raf_id: set() for raf_id in folders}
    seen: Counter[str] = Counter()
    num_found, num_before = 0, len(builder.rejects)
    for line, fields in rows:
        name = name_of(fields[image_column].replace("\\", "/")) if image_column < len(fields) else ""
        label = fields[label_column] if label_column < len(fields) else ""
        found = [(folder_id, file) for folder_id, index in indices.items() for file in index.find(name)] if name else []
        for folder_id, file in found:
            used[folder_id].add(file)
        num_found += bool(found)
        raf_id = whole_number(label)
        verdict: Verdict | None
        if not name or not label:
            verdict = rejected("label_missing" if name else "bad_row", f"line {line}: {','.join(fields)}")
        elif raf_id is None or raf_id not in _RAF_IDS:
            verdict = rejected("label_invalid", f"label {label!r}")
        elif any(folder_id != raf_id for folder_id, _ in found):
            there = " and ".join(below(folders[folder_id][0], file) for folder_id, file in found)
            raise LayoutError(
                f"{where}: line {line} labels {name} as {raf_id}, but it lies at {there}, expected folder {raf_id}; "
                "label and folder agree in RAF-kaggle, so this is an altered copy: take the original"
            )
        else:
            verdict = judge_image([file for _, file in found], f"in no class folder of {split}")
        if verdict is not None:
            builder.passes(verdict, name, split=split, row=line)
            continue
        folder_id, file = found[0]
        builder.repairs["name_matched"] += file != name
        seen[file] += 1
        _accept(builder, below(folders[folder_id][0], file), split, folder_id, repeat=line if seen[file] > 1 else None)
    builder.stop_if_most_labels_invalid(len(rows), "RAF ids 1..7", table=csv_path, since=num_before)
    for folder_id, index in indices.items():
        unnamed = [below(folders[folder_id][0], name) for name in index.rest(used[folder_id])]
        builder.reject_unlabelled(unnamed, f"not in {csv_path}", split=split)
    builder.note_repeats(csv_path, seen)
    return len(rows), num_found


def _accept(builder: LayoutScan, path: str, split: str, raf_id: int, *, repeat: int | None = None) -> None:
    key = official_key(path) or f"{split}_{stem_of(name_of(path))}"
    key = builder.keys.make(f"{key}_row{repeat}" if repeat else key)
    builder.accept(key, path, split, _TO_LABEL[raf_id - 1], str(raf_id))
