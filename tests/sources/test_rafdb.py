"""The reader of RAF-DB's official trees: every outcome that the layout specification names for basic and compound."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import only, put, rafdb_tree, reasons

from ferdata.errors import LayoutError, SourceError
from ferdata.labels import AFFECTNET_7, RAFDB_BASIC, RAFDB_COMPOUND
from ferdata.sources import Scan, ScanOptions, scan_source

LIST = "EmoLabel/list_patition_label.txt"
TO_AFFECTNET = {1: 3, 2: 4, 3: 5, 4: 1, 5: 2, 6: 6, 7: 0}


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("rafdb", str(root), ScanOptions(**options))


def edit_list(root: Path, change: Callable[[str], str]) -> None:
    path = root / LIST
    path.write_bytes(change(path.read_bytes().decode()).encode())


def test_basic_is_stored_in_affectnet_order_by_name(tmp_path: Path) -> None:
    """RAF ids are 1-based and ordered otherwise; a wrong map trains a wrong model without an error."""
    rows = rafdb_tree(tmp_path, train=14, test=7)

    found = scanned(tmp_path)

    assert (found.layout, found.source, found.classes) == ("RAF-basic", "rafdb", AFFECTNET_7)
    assert [(item.key, item.source_label) for item in found.items] == [(stem, str(raf_id)) for stem, raf_id in rows]
    assert [item.label for item in found.items] == [TO_AFFECTNET[raf_id] for _, raf_id in rows]
    assert [AFFECTNET_7[item.label] for item in found.items] == [RAFDB_BASIC[raf_id - 1] for _, raf_id in rows]
    assert [item.path for item in found.items] == [f"Image/aligned/{stem}_aligned.jpg" for stem, _ in rows]
    assert [item.split for item in found.items] == [stem.split("_")[0] for stem, _ in rows]
    assert (found.rejects, found.skipped, found.repairs) == ([], {}, {})


def test_compound_keeps_its_eleven_classes(tmp_path: Path) -> None:
    """There is no map from compound classes to AffectNet's."""
    rows = rafdb_tree(tmp_path, kind="compound", train=22, test=11)

    found = scanned(tmp_path)

    assert (found.layout, found.classes) == ("RAF-compound", RAFDB_COMPOUND)
    assert [(item.key, item.label, item.source_label) for item in found.items] == [(s, i - 1, str(i)) for s, i in rows]


@pytest.mark.parametrize("classes", [8, 7])
def test_basic_has_seven_classes_whatever_is_asked(tmp_path: Path, classes: int) -> None:
    """``--classes`` speaks of AffectNet's Contempt, which RAF-DB has not."""
    rafdb_tree(tmp_path)

    assert scanned(tmp_path, classes=classes).classes == AFFECTNET_7


def oddities(text: str) -> dict[str, str]:
    lines = text.splitlines()
    return {
        "crlf": "\r\n".join(lines) + "\r\n",
        "no final newline": text.rstrip("\n"),
        "blank lines": "\n\n".join(lines) + "\n\n\n",
        "extra spaces": "".join(f"  {line.replace(' ', '   ')}  \n" for line in lines),
        "tabs": text.replace(" ", "\t"),
        "third column": "".join(f"{line} 0\n" for line in lines),
        "byte-order mark": "\ufeff" + text,
        "aligned names": text.replace(".jpg", "_aligned.jpg"),
        "whole floats": "".join(f"{line}.0\n" for line in lines),
    }


@pytest.mark.parametrize("oddity", list(oddities("train_00001.jpg 5\n")))
def test_label_list_oddities_change_nothing(tmp_path: Path, oddity: str) -> None:
    """The lists in circulation have been through editors and other systems."""
    rows = rafdb_tree(tmp_path)
    edit_list(tmp_path, lambda text: oddities(text)[oddity])

    found = scanned(tmp_path)

    assert [(item.key, item.source_label) for item in found.items] == [(stem, str(raf_id)) for stem, raf_id in rows]
    assert found.rejects == []


