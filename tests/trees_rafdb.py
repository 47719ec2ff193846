"""Small trees of RAF-DB, the Kaggle re-releases, YOLO, parquet and class folders, for tests of their readers.

Out: folders in the layouts' own names. Image files hold no image unless asked, which shows that a scan never opens one.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ferdata.sources import Reject, Scan

RAF_DIGITS = {"basic": {"train": 5, "test": 4}, "compound": {"train": 4, "test": 3}}
RAF_CLASSES = {"basic": 7, "compound": 11}
KAGGLE_NAMES = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def jpeg_bytes(index: int, size: int = 8) -> bytes:
    """Return a JPEG of one grey level, a formula of the index."""
    out = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), index * 37 % 256, np.uint8)).save(out, "JPEG")
    return out.getvalue()


def reasons(scan: Scan) -> list[tuple[str, str]]:
    """Return (path, reason) of every reject, sorted."""
    return sorted((reject.path, reject.reason) for reject in scan.rejects)


def only(rejects: Sequence[Reject]) -> Reject:
    """Return the one reject there is."""
    assert len(rejects) == 1, rejects
    return rejects[0]


def names_of(scan: Scan) -> list[str]:
    """Return the class name of every item."""
    return [scan.classes[item.label] for item in scan.items]


def put(path: Path, content: bytes | str = b"") -> Path:
    """Write one file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def raf_rows(kind: str, train: int, test: int) -> list[tuple[str, int]]:
    """Return (stem, RAF id) for the first numbers of both splits; the id of number ``i`` is ``i % classes + 1``."""
    digits, classes = RAF_DIGITS[kind], RAF_CLASSES[kind]
    counts = {"train": train, "test": test}
    return [
        (f"{split}_{i:0{digits[split]}d}", i % classes + 1) for split in counts for i in range(1, counts[split] + 1)
    ]


def rafdb_tree(
    root: Path,
    *,
    kind: str = "basic",
    train: int = 14,
    test: int = 7,
    images: Sequence[str] = ("aligned",),
    annotations: bool = False,
) -> list[tuple[str, int]]:
    """Write an official RAF-DB tree and return its rows."""
    rows = raf_rows(kind, train, test)
    put(root / "EmoLabel/list_patition_label.txt", "".join(f"{stem}.jpg {raf_id}\n" for stem, raf_id in rows))
    for index, (stem, _) in enumerate(rows):
        for image_kind in images:
            put(root / f"Image/{image_kind}" / (f"{stem}_aligned.jpg" if image_kind == "aligned" else f"{stem}.jpg"))
        if annotations:
            put(root / f"Annotation/manual/{stem}_manu_attri.txt", manual_text(index))
            put(root / f"Annotation/auto/{stem}_auto_attri.txt", auto_text(index))
            put(
                root / f"Annotation/boundingbox/{stem}_boundingbox.txt",
                f"{index}.5 {index + 1}.25 {index + 40}.5 {index + 51}.25 ",
            )
    return rows


def manual_points(index: int) -> list[float]:
    """Return the ten coordinates of the five manual points of one image."""
    return [index + k + 0.125 for k in range(10)]


def manual_text(index: int) -> str:
    """Return the text of a manual annotation file: five points, then gender, race and age."""
    points = manual_points(index)
    lines = [f"{points[2 * k]:.3f}\t{points[2 * k + 1]:.3f}" for k in range(5)]
    return "\n".join([*lines, str(index % 3), str(index % 3), str(index % 5)]) + "\n"


def auto_points(index: int) -> list[float]:
    """Return the 74 coordinates of the 37 automatic points of one image."""
    return [index + k * 0.5 for k in range(74)]


def auto_text(index: int) -> str:
    """Return the text of an automatic annotation file."""
    points = auto_points(index)
    return "".join(f"{points[2 * k]:.3f}\t{points[2 * k + 1]:.3f}\n" for k in range(37))


