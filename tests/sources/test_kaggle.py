"""The Kaggle copies of AffectNet: class folders with ``labels.csv``, with and without splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import kaggle_a_tree, kaggle_b_tree, labels_csv, names_of, put, reasons, yolo_tree

from ferdata.errors import LayoutError, SourceError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, canonical_name
from ferdata.sources import Scan, ScanOptions, scan_source


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


def replace_in(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_kaggle_a_maps_alphabetical_folders_to_official_ids_by_name(tmp_path: Path) -> None:
    """Sorted folder names would give anger the id 0, which is Neutral."""
    rows = kaggle_a_tree(tmp_path, 16)

    found = scanned(tmp_path)

    assert (found.layout, found.classes, found.items.splits()) == ("AN-kaggle-A", AFFECTNET_8, ["train"])
    assert [(item.path, item.source_label) for item in found.items] == [
        (f"{folder}/{name}", folder) for folder, name in rows
    ]
    assert names_of(found) == [canonical_name(folder) for folder, _ in rows]
    assert found.items[0].key == "train_anger_image0000000"
    assert [item.extra for item in found.items][:2] == [{"relFCs": 0.5}, {"relFCs": 0.51}]
    assert (found.rejects, found.repairs) == ([], {})
    assert any("about a tenth" in note for note in found.notes)


def test_kaggle_csv_beats_the_folder(tmp_path: Path) -> None:
    """In this release the folder is wrong for some images; each of them is counted."""
    kaggle_a_tree(tmp_path)
    replace_in(tmp_path / "labels.csv", "anger/image0000000.jpg,anger", "anger/image0000000.jpg,Surprise")
    replace_in(tmp_path / "labels.csv", "sad/image0000006.jpg,sad", "sad/image0000006.jpg,fear")

    found = scanned(tmp_path)

    assert names_of(found)[0] == "Surprise"
    assert found.items[0].source_label == "Surprise"
    assert names_of(found)[6] == "Fear"
    assert found.repairs == {"folder_differs": 2}


def test_kaggle_a_rejects_are_named(tmp_path: Path) -> None:
    """Every row and every image ends in exactly one outcome."""
    kaggle_a_tree(tmp_path)
    (tmp_path / "anger/image0000000.jpg").unlink()
    (tmp_path / "fear/image0000003.jpg").rename(tmp_path / "fear/IMAGE0000003.JPG")
    put(tmp_path / "fear/Image0000003.jpg")
    put(tmp_path / "happy/unlisted.jpg")
    put(tmp_path / "loose.png")
    replace_in(tmp_path / "labels.csv", "sad/image0000006.jpg,sad", "sad/image0000006.jpg,bored")
    replace_in(tmp_path / "labels.csv", "sad/image0000014.jpg,sad", "sad/image0000014.jpg,")
    replace_in(tmp_path / "labels.csv", "fear/image0000011.jpg,fear", ",fear")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("", "bad_row"),
        ("anger/image0000000.jpg", "image_missing"),
        ("fear/image0000003.jpg", "image_ambiguous"),
        ("fear/image0000011.jpg", "label_missing"),
        ("happy/unlisted.jpg", "label_missing"),
        ("loose.png", "label_missing"),
        ("sad/image0000006.jpg", "label_invalid"),
        ("sad/image0000014.jpg", "label_missing"),
    ]
    assert len(found.items) == 11
    assert next(reject for reject in found.rejects if reject.reason == "label_invalid").row == 8


def test_kaggle_repeated_rows_are_kept_with_the_line_number_in_the_key(tmp_path: Path) -> None:
    """Two rows of one image are two items."""
    kaggle_a_tree(tmp_path)
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("16,anger/image0000000.jpg,fear,0.5\n")

    found = scanned(tmp_path)

    assert [item.key for item in found.items if "0000000" in item.key] == [
        "train_anger_image0000000",
        "train_anger_image0000000_row18",
    ]
    assert any("1 image stands in several rows" in note for note in found.notes)


def test_kaggle_sources_that_do_not_fit_stop(tmp_path: Path) -> None:
    """Wrong root, wrong map: refused before anything is written."""
    kaggle_a_tree(tmp_path)
    replace_in(tmp_path / "labels.csv", "image0", "picture0")
    with pytest.raises(SourceError, match="none of 16 label rows finds its image"):
        scanned(tmp_path)

    put(tmp_path / "labels.csv", labels_csv([(f"anger/image{i:07d}.jpg", str(i % 8), "1") for i in range(16)]))
    with pytest.raises(SourceError, match=r"16 of 16 labels are not classes.*expected class names"):
        scanned(tmp_path)


def test_seven_classes_skip_contempt_and_count_it(tmp_path: Path) -> None:
    """Nothing else shifts."""
    kaggle_a_tree(tmp_path)

    found = scanned(tmp_path, classes=7)

    assert found.classes == AFFECTNET_7
    assert found.skipped == {"contempt": 2}
    assert len(found.items) == 14
    assert "Contempt" not in names_of(found)


def test_kaggle_b_finds_images_in_both_splits_in_any_case(tmp_path: Path) -> None:
    """``pth`` has no split, and ``Test/Anger`` is ``anger`` in the CSV."""
    rows = kaggle_b_tree(tmp_path / "archive (3)")

    found = scanned(tmp_path)

    assert (found.layout, found.items.splits()) == ("AN-kaggle-B", ["train", "test"])
    assert [item.path for item in found.items] == ["/".join(row) for row in rows]
    assert names_of(found) == [canonical_name(folder) for _, folder, _ in rows]
    assert [item.split for item in found.items] == ["train"] * 16 + ["test"] * 8
    assert (found.rejects, found.repairs) == ([], {"name_matched": 8})
    assert any("part of AffectNet" in note for note in found.notes)


def test_kaggle_b_falls_back_to_the_folder_name(tmp_path: Path) -> None:
    """Its CSV names only some of the images; the others have no better label than their folder."""
    kaggle_b_tree(tmp_path)
    put(tmp_path / "Test/Anger/extra.jpg")
    put(tmp_path / "Test/loose.jpg")
    replace_in(tmp_path / "labels.csv", "anger/image0000008.jpg,anger", "anger/image0000008.jpg,sad")

    found = scanned(tmp_path)

    extra = next(item for item in found.items if item.path == "Test/Anger/extra.jpg")
    assert (extra.source_label, found.classes[extra.label]) == ("Anger", "Anger")
    assert (found.repairs["label_from_folder"], found.repairs["folder_differs"]) == (1, 1)
    assert reasons(found) == [("Test/loose.jpg", "label_missing")]


def test_kaggle_b_with_a_csv_inside_train_means_the_images_of_train_first(tmp_path: Path) -> None:
    """A file of the same name in test is another image."""
    kaggle_b_tree(tmp_path / "AffectNet", train=8, test=0)
    (tmp_path / "AffectNet/labels.csv").rename(tmp_path / "AffectNet/Train/labels.csv")
    put(tmp_path / "AffectNet/test/fear/image0000000.jpg")
    put(tmp_path / "AffectNet/test/anger/image0000000.jpg")
    replace_in(tmp_path / "AffectNet/Train/labels.csv", "anger/image0000000.jpg,anger", "anger/image0000000.jpg,sad")

    found = scanned(tmp_path)

    named = {item.path: found.classes[item.label] for item in found.items}
    assert named["Train/anger/image0000000.jpg"] == "Sad"
    assert (named["test/anger/image0000000.jpg"], named["test/fear/image0000000.jpg"]) == ("Anger", "Fear")
    assert found.repairs == {"folder_differs": 1, "label_from_folder": 2}


def test_kaggle_b_with_a_csv_inside_train_labels_test_too(tmp_path: Path) -> None:
    """The only label file lists both splits in some copies, and it is right where the folder is not."""
    kaggle_b_tree(tmp_path)
    (tmp_path / "labels.csv").rename(tmp_path / "Train/labels.csv")
    replace_in(tmp_path / "Train/labels.csv", "anger/image0000016.jpg,anger", "anger/image0000016.jpg,sad")

    found = scanned(tmp_path)

    assert [item.split for item in found.items] == ["train"] * 16 + ["test"] * 8
    assert (
        next(found.classes[item.label] for item in found.items if item.path == "Test/Anger/image0000016.jpg") == "Sad"
    )
    assert (found.rejects, found.repairs) == ([], {"name_matched": 8, "folder_differs": 1})


def test_kaggle_b_row_that_names_an_image_of_both_splits_labels_both(tmp_path: Path) -> None:
    """Which one the row means cannot be told, so both take its label and it is said."""
    kaggle_b_tree(tmp_path)
    put(tmp_path / "Test/Anger/image0000000.jpg")

    found = scanned(tmp_path)

    assert len(found.items) == 25
    assert len({item.key for item in found.items}) == 25
    assert any("1 rows name an image of several splits" in note for note in found.notes)


def test_kaggle_b_unknown_folder_without_rows_stops(tmp_path: Path) -> None:
    """Its images have no label that means anything."""
    kaggle_b_tree(tmp_path)
    put(tmp_path / "Train/bored/x.jpg")

    with pytest.raises(LayoutError, match=r"class folder 'bored' found.*neutral, normal, calm"):
        scanned(tmp_path)


def test_kaggle_b_empty_folder_and_missing_split_are_warned_of(tmp_path: Path) -> None:
    """Both are accepted."""
    kaggle_b_tree(tmp_path, train=16, test=0)
    (tmp_path / "Train/joy").mkdir()

    notes = scanned(tmp_path).notes

    assert "Warning: class folder Train/joy is empty." in notes
    assert "Warning: there is no test folder." in notes


@pytest.mark.parametrize("build", [kaggle_a_tree, kaggle_b_tree, yolo_tree])
def test_scanning_opens_no_image(tmp_path: Path, build: Any) -> None:
    """Links that lead nowhere can be listed and nothing more."""
    build(tmp_path)
    for path in [*tmp_path.rglob("*.jpg"), *tmp_path.rglob("*.png")]:
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")

    found = scanned(tmp_path)

    assert len(found.items) >= 16
    assert found.rejects == []


def table_beside_images(root: Path, labels: Sequence[str], *, image: str) -> None:
    """Write two images of each label to ``train/images/`` and a root ``labels.csv`` that names them like ``image``."""
    names = [f"{i}_{label}.jpg" for label in labels for i in range(2)]
    for name in names:
        put(root / "train/images" / name)
    rows = "".join(f"{image.format(name=name)},{name[2:-4]}\n" for name in names)
    put(root / "labels.csv", f"image,label\n{rows}")


@pytest.mark.parametrize("image", ["{name}", "images/{name}", "train/images/{name}"])
def test_a_table_beside_one_folder_of_images_is_read_as_advised(tmp_path: Path, image: str) -> None:
    """Source ``folder`` sends the user to ``affectnet``; with bare file names that used to be a dead end."""
    table_beside_images(tmp_path, ["anger", "fear"], image=image)
    put(tmp_path / "train/images/unnamed.jpg")

    with pytest.raises(LayoutError, match="use source 'affectnet'"):
        scanned(tmp_path, "folder")
    found = scanned(tmp_path, "affectnet")

    assert sorted(names_of(found)) == ["Anger", "Anger", "Fear", "Fear"]
    assert reasons(found) == [("train/images/unnamed.jpg", "label_missing")]
    assert found.repairs == {}


def test_a_bare_file_name_in_two_folders_is_a_doubt(tmp_path: Path) -> None:
    """Either image can be meant."""
    table_beside_images(tmp_path, ["anger", "fear"], image="{name}")
    put(tmp_path / "train/more/0_fear.jpg")

    assert reasons(scanned(tmp_path))[0] == ("0_fear.jpg", "image_ambiguous")


@pytest.mark.parametrize("labels", [["smile", "tears"], ["0", "1"]])
def test_a_table_of_other_classes_is_not_claimed_for_affectnet(tmp_path: Path, labels: list[str]) -> None:
    """AffectNet's reader has no use for it, so source ``folder`` must not send the user there."""
    table_beside_images(tmp_path, labels, image="images/{name}")

    with pytest.raises(SourceError, match="labels are not classes"):
        scanned(tmp_path, "affectnet")
    with pytest.raises(
        LayoutError, match=r"beside labels.csv, whose labels are not read.*put images in train/<class>/"
    ):
        scanned(tmp_path, "folder")


def test_class_folders_of_ones_own_are_read_beside_a_table_that_agrees(tmp_path: Path) -> None:
    """With split folders the table used to be taken for AffectNet's, and no source read the tree."""
    for i, name in enumerate(["smile", "tears"] * 4):
        put(tmp_path / f"train/{name}/{i}.jpg")
    rows = "".join(f"train/{name}/{i}.jpg,{name}\n" for i, name in enumerate(["smile", "tears"] * 4))
    put(tmp_path / "labels.csv", f"image,label\n{rows}")

    found = scanned(tmp_path, "folder")

    assert (found.layout, found.classes, len(found.items)) == ("folder", ("smile", "tears"), 8)
    assert "labels.csv gives every image the class of its folder." in found.notes