def test_train_comes_first_where_the_list_puts_test_first(tmp_path: Path) -> None:
    """Items go split by split, whatever the order of the lines."""
    rafdb_tree(tmp_path)
    edit_list(tmp_path, lambda text: "".join(line + "\n" for line in text.splitlines()[::-1]))

    found = scanned(tmp_path)

    assert [item.split for item in found.items] == ["train"] * 14 + ["test"] * 7
    assert [item.key for item in found.items][:2] == ["train_00014", "train_00013"]


def test_row_without_image_and_image_without_row_are_rejected(tmp_path: Path) -> None:
    """Each of them is named with its reason; the rest goes on."""
    rafdb_tree(tmp_path)
    (tmp_path / "Image/aligned/train_00003_aligned.jpg").unlink()
    put(tmp_path / "Image/aligned/train_00077_aligned.jpg")
    put(tmp_path / "Image/aligned/holiday.png")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("Image/aligned/holiday.png", "label_missing"),
        ("Image/aligned/train_00003_aligned.jpg", "image_missing"),
        ("Image/aligned/train_00077_aligned.jpg", "label_missing"),
    ]
    missing = next(reject for reject in found.rejects if reject.reason == "image_missing")
    assert (missing.row, missing.split, missing.key) == (3, "train", "train_00003")
    assert len(found.items) == 20


def test_another_case_or_extension_is_accepted_once_and_ambiguous_twice(tmp_path: Path) -> None:
    """A single match is the image; of several none can be chosen."""
    rafdb_tree(tmp_path)
    folder = tmp_path / "Image/aligned"
    (folder / "train_00001_aligned.jpg").rename(folder / "train_00001_aligned.JPG")
    (folder / "train_00002_aligned.jpg").rename(folder / "Train_00002_Aligned.png")
    (folder / "train_00003_aligned.jpg").rename(folder / "train_00003_aligned.JPEG")
    put(folder / "train_00003_aligned.tif")
    put(folder / "train_00004_aligned.png")

    found = scanned(tmp_path)

    assert [item.path.rsplit("/", 1)[1] for item in found.items][:3] == [
        "train_00001_aligned.JPG",
        "Train_00002_Aligned.png",
        "train_00004_aligned.jpg",
    ]
    assert found.repairs == {"name_matched": 2}
    assert reasons(found) == [
        ("Image/aligned/train_00003_aligned.jpg", "image_ambiguous"),
        ("Image/aligned/train_00004_aligned.png", "label_missing"),
    ]
    assert "train_00003_aligned.JPEG or train_00003_aligned.tif" in found.rejects[0].detail


def test_no_image_at_all_stops(tmp_path: Path) -> None:
    """A whole list without images means the wrong root, not 21 bad rows."""
    rafdb_tree(tmp_path)
    for path in (tmp_path / "Image/aligned").iterdir():
        path.rename(path.with_name(path.name.replace("0", "9")))

    with pytest.raises(SourceError, match=r"none of 21 label rows finds its image.*train_00001_aligned\.jpg"):
        scanned(tmp_path)


def test_stems_of_both_sets_in_one_list_stop(tmp_path: Path) -> None:
    """Basic and compound stems of one number differ only in zero padding, and their ids mean other classes."""
    rafdb_tree(tmp_path)
    edit_list(tmp_path, lambda text: text + "train_0001.jpg 3\n")

    with pytest.raises(LayoutError, match="keep the two sets apart"):
        scanned(tmp_path)


def test_compound_stems_with_basic_labels_stop(tmp_path: Path) -> None:
    """A hundred compound rows without one id above 7 cannot be: their labels are those of basic."""
    rafdb_tree(tmp_path, kind="compound", train=110, test=0)
    edit_list(
        tmp_path, lambda text: "".join(f"{line.split()[0]} {i % 7 + 1}\n" for i, line in enumerate(text.splitlines()))
    )

    with pytest.raises(LayoutError, match="digits and labels disagree"):
        scanned(tmp_path)


