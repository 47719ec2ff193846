"""RAF-DB's annotation files: which images they fit, and what a gap becomes."""

from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import auto_points, manual_points, only, put, rafdb_tree

from ferdata.labels import AFFECTNET_7, RAFDB_BASIC
from ferdata.sources import Scan, ScanOptions, scan_source


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("rafdb", str(root), ScanOptions(**options))


def test_original_images_carry_box_points_and_person(tmp_path: Path) -> None:
    """Boxes are stored as corners and handed on as corner and size; points as they are."""
    rows = rafdb_tree(tmp_path, images=("aligned", "original"), annotations=True)

    found = scanned(tmp_path, rafdb_images="original", crop="box", num_workers=3)

    for index, (item, (stem, _)) in enumerate(zip(found.items, rows, strict=True)):
        assert (item.key, item.path) == (stem, f"Image/original/{stem}.jpg")
        assert item.box == (index + 0.5, index + 1.25, 40.0, 50.0)
        assert list(item.landmarks or ()) == manual_points(index)
        assert item.extra is not None
        assert item.extra["auto_landmarks"] == auto_points(index)
        assert item.extra["gender"] == ("male", "female", "unsure")[index % 3]
        assert item.extra["race"] == ("Caucasian", "African-American", "Asian")[index % 3]
        assert item.extra["age"] == ("0-3", "4-19", "20-39", "40-69", "70+")[index % 5]
    assert (found.rejects, found.repairs) == ([], {})


def test_aligned_images_never_carry_boxes_or_points(tmp_path: Path) -> None:
    """Both are in pixels of the original image; on the aligned one they would be silently wrong."""
    rafdb_tree(tmp_path, images=("aligned", "original"), annotations=True)

    found = scanned(tmp_path, crop="box")

    assert all(item.box is None and item.landmarks is None for item in found.items)
    assert found.items[1].extra == {"gender": "female", "race": "African-American", "age": "4-19"}
    assert (found.rejects, found.repairs) == ([], {})
    assert any("aligned images are face crops already" in note for note in found.notes)


@pytest.mark.parametrize("text", ["", "1 2 3\n", "a b c d\n", "1 2 3 nan\n"])
def test_missing_or_malformed_annotations_are_accepted_without_them(tmp_path: Path, text: str) -> None:
    """The image and its label are still good; each gap is counted."""
    rafdb_tree(tmp_path, images=("original",), annotations=True)
    annotation = tmp_path / "Annotation"
    put(annotation / "boundingbox/train_00001_boundingbox.txt", text)
    put(annotation / "manual/train_00002_manu_attri.txt", text)
    (annotation / "manual/train_00003_manu_attri.txt").unlink()
    put(annotation / "auto/train_00003_auto_attri.txt", text)

    found = scanned(tmp_path, rafdb_images="original", crop="box")

    assert len(found.items) == 21
    assert found.items[0].box is None
    assert list(found.items[1].landmarks or ()) == auto_points(1)
    assert "gender" not in (found.items[1].extra or {})
    assert found.items[2].landmarks is None
    assert found.repairs == {"box_missing": 1, "landmarks_missing": 1}


def test_no_annotation_folder_is_said_once(tmp_path: Path) -> None:
    """Original images without annotations are usable."""
    rafdb_tree(tmp_path, images=("original",))

    found = scanned(tmp_path, rafdb_images="original")

    assert found.repairs == {"box_missing": 21, "landmarks_missing": 21}
    assert sum("manual, auto, boundingbox not found" in note for note in found.notes) == 1


@pytest.mark.parametrize(("crop", "outcome"), [("box", "reject"), ("none", "accept")])
@pytest.mark.parametrize("corners", ["10 10 10 20", "30 10 5 20", "1 9 5 3"])
def test_a_box_without_area_is_rejected_only_where_crops_are_asked_for(
    tmp_path: Path, crop: str, outcome: str, corners: str
) -> None:
    """Without crops the box is not needed; the image is kept without it."""
    rafdb_tree(tmp_path, images=("original",), annotations=True)
    put(tmp_path / "Annotation/boundingbox/train_00001_boundingbox.txt", corners)

    found = scanned(tmp_path, rafdb_images="original", crop=crop)

    if outcome == "reject":
        assert (only(found.rejects).key, only(found.rejects).reason) == ("train_00001", "box_invalid")
    else:
        assert (found.rejects, found.items[0].box, found.repairs) == ([], None, {"box_invalid": 1})


def test_the_distribution_file_comes_along_in_affectnet_order(tmp_path: Path) -> None:
    """Its seven shares are in RAF id order; stored classes are not."""
    rafdb_tree(tmp_path)
    put(
        tmp_path / "EmoLabel/distribution_basic.txt",
        "train_00001.jpg 0.1 0.2 0.3 0.4 0.5 0.6 0.7 \ntrain_00002.jpg broken\n",
    )

    found = scanned(tmp_path)

    shares = {name: round(0.1 * (i + 1), 1) for i, name in enumerate(RAFDB_BASIC)}
    assert found.items[0].soft_labels == pytest.approx([shares[name] / 2.8 for name in AFFECTNET_7])
    assert found.items[1].soft_labels is None
