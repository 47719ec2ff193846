"""What makes a class of a folder: spellings of one name, folders of all images, and advice where nothing names one."""

from pathlib import Path

import pytest
from trees_rafdb import class_folders, put

from ferdata.errors import LayoutError
from ferdata.labels import DFEW, FER2013, canonical_name, name_key, plain_name
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.files.listing import split_of
from ferdata.sources.files.matching import NameIndex

NFC, NFD = "caf\u00e9", "cafe\u0301"


def scanned(root: Path, source: str = "folder") -> Scan:
    return scan_source(source, str(root), ScanOptions(num_workers=1))


def refused(root: Path, source: str) -> str:
    with pytest.raises(LayoutError) as caught:
        scanned(root, source)
    return str(caught.value).removeprefix(f"{root}: ")


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("Bored ", "Bored", "Bored"),
        (" Bored", "Bored", "Bored"),
        ("Bored\r", "Bored", "Bored"),
        ("not\u00a0sure", "not  sure", "not sure"),
        ("Bored\u200b", "Bored", "Bored"),
        ("\ufeffBored", "bored", "Bored"),
        ("Bo\u00adred", "BORED", "Bored"),
        (NFC, NFD, NFC),
        (NFD, NFC.upper(), NFC),
        ("Stra\u00dfe", "STRASSE", "Stra\u00dfe"),
        ("\uff22ored", "bored", "\uff22ored"),
        ("01", "1", "01"),
    ],
)
def test_spellings_of_one_name_are_one_class_with_a_note(tmp_path: Path, one: str, other: str, shown: str) -> None:
    """They look the same on a screen, and as two classes each would miss the other's images."""
    class_folders(tmp_path, {"train": {one: 2, "Tired": 1}, "val": {other: 3, "Tired": 1}}, name="{i}.jpg")

    found = scanned(tmp_path)

    assert sorted(found.classes) == sorted([shown, "Tired"])
    assert [found.classes[item.label] for item in found.items].count(shown) == 5
    (note,) = [note for note in found.notes if "spelled differently" in note]
    assert ascii(one) in note
    assert ascii(other) in note


def test_spellings_of_one_split_are_one_class_too(tmp_path: Path) -> None:
    """A copy that was unpacked twice has both."""
    class_folders(tmp_path, {".": {"Bored": 1, "bored ": 1, NFC: 1, NFD: 1}}, name="{i}.jpg")

    found = scanned(tmp_path)

    assert (found.classes, len(found.items)) == (("Bored", NFC), 4)


def test_names_that_differ_are_two_classes_without_a_note(tmp_path: Path) -> None:
    """An accent or a letter is a difference."""
    class_folders(tmp_path, {".": {"cafe": 1, NFC: 1, "not_sure": 1, "not sure": 1}}, name="{i}.jpg")

    found = scanned(tmp_path)

    assert len(found.classes) == 4
    assert not [note for note in found.notes if "spelled" in note]


@pytest.mark.parametrize("name", ["Happy ", "happy\u200b", "\ufeffHAPPY", "h\u00adappy", "\uff28appy"])
def test_known_names_are_known_in_every_spelling(tmp_path: Path, name: str) -> None:
    """An invisible character must not make an unknown class of a known one."""
    class_folders(tmp_path, {"train": {name: 1, "sad": 1}, "val": {"Happy": 1, "sad\u00a0": 1}}, name="{i}.jpg")

    found = scanned(tmp_path, "affectnet")

    assert (canonical_name(name), split_of("Val\u200b ")) == ("Happy", "val")
    assert sorted({item.label for item in found.items}) == [1, 2]


def test_words_that_are_written_with_joiners_keep_them() -> None:
    """Persian needs them to be read, though two names never differ in them alone."""
    word = "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645"

    assert plain_name(word + "\u200c ") == word
    assert name_key(word) == name_key(word.replace("\u200c", ""))


def test_a_row_finds_its_image_in_the_other_unicode_form() -> None:
    """macOS writes names decomposed, label files come from elsewhere."""
    assert NameIndex([f"{NFD}.jpg"]).find(f"{NFC}.JPG") == [f"{NFD}.jpg"]