def test_labels_that_are_no_numbers_are_rejected_and_most_of_them_stop(tmp_path: Path) -> None:
    """One bad label is one reject, named once; more than half are another kind of file."""
    rafdb_tree(tmp_path)
    edit_list(
        tmp_path,
        lambda text: text.replace("train_00001.jpg 2", "train_00001.jpg happy").replace(
            "train_00002.jpg 3", "train_00002.jpg"
        ),
    )

    found = scanned(tmp_path)

    assert reasons(found) == [("train_00001.jpg", "label_invalid"), ("train_00002.jpg", "label_missing")]
    assert len(found.items) == 19

    edit_list(
        tmp_path, lambda text: text.replace(" 4", " x").replace(" 5", " x").replace(" 6", " x").replace(" 7", " x")
    )
    with pytest.raises(SourceError, match=r"of 21 labels are not classes: label 'x'"):
        scanned(tmp_path)


def test_a_line_that_names_no_rafdb_image_is_a_bad_row(tmp_path: Path) -> None:
    """A header or a stray line is told and left out."""
    rafdb_tree(tmp_path)
    edit_list(tmp_path, lambda text: "name label\n" + text)

    found = scanned(tmp_path)

    assert (only(found.rejects).reason, only(found.rejects).row) == ("bad_row", 1)
    assert len(found.items) == 21


def test_repeated_rows_are_kept_with_the_line_number_in_the_key(tmp_path: Path) -> None:
    """Official totals count rows; keys stay unique."""
    rafdb_tree(tmp_path)
    edit_list(tmp_path, lambda text: text + "train_00002.jpg 3\ntrain_00005.jpg 1\n")

    found = scanned(tmp_path)

    assert [item.key for item in found.items if "00002" in item.key] == ["train_00002", "train_00002_row22"]
    assert len({item.key for item in found.items}) == len(found.items) == 23
    assert any(
        "2 images stand in several rows" in note and "1 of them with different labels" in note for note in found.notes
    )


def test_the_correctly_spelled_list_beside_the_images_is_read_too(tmp_path: Path) -> None:
    """``list_partition_label.txt`` occurs, and not everybody keeps ``EmoLabel/``."""
    rafdb_tree(tmp_path)
    (tmp_path / LIST).rename(tmp_path / "list_partition_label.txt")
    (tmp_path / "EmoLabel").rmdir()

    assert len(scanned(tmp_path).items) == 21


def test_a_missing_split_and_an_absent_class_are_warned_of(tmp_path: Path) -> None:
    """Both are accepted; both are worth knowing."""
    rafdb_tree(tmp_path, train=5, test=0)

    notes = scanned(tmp_path).notes

    assert "Warning: the label list has no row of split test." in notes
    assert "Warning: train has no image of Surprise, Neutral." in notes


def write_counts(root: Path, train: dict[int, int], test: dict[int, int]) -> None:
    lines = []
    for split, digits, counts in (("train", 5, train), ("test", 4, test)):
        number = 0
        for raf_id, count in counts.items():
            for _ in range(count):
                number += 1
                lines.append(f"{split}_{number:0{digits}d}.jpg {raf_id}\n")
    put(root / LIST, "".join(lines))
    folder = root / "Image/aligned"
    folder.mkdir(parents=True)
    for line in lines:
        (folder / line.split()[0].replace(".jpg", "_aligned.jpg")).touch()


def test_the_whole_of_basic_is_reported_as_complete_and_a_loss_by_class(tmp_path: Path) -> None:
    """Whoever lacks images should hear it, class by class."""
    train = dict(enumerate((1290, 281, 717, 4772, 1982, 705, 2524), start=1))
    test = dict(enumerate((329, 74, 160, 1185, 478, 162, 680), start=1))
    write_counts(tmp_path, train, test)

    found = scanned(tmp_path)

    assert found.complete is True
    assert found.items.splits() == ["train", "test"]
    assert any(note.startswith("Complete") for note in found.notes)

    edit_list(tmp_path, lambda text: text.replace("train_00001.jpg 1\n", ""))
    found = scanned(tmp_path)
    assert found.complete is False
    assert any("12,270 found, 12,271 in RAF-DB basic (-1): Surprise -1" in note for note in found.notes)
    assert only(found.rejects).reason == "label_missing"


def test_the_reduced_copy_is_called_one(tmp_path: Path) -> None:
    """12,175 and 3,031 images circulate as if they were the whole."""
    write_counts(tmp_path, {4: 12175}, {4: 3031})

    found = scanned(tmp_path)

    assert found.complete is False
    assert any("reduced copy" in note for note in found.notes)
