"""Markers with more to decide than a name: AffectNet's CSV files and image folders, RAF-DB's label list, and tables."""

from pathlib import Path

import pytest
from trees import csv_row, csv_text, csv_tree
from trees_rafdb import KAGGLE_NAMES, kaggle_b_tree, parquet_file, put, rafdb_tree, yolo_tree

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.sources import ScanOptions, detect_layout, scan_source


@pytest.mark.parametrize(
    ("images", "lists", "names", "flat"),
    [
        ("Manually_Annotated_Images", "", ("training.csv", "validation.csv"), False),
        (
            "manually_annotated",
            "Manually_Annotated_file_lists",
            ("Manually_training.csv", "Manually_validation.csv"),
            False,
        ),
        ("Manually_Annotated_compressed", "label", ("training.csv", "validate.csv"), False),
        (
            "Manually_Annotated/Manually_Annotated_Images",
            "Manually_Annotated",
            ("training.csv", "validation.csv"),
            False,
        ),
        ("Manually_Annotated", "Manually_Annotated", ("training.csv", "validation.csv"), False),
        ("Manually_Annotated_Images/Manually_Annotated_Images", "", ("Training.csv", "VALIDATION.CSV"), False),
        ("Manually_Annotated_Images", "", ("training.csv", "validation.csv"), True),
        ("Manually_Annotated_Images/Manually_Annotated_Images", "", ("training.csv", "validation.csv"), True),
        ("pictures/of faces", "", ("training.csv", "validation.csv"), False),
        ("", "", ("training.csv", "validation.csv"), False),
    ],
)
def test_csv_files_and_images_are_looked_for_separately(
    tmp_path: Path, images: str, lists: str, names: tuple[str, str], flat: bool
) -> None:
    """Users unpack the 2017 archives wherever they like."""
    csv_tree(tmp_path, images=images, lists=lists, names=names, flat=flat)

    found = detect_layout(str(tmp_path), source="affectnet")

    assert (found.layout.name, found.root) == ("AN-csv", str(tmp_path))
    assert found.folders == {"manual": images}
    assert found.files == {
        split: f"{lists}/{name}".strip("/") for split, name in zip(("train", "val"), names, strict=True)
    }
    assert len(scan_source("affectnet", str(tmp_path), ScanOptions()).items) == 16 + 8


def test_the_automatic_part_is_found_beside_the_manual_one(tmp_path: Path) -> None:
    """Its lists and images come in folders of their own."""
    csv_tree(tmp_path)
    lists = tmp_path / "Automatically_Annotated/Automatically_annotated_file_list"
    put(lists / "automatically_annotated.csv", csv_text([csv_row(7)]))
    put(tmp_path / "Automatically_Annotated/Automatically_Annotated_Images" / csv_row(7)[0])

    found = detect_layout(str(tmp_path))

    assert (
        found.files["automatic"]
        == "Automatically_Annotated/Automatically_annotated_file_list/automatically_annotated.csv"
    )
    assert found.folders["automatic"] == "Automatically_Annotated/Automatically_Annotated_Images"


def test_the_automatic_list_without_images_is_left_aside(tmp_path: Path) -> None:
    """Half of a download must not stop the other half."""
    csv_tree(tmp_path)
    put(tmp_path / "automatically_annotated.csv", csv_text([csv_row(99)]))

    found = detect_layout(str(tmp_path))

    assert set(found.files) == {"train", "val"}
    assert any("automatically annotated part was left aside" in note for note in found.notes)


def test_packed_images_beside_the_csv_files_must_be_unpacked(tmp_path: Path) -> None:
    """The multi-part archive is the usual state after a download."""
    put(tmp_path / "training.csv", csv_text([csv_row(0)]))
    put(tmp_path / "Manually_Annotated/Manually_Annotated.part1.rar")

    with pytest.raises(
        LayoutError,
        match=r"training.csv found, but the images are still packed \(Manually_Annotated/.*part1.rar\).*unpack first",
    ):
        detect_layout(str(tmp_path))


def test_csv_files_without_images_say_where_to_point(tmp_path: Path) -> None:
    """The folder of lists alone is a wrong root."""
    put(tmp_path / "training.csv", csv_text([csv_row(0)]))

    with pytest.raises(
        LayoutError, match=r"training.csv found, but no Manually_Annotated_Images.*give the folder that holds"
    ):
        detect_layout(str(tmp_path))


def test_two_folders_with_the_same_images_must_be_settled(tmp_path: Path) -> None:
    """Boxes fit the original images, not a smaller copy of them."""
    csv_tree(tmp_path)
    csv_tree(tmp_path, images="Manually_Annotated_compressed")

    with pytest.raises(
        AmbiguousLayoutError,
        match="'Manually_Annotated_Images' and 'Manually_Annotated_compressed' found, expected one",
    ):
        detect_layout(str(tmp_path))