@pytest.mark.parametrize("source", ["folder", "affectnet", "rafdb"])
@pytest.mark.parametrize(
    ("images", "labels", "shown"),
    [
        ("train/images/{i}.jpg", ["train/_annotations.coco.json"], "train/_annotations.coco.json"),
        ("train/images/{i}.jpg", ["train/annotations/0.xml", "train/annotations/1.xml"], "train/annotations/"),
        ("train/images/{i}.jpg", ["labels.csv"], "labels.csv"),
        ("train/faces/{i}.jpg", ["train/labels.tsv"], "train/labels.tsv"),
        ("train/{i}.jpg", ["train/_annotations.coco.json"], "train/_annotations.coco.json"),
        ("images/train/{i}.jpg", ["labels/train/0.txt"], "labels/"),
        ("train2017/{i}.jpg", ["annotations/instances_train2017.json"], "annotations/"),
        ("train/images/{i}.jpg", ["train/annotations/instances.json"], "train/annotations/"),
        ("VOC2007/JPEGImages/{i}.jpg", ["VOC2007/Annotations/0.xml"], "VOC2007/Annotations/"),
    ],
)
def test_images_whose_labels_lie_elsewhere_are_no_class(
    tmp_path: Path, source: str, images: str, labels: list[str], shown: str
) -> None:
    """COCO, VOC and lists would become one class called ``images``, without a word."""
    for i in range(3):
        put(tmp_path / images.format(i=i))
        put(tmp_path / images.format(i=i).replace("train", "val"))
    for label in labels:
        put(tmp_path / label, "a,b\n1,2\n")

    error = refused(tmp_path, source)

    place = images.rpartition("/")[0]
    assert error.startswith(f"images in {place}/")
    assert (
        f"beside {shown}, whose labels are not read, expected a folder for each class; put images in train/<class>/"
        in error
    )
    assert ("source 'folder'" in error) == (source != "folder")
    assert "AN-npy" not in error


@pytest.mark.parametrize(
    "names", [("aligned", "original"), ("train_images", "test_images"), ("Aligned", "resized"), ("trainset A", "val B")]
)
def test_forms_and_splits_of_the_images_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    """RAF-DB without its list is two folders of the same faces."""
    class_folders(tmp_path, {".": dict.fromkeys(names, 2)})

    assert refused(tmp_path, "folder").startswith("images in ")


@pytest.mark.parametrize("source", ["folder", "affectnet", "rafdb"])
def test_images_alone_are_told_where_to_go(tmp_path: Path, source: str) -> None:
    """The list of all layouts would hide the one line that helps."""
    put(tmp_path / "1.jpg")

    error = refused(tmp_path, source)

    assert error.startswith(
        "images in the folder itself found, expected a folder for each class; put images in train/<class>/"
    )
    assert len(error) < 250


@pytest.mark.parametrize(("source", "whose"), [("affectnet", "AffectNet"), ("rafdb", "RAF-DB")])
def test_class_folders_of_ones_own_are_sent_to_source_folder(tmp_path: Path, source: str, whose: str) -> None:
    """They are classes, but not this data set's; the advice must be one that works."""
    class_folders(tmp_path / "a", {".": {"bored": 1, "tired": 1}})
    class_folders(tmp_path / "b", {"train": {"bored": 1, "tired": 1}})

    found = f"class folders 'bored', 'tired' found, which are not the classes of {whose}; use source 'folder'"
    assert refused(tmp_path / "a", source).startswith(found)
    assert "use source 'folder' for classes of your own" in refused(tmp_path / "b", source)
    assert len(scanned(tmp_path / "a").items) == len(scanned(tmp_path / "b").items) == 2


def test_one_class_alone_is_warned_of(tmp_path: Path) -> None:
    """It may be a folder of all images under any name."""
    class_folders(tmp_path, {"train": {"faces": 2}, "val": {"Faces": 1}})

    assert "Warning: all images are of one class, faces, as there is one class folder." in scanned(tmp_path).notes


def test_annotation_folders_beside_class_folders_are_asked_to_be_moved(tmp_path: Path) -> None:
    """Whether the folders' names or the annotations are the labels, only the user knows."""
    class_folders(tmp_path, {"train": {"bored": 1, "tired": 1}})
    put(tmp_path / "train/annotations/0.xml")

    assert "or move train/annotations away if folder names are the labels" in refused(tmp_path, "folder")


@pytest.mark.parametrize(("labels", "first", "names"), [("fer2013", 0, FER2013), ("dfew", 1, DFEW)])
def test_numbers_are_read_in_the_order_of_any_data_set(
    tmp_path: Path, labels: str, first: int, names: tuple[str, ...]
) -> None:
    """Sorted into folders by its own ids, a data set has no other names."""
    class_folders(tmp_path, {"train": {str(number): 1 for number in range(first, first + 7)}}, name="{i}.jpg")

    found = scan_source("folder", str(tmp_path), ScanOptions(num_workers=1, labels=labels))

    assert {item.source_label: found.classes[item.label] for item in found.items} == {
        str(number): name for number, name in enumerate(names, first)
    }
