"""Small trees of AffectNet's releases, for tests of detection and of their readers.

Out: folders in the layouts' own names. Image files hold no image, which shows that a scan never opens one.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from trees_rafdb import put

from ferdata.sources import Scan

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def npy_bytes(value: Any, *, allow_pickle: bool = False) -> bytes:
    """Return what ``np.save`` writes for a value."""
    out = io.BytesIO()
    np.save(out, value, allow_pickle=allow_pickle)
    return out.getvalue()


def score(index: int, scale: int = 100) -> float:
    """Return a valence or arousal in [-1, 1] that is a formula of the index."""
    return (index * 37 % (2 * scale + 1) - scale) / scale


def points(index: int) -> list[float]:
    """Return 136 landmark numbers that are a formula of the index and exact in float32."""
    return [index % 64 + k / 4 for k in range(136)]


def npy_image(split_folder: Path, image_id: int | str, *, label: int | None = None, name: str | None = None) -> None:
    """Write one image and its four annotation files as AN-npy does; the label of id ``i`` is ``i % 8``."""
    number = int(image_id)
    put(split_folder / "images" / (name or f"{image_id}.jpg"))
    annotations = split_folder / "annotations"
    put(annotations / f"{image_id}_exp.npy", npy_bytes(np.array(str(number % 8 if label is None else label))))
    put(annotations / f"{image_id}_val.npy", npy_bytes(np.array(f"{score(number):.6g}")))
    put(annotations / f"{image_id}_aro.npy", npy_bytes(np.array(f"{-score(number):.6g}")))
    put(annotations / f"{image_id}_lnd.npy", npy_bytes(np.array(points(number))))


def npy_tree(
    root: Path, *, train: Iterable[int] = range(16), val: Iterable[int] = range(8), val_name: str = "val_set"
) -> None:
    """Write AN-npy."""
    for folder, ids in {"train_set": train, val_name: val}.items():
        for image_id in ids:
            npy_image(root / folder, image_id)


def va_tree(root: Path, count: int = 8) -> None:
    """Write AN-va: one folder a kind."""
    for split in ("Train", "Validation", "Test"):
        for i in range(count):
            put(root / split / f"images/{i}.jpg")
            put(root / split / f"emotion/{i}_exp.npy", npy_bytes(np.array(str(i % 8))))
            put(root / split / f"valence/{i}_val.npy", npy_bytes(np.array(f"{score(i):.6g}")))
            put(root / split / f"arousal/{i}_aro.npy", npy_bytes(np.array(f"{-score(i):.6g}")))


def csv_path(index: int, ending: str = "jpg") -> str:
    """Return ``<n>/<hash>.<ext>``, formulas of the index."""
    return f"{index % 5 + 1}/{index:056x}.{ending}"


def csv_row(index: int, *, path: str | None = None, **changed: Any) -> list[str]:
    """Return the nine fields of one row, formulas of the index but for those that are ``changed`` by name."""
    fields: dict[str, Any] = {
        "path": csv_path(index) if path is None else path,
        "face_x": 10 + index,
        "face_y": 20 + index,
        "face_width": 100 + index,
        "face_height": 110 + index,
        "landmarks": ";".join(f"{value:g}" for value in points(index)),
        "expression": index % 11,
        "valence": f"{score(index):g}",
        "arousal": f"{-score(index):g}",
    }
    assert set(changed) <= set(fields)
    return [str(value) for value in {**fields, **changed}.values()]


def csv_text(rows: Iterable[Sequence[str]], *, header: bool = True, newline: str = "\n") -> str:
    """Return rows as the text of a CSV file."""
    return newline.join([*([HEADER] if header else []), *(",".join(row) for row in rows)]) + newline


def csv_tree(
    root: Path,
    *,
    train: int = 22,
    val: int = 11,
    images: str = "Manually_Annotated_Images",
    lists: str = "",
    names: tuple[str, str] = ("training.csv", "validation.csv"),
    flat: bool = False,
) -> None:
    """Write AN-csv; ``validation.csv`` has no header, as in the original. Rows of val are counted on from train's."""
    for name, indices in zip(names, (range(train), range(train, train + val)), strict=True):
        put(root / lists / name, csv_text(map(csv_row, indices), header="train" in name))
        for i in indices:
            put(root / images / (csv_path(i).split("/")[1] if flat else csv_path(i)))


def plus_document(index: int, **changed: Any) -> dict[str, Any]:
    """Return the JSON object of one AffectNet+ image, formulas of the index but for values that are ``changed``."""
    document = {
        "human-label": index % 11,
        "soft-label": [(index + k) % 8 / 28 for k in range(8)],
        "subset": index % 3,
        "meta-data": {
            "age": 20 + index,
            "valence": score(index),
            "arousal": -score(index),
            "gender": "female" if index % 2 else "male",
            "race": "latino hispanic",
            "pose": [index / 2, 1.0, 2.0],
            "landmark-68": points(index),
            "landmark-29": [0.5] * 58,
        },
    }
    return {**document, **{name.replace("_", "-"): value for name, value in changed.items()}}


def plus_tree(root: Path, *, train: int = 22, val: int = 11, automatic: int = 0) -> None:
    """Write AN-plus; the automatic part has no human labels."""
    parts = {"human_annotated/train_set": train, "human_annotated/validation_set": val, "no_human_annotated": automatic}
    for folder, count in parts.items():
        for i in range(count):
            changed: Mapping[str, Any] = {"human_label": None} if folder == "no_human_annotated" else {}
            put(root / folder / f"images/{i}.jpg")
            put(root / folder / f"annotations/{i}.json", json.dumps(plus_document(i, **changed)))


def reasons(scan: Scan) -> list[tuple[str, str]]:
    """Return (path, reason) of every reject."""
    return [(reject.path, reject.reason) for reject in scan.rejects]


def keys(scan: Scan) -> list[str]:
    """Return the key of every item."""
    return [item.key for item in scan.items]