def raf_kaggle_tree(root: Path, *, train: int = 14, test: int = 7) -> list[tuple[str, int]]:
    """Write the RAF-kaggle tree (class folders 1..7 and two CSV files) and return its rows."""
    rows = raf_rows("basic", train, test)
    for split in ("train", "test"):
        mine = [(stem, raf_id) for stem, raf_id in rows if stem.startswith(split)]
        put(
            root / f"{split}_labels.csv",
            "image,label\n" + "".join(f"{stem}_aligned.jpg,{raf_id}\n" for stem, raf_id in mine),
        )
        for stem, raf_id in mine:
            put(root / f"DATASET/{split}/{raf_id}/{stem}_aligned.jpg")
    return rows


def kaggle_rows(count: int) -> list[tuple[str, str]]:
    """Return (folder, file name) pairs that go through the eight class names in turn."""
    return [(KAGGLE_NAMES[i % 8], f"image{i:07d}.jpg") for i in range(count)]


def labels_csv(rows: Sequence[tuple[str, str, str]]) -> str:
    """Return a ``labels.csv`` of (pth, label, relFCs) rows with the unnamed index column in front."""
    return ",pth,label,relFCs\n" + "".join(f"{i},{pth},{label},{rel}\n" for i, (pth, label, rel) in enumerate(rows))


def kaggle_a_tree(root: Path, count: int = 16) -> list[tuple[str, str]]:
    """Write AN-kaggle-A (class folders, one ``labels.csv``, no splits) and return its (folder, file) rows."""
    rows = kaggle_rows(count)
    for folder, name in rows:
        put(root / folder / name)
    put(
        root / "labels.csv",
        labels_csv([(f"{folder}/{name}", folder, f"{0.5 + i / 100:.2f}") for i, (folder, name) in enumerate(rows)]),
    )
    return rows


def kaggle_b_tree(root: Path, train: int = 16, test: int = 8) -> list[tuple[str, str, str]]:
    """Write AN-kaggle-B (``Train/anger``, ``Test/Anger``, one ``labels.csv``) and return (split, folder, file) rows."""
    rows = [
        ("Train" if i < train else "Test", folder, name) for i, (folder, name) in enumerate(kaggle_rows(train + test))
    ]
    rows = [(split, folder.title() if split == "Test" else folder, name) for split, folder, name in rows]
    for split, folder, name in rows:
        put(root / split / folder / name)
    put(
        root / "labels.csv",
        labels_csv([(f"{folder.lower()}/{name}", folder.lower(), "0.75") for _, folder, name in rows]),
    )
    return rows


def yolo_tree(
    root: Path, *, train: int = 16, valid: int = 8, test: int = 8, names: Sequence[str] | None = KAGGLE_NAMES
) -> None:
    """Write AN-yolo; the class of image ``i`` of a split is ``i % 8``; no ``data.yaml`` where ``names`` is None."""
    for split, count in {"train": train, "valid": valid, "test": test}.items():
        for i in range(count):
            put(root / split / f"images/ffhq_{i}.png")
            put(root / split / f"labels/ffhq_{i}.txt", f"{i % 8} 0.5 0.5 0.{i % 9 + 1} 0.75\n")
    if names is not None:
        listed = "".join(f"- {name}\n" for name in names)
        put(root / "data.yaml", f"train: ../train/images\nval: ../valid/images\n\nnc: {len(names)}\nnames:\n{listed}")


def class_folders(root: Path, tree: Mapping[str, Mapping[str, int]], *, name: str = "{split}{folder}_{i}.jpg") -> None:
    """Write ``split/folder/file``, so many files each; a split named ``.`` is the root, a count of 0 an empty one."""
    for split, folders in tree.items():
        for folder, count in folders.items():
            (root / split / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                put(root / split / folder / name.format(split=split.strip("."), folder=folder, i=i))


def parquet_file(
    path: Path,
    labels: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    binary: bool = False,
    rows_per_group: int = 4,
) -> None:
    """Write an image parquet file; ``names`` go into the schema's metadata as the ``datasets`` library stores them."""
    images = [jpeg_bytes(i) for i in range(len(labels))]
    if binary:
        image = pa.array(images, pa.binary())
    else:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        image = pa.array([{"bytes": data, "path": f"{i}.jpg"} for i, data in enumerate(images)], kind)
    table = pa.table({"image": image, "label": pa.array(labels)})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