def test_two_csv_files_for_one_split_must_be_settled_unless_they_are_equal(tmp_path: Path) -> None:
    """An official name beats another, an equal copy does no harm, and two that differ are a question."""
    csv_tree(tmp_path)
    put(tmp_path / "training_clean.csv", csv_text([csv_row(0)]))
    copy = put(tmp_path / "label/training.csv", (tmp_path / "training.csv").read_bytes())

    found = detect_layout(str(tmp_path))

    assert found.files["train"] == "training.csv"
    assert {
        "Ignored training_clean.csv: training.csv is used.",
        "Ignored label/training.csv: training.csv is used.",
    } <= set(found.notes)
    copy.write_text(csv_text([csv_row(1)]))
    with pytest.raises(
        AmbiguousLayoutError,
        match=r"training.csv and label/training.csv differ, expected one CSV file for the train rows",
    ):
        detect_layout(str(tmp_path))


def test_a_csv_file_whose_name_says_no_split_is_a_question(tmp_path: Path) -> None:
    """It could be either split."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").rename(tmp_path / "faces.csv")

    assert any("Ignored faces.csv" in note for note in detect_layout(str(tmp_path)).notes)
    (tmp_path / "validation.csv").unlink()
    with pytest.raises(AmbiguousLayoutError, match=r"faces.csv found, expected a name that says the split"):
        detect_layout(str(tmp_path))


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["train_00001.jpg 1", "train_0001.jpg 2"], "keep the two sets apart"),
        (["train_0001.jpg 1", "test_0001.jpg 2"], "keep the two sets apart"),
        (["face1.jpg 3"], "RAF-ML and RAF-CE are other data sets"),
    ],
)
def test_a_rafdb_list_whose_digits_disagree_stops(tmp_path: Path, lines: list[str], match: str) -> None:
    """Digits tell basic from compound; a contradiction means a mixed or altered list."""
    put(tmp_path / "EmoLabel/list_patition_label.txt", "\n".join(lines))

    with pytest.raises(LayoutError, match=match):
        detect_layout(str(tmp_path))


def test_both_spellings_of_the_rafdb_list_are_its_name(tmp_path: Path) -> None:
    """The misspelling is the real name; equal copies do no harm, different ones are a question."""
    rafdb_tree(tmp_path)
    text = (tmp_path / "EmoLabel/list_patition_label.txt").read_text()
    other = put(tmp_path / "EmoLabel/list_partition_label.txt", text)

    assert detect_layout(str(tmp_path)).layout.name == "RAF-basic"
    other.write_text(text + "train_09999.jpg 1\n")
    with pytest.raises(AmbiguousLayoutError, match=r"list_patition_label.txt and .*list_partition_label.txt differ"):
        detect_layout(str(tmp_path))


def test_yolo_names_one_folder_up_belong_to_it(tmp_path: Path) -> None:
    """``data.yaml`` lies in ``YOLO_format/`` or beside it; without it the ids could not be mapped by name."""
    yolo_tree(tmp_path / "YOLO_format")
    (tmp_path / "YOLO_format/data.yaml").rename(tmp_path / "data.yaml")

    found = detect_layout(str(tmp_path))

    assert (found.layout.name, found.files["names"], found.splits["train"]) == (
        "AN-yolo",
        "data.yaml",
        "YOLO_format/train",
    )


def test_kaggle_labels_inside_the_train_folder_are_found(tmp_path: Path) -> None:
    """One re-release keeps its only ``labels.csv`` there."""
    kaggle_b_tree(tmp_path)
    (tmp_path / "labels.csv").rename(tmp_path / "Train/labels.csv")

    found = detect_layout(str(tmp_path))

    assert (found.layout.name, found.files) == ("AN-kaggle-B", {"labels": "Train/labels.csv"})


def test_parquet_files_are_sorted_into_splits_by_name(tmp_path: Path) -> None:
    """Shards of one split stay in order; a file without a split's name among others is a question."""
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        parquet_file(tmp_path / f"data/{name}.parquet", [0, 1], names=KAGGLE_NAMES)

    tables = detect_layout(str(tmp_path)).tables

    assert tables == {
        "train": ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"),
        "val": ("data/validation-00000-of-00001.parquet",),
    }
    parquet_file(tmp_path / "data/0001.parquet", [0, 1], names=KAGGLE_NAMES)
    with pytest.raises(AmbiguousLayoutError, match=r"data/0001.parquet found beside files of named splits"):
        detect_layout(str(tmp_path))
