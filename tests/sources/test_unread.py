"""Images outside the folders that a layout reads: each is rejected or counted in a note, none is lost in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from trees import csv_tree, npy_tree, plus_tree, va_tree
from trees_rafdb import KAGGLE_NAMES, class_folders, kaggle_b_tree, put, raf_kaggle_tree, rafdb_tree, reasons, yolo_tree

from ferdata.sources import Scan, ScanOptions, scan_source, unread

ONE_EACH = dict.fromkeys(KAGGLE_NAMES, 1)


def scanned(root: Path | str, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(num_workers=1, **options))


def ignored(scan: Scan) -> list[str]:
    return [note for note in scan.notes if note.startswith("Ignored images")]


def split_classes(root: Path) -> None:
    class_folders(root, {"train": ONE_EACH, "test": ONE_EACH})


def test_images_of_a_split_without_class_folders_are_rejected(tmp_path: Path) -> None:
    """A flat ``test/`` has no labels; to call it missing would be wrong, and to leave it out would be silent."""
    class_folders(tmp_path, {"train": ONE_EACH})
    for i in range(3):
        put(tmp_path / f"test/{i}.jpg")

    found = scanned(tmp_path)

    assert reasons(found) == [(f"test/{i}.jpg", "label_missing") for i in range(3)]
    assert {reject.split for reject in found.rejects} == {"test"}
    assert (found.items.splits(), len(found.items)) == (["train"], 8)
    assert not any("test split found" in note for note in found.notes)


@pytest.mark.parametrize("source", ["affectnet", "rafdb", "folder"])
def test_folders_beside_the_splits_are_noted_with_their_counts(tmp_path: Path, source: str) -> None:
    """``dev/`` may well be the val split, but nothing says so."""
    class_folders(
        tmp_path,
        {"train": {"Happy": 1, "Sad": 1}, "test": {"Happy": 1}, "dev": {"Happy": 3, "Sad": 2}, "extra": {"odd": 1}},
    )
    put(tmp_path / "docs/readme.md")
    put(tmp_path / "cover.jpg")

    found = scanned(tmp_path, source)

    assert ignored(found) == [
        f"Ignored images that {found.layout} does not read: . itself (1 image), dev/ (5 images), extra/ (1 image)."
    ]
    assert len(found.items) == 3


@pytest.mark.parametrize(
    ("source", "layout", "build"),
    [
        ("affectnet", "AN-npy", npy_tree),
        ("affectnet", "AN-va", va_tree),
        ("affectnet", "AN-plus", plus_tree),
        ("affectnet", "AN-yolo", yolo_tree),
        ("affectnet", "AN-csv", csv_tree),
        ("affectnet", "AN-kaggle-B", kaggle_b_tree),
        ("affectnet", "AN-folders", split_classes),
        ("rafdb", "RAF-kaggle", raf_kaggle_tree),
        ("rafdb", "RAF-basic", rafdb_tree),
    ],
)
def test_a_plain_tree_has_nothing_to_note_and_another_folder_has(
    tmp_path: Path, source: str, layout: str, build: Callable[[Path], object]
) -> None:
    """No layout is warned of its own folders; any other folder with images is."""
    build(tmp_path)
    plain = scanned(tmp_path, source)
    put(tmp_path / "more/1.jpg")
    put(tmp_path / "more/deeper/2.PNG")

    found = scanned(tmp_path, source)

    assert (ignored(plain), ignored(found)) == ([], [f"Ignored images that {layout} does not read: more/ (2 images)."])
    assert (found.layout, found.items.table.equals(plain.items.table)) == (layout, True)


def test_images_that_no_annotation_can_name_are_told(tmp_path: Path) -> None:
    """A loose image in a split is one without a label; a folder of them is counted."""
    npy_tree(tmp_path)
    put(tmp_path / "train_set/stray.jpg")
    put(tmp_path / "train_set/images/more/1.jpg")
    put(tmp_path / "train_set/resized/1.jpg")
    put(tmp_path / "train_set/images_cropped/1.jpg")

    found = scanned(tmp_path)

    assert reasons(found) == [("train_set/stray.jpg", "label_missing")]
    assert sorted(ignored(found)) == [
        "Ignored images that AN-npy does not read: train_set/images/more/ (1 image).",
        "Ignored images that AN-npy does not read: train_set/resized/ (1 image).",
    ]


def test_loose_images_and_inner_folders_of_the_other_split_layouts_are_told(tmp_path: Path) -> None:
    """AN-plus and AN-yolo pair files by stem as AN-npy does."""
    plus_tree(tmp_path / "plus")
    yolo_tree(tmp_path / "yolo")
    for split in ("plus/human_annotated/train_set", "yolo/train"):
        put(tmp_path / split / "stray.png")
        put(tmp_path / split / "images/more/1.jpg")

    for root, inner in (("plus", "human_annotated/train_set"), ("yolo", "train")):
        found = scanned(tmp_path / root)
        assert (f"{inner}/stray.png", "label_missing") in reasons(found)
        assert ignored(found) == [f"Ignored images that {found.layout} does not read: {inner}/images/more/ (1 image)."]


def test_folders_inside_image_folders_are_told(tmp_path: Path) -> None:
    """The CSV release names ``<n>/<hash>.jpg``, RAF-DB bare names: what lies deeper has no row."""
    csv_tree(tmp_path / "csv")
    put(tmp_path / "csv/Manually_Annotated_Images/backup/1.jpg")
    first = next(path for path in (tmp_path / "csv/Manually_Annotated_Images").iterdir() if path.name.isdecimal())
    put(first / "inner/2.jpg")
    raf_kaggle_tree(tmp_path / "kaggle")
    put(tmp_path / "kaggle/DATASET/train/1/inner/1.jpg")
    rafdb_tree(tmp_path / "basic")
    put(tmp_path / "basic/Image/aligned/inner/1.jpg")

    images = "Manually_Annotated_Images"
    assert sorted(ignored(scanned(tmp_path / "csv"))[0].partition(": ")[2].rstrip(".").split(", ")) == sorted(
        [f"{images}/{first.name}/inner/ (1 image)", f"{images}/backup/ (1 image)"]
    )
    assert ignored(scanned(tmp_path / "kaggle", "rafdb")) == [
        "Ignored images that RAF-kaggle does not read: DATASET/train/1/inner/ (1 image)."
    ]
    assert ignored(scanned(tmp_path / "basic", "rafdb")) == [
        "Ignored images that RAF-basic does not read: Image/aligned/inner/ (1 image)."
    ]


def test_a_count_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set beside a whole disk must still start; links are not followed, so a loop ends."""
    split_classes(tmp_path)
    for i in range(6):
        put(tmp_path / f"disk/{i}/1.jpg")
    (tmp_path / "disk/loop").symlink_to("..")

    assert ignored(scanned(tmp_path)) == ["Ignored images that AN-folders does not read: disk/ (6 images)."]
    monkeypatch.setattr(unread, "_MAX_FOLDERS", 4)
    assert ignored(scanned(tmp_path)) == ["Ignored images that AN-folders does not read: disk/ (at least 3 images)."]


def test_remote_folders_are_counted_too(tmp_path: Path) -> None:
    """The same tree gives the same notes wherever it lives."""
    class_folders(tmp_path, {"train": ONE_EACH, "dev": ONE_EACH})
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path), "/unread", recursive=True)
    try:
        found = scanned("memory://unread")
    finally:
        remote.rm("/unread", recursive=True)

    assert ignored(found) == ["Ignored images that AN-folders does not read: dev/ (8 images)."]
