"""The reader of RAF-DB's Kaggle form: CSV and folders that must agree."""

from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import put, raf_kaggle_tree, reasons

from ferdata.errors import LayoutError
from ferdata.labels import AFFECTNET_7
from ferdata.sources import Scan, ScanOptions, scan_source

TO_AFFECTNET = {1: 3, 2: 4, 3: 5, 4: 1, 5: 2, 6: 6, 7: 0}


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("rafdb", str(root), ScanOptions(**options))


def test_kaggle_form_is_read_by_its_csv(tmp_path: Path) -> None:
    """The same images, keys and labels as the official tree gives."""
    rows = raf_kaggle_tree(tmp_path)

    found = scanned(tmp_path)

    assert (found.layout, found.classes) == ("RAF-kaggle", AFFECTNET_7)
    assert [(item.key, item.label, item.source_label) for item in found.items] == [
        (s, TO_AFFECTNET[i], str(i)) for s, i in rows
    ]
    assert [item.path for item in found.items] == [f"DATASET/{s.split('_')[0]}/{i}/{s}_aligned.jpg" for s, i in rows]
    assert (found.rejects, found.repairs) == ([], {})


def test_kaggle_label_and_folder_that_disagree_stop(tmp_path: Path) -> None:
    """They agree in the real set, so one that does not is an altered copy and no label of it can be trusted."""
    raf_kaggle_tree(tmp_path)
    path = tmp_path / "train_labels.csv"
    path.write_text(path.read_text().replace("train_00003_aligned.jpg,4", "train_00003_aligned.jpg,5"))

    with pytest.raises(
        LayoutError, match=r"train_00003_aligned\.jpg as 5, but it lies at DATASET/train/4.*altered copy"
    ):
        scanned(tmp_path)


@pytest.mark.parametrize("bad", ["0", "8"])
def test_kaggle_ids_out_of_range_stop(tmp_path: Path, bad: str) -> None:
    """A 0-based copy would shift every class."""
    raf_kaggle_tree(tmp_path)
    path = tmp_path / "train_labels.csv"
    path.write_text(path.read_text().replace("_aligned.jpg,4", f"_aligned.jpg,{bad}"))

    with pytest.raises(LayoutError, match=f"ids from {min(int(bad), 1)} to {max(int(bad), 7)} found, expected 1..7"):
        scanned(tmp_path)


@pytest.mark.parametrize("bad", ["0", "8"])
def test_a_few_kaggle_ids_out_of_range_are_rejected_rows(tmp_path: Path, bad: str) -> None:
    """One typing error is no reason to refuse the other rows."""
    raf_kaggle_tree(tmp_path)
    path = tmp_path / "train_labels.csv"
    path.write_text(path.read_text().replace("train_00003_aligned.jpg,4", f"train_00003_aligned.jpg,{bad}"))

    found = scanned(tmp_path)

    assert reasons(found) == [("train_00003_aligned.jpg", "label_invalid")]
    assert len(found.items) == 20


@pytest.mark.parametrize("header", ["image,label", "label;FILENAME", "Label\tImage Path", "class|img_path"])
def test_kaggle_tables_are_read_by_the_names_of_their_columns(tmp_path: Path, header: str) -> None:
    """The order of the columns is whatever the last program that saved the file made it."""
    raf_kaggle_tree(tmp_path)
    plain = scanned(tmp_path)
    mark = next(mark for mark in ",;\t|" if mark in header)
    for split in ("train", "test"):
        rows = [line.split(",") for line in (tmp_path / f"{split}_labels.csv").read_text().splitlines()[1:]]
        lines = [header, *(mark.join(row if header.startswith("image") else row[::-1]) for row in rows)]
        (tmp_path / f"{split}_labels.csv").write_bytes("\r\n".join(lines).encode("utf-16"))

    found = scanned(tmp_path)

    assert found.layout == "RAF-kaggle"
    assert found.items.table.equals(plain.items.table)


def test_kaggle_rejects_are_named(tmp_path: Path) -> None:
    """Missing images, images without a row, ambiguous names and bad labels, each with its own reason."""
    raf_kaggle_tree(tmp_path)
    folder = tmp_path / "DATASET/train"
    (folder / "2/train_00001_aligned.jpg").unlink()
    put(folder / "2/train_00099_aligned.jpg")
    (folder / "3/train_00002_aligned.jpg").rename(folder / "3/train_00002_aligned.JPG")
    put(folder / "3/train_00002_aligned.png")
    put(folder / "loose.jpg")
    path = tmp_path / "train_labels.csv"
    path.write_text(
        "\ufeff"
        + path.read_text().replace("train_00004_aligned.jpg,5", "train_00004_aligned.jpg,happy").replace("\n", "\r\n")
    )

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("DATASET/train/2/train_00099_aligned.jpg", "label_missing"),
        ("DATASET/train/loose.jpg", "label_missing"),
        ("train_00001_aligned.jpg", "image_missing"),
        ("train_00002_aligned.jpg", "image_ambiguous"),
        ("train_00004_aligned.jpg", "label_invalid"),
    ]
    assert len(found.items) == 18


def test_kaggle_without_one_csv_takes_the_folders(tmp_path: Path) -> None:
    """The folders are RAF ids, so nothing is lost; it is said."""
    rows = raf_kaggle_tree(tmp_path)
    (tmp_path / "test_labels.csv").unlink()

    found = scanned(tmp_path)

    assert sorted((item.key, item.source_label) for item in found.items) == sorted((s, str(i)) for s, i in rows)
    assert any("no CSV file for split test" in note for note in found.notes)


def test_kaggle_without_a_split_folder_or_class_folder_is_warned_of(tmp_path: Path) -> None:
    """The rows of what is gone are rejects; empty folders are a warning."""
    raf_kaggle_tree(tmp_path)
    (tmp_path / "DATASET/test").rename(tmp_path / "elsewhere")
    (tmp_path / "DATASET/train/1/train_00007_aligned.jpg").unlink()
    (tmp_path / "DATASET/train/1/train_00014_aligned.jpg").unlink()

    found = scanned(tmp_path)

    assert {reject.reason for reject in found.rejects} == {"image_missing"}
    assert len(found.rejects) == 2 + 7
    assert "Warning: there is no test folder." in found.notes
    assert "Warning: DATASET/train/1 (Surprise) holds no image." in found.notes
