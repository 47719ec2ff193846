"""The reader of class folders: names, numbers that ask, and classes of a user's own."""

import os
import re
from pathlib import Path
from typing import Any

import fsspec
import pytest
from trees_rafdb import KAGGLE_NAMES, class_folders, names_of, put, reasons

from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError
from ferdata.labels import (
    AFFECTNET_7,
    AFFECTNET_8,
    ALPHABETICAL_7,
    ALPHABETICAL_8,
    FER2013,
    RAFDB_BASIC,
    canonical_name,
    meanings,
)
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.affectnet.totals import AFFECTNET_TRAIN
from ferdata.sources.class_folders.orders import find_number_order
from ferdata.sources.rafdb.totals import RAFDB_TRAIN

ALIASES = {
    "Neutral": ("neutral", "normal", "calm", "NEUTRAL"),
    "Happy": ("happy", "happiness", "joy", "Happy"),
    "Sad": ("sad", "sadness", "SADNESS"),
    "Surprise": ("surprise", "surprised", "suprise", "Suprise"),
    "Fear": ("fear", "fearful", "afraid"),
    "Disgust": ("disgust", "disgusted"),
    "Anger": ("anger", "angry", "Angry"),
    "Contempt": ("contempt", "CONTEMPT"),
}
RAF_NAME = "{split}_{folder:0>3}{i:02d}_aligned.jpg"


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


def numbered(first: int, last: int, count: int = 1) -> dict[str, int]:
    return {str(number): count for number in range(first, last + 1)}


@pytest.mark.parametrize("class_name", list(ALIASES))
def test_every_alias_is_its_class_in_any_case(tmp_path: Path, class_name: str) -> None:
    """Names are the only safe map between copies."""
    class_folders(tmp_path, {"train": dict.fromkeys(ALIASES[class_name], 1), "val": {"happy": 1, "sad": 1}})

    found = scanned(tmp_path)

    train = [item for item in found.items if item.split == "train"]
    assert {found.classes[item.label] for item in train} == {class_name}
    assert sorted(item.source_label for item in train) == sorted(ALIASES[class_name])


@pytest.mark.parametrize(
    ("source", "layout", "classes"), [("affectnet", "AN-folders", AFFECTNET_8), ("rafdb", "RAF-folders", AFFECTNET_7)]
)
@pytest.mark.parametrize("val", ["val", "Valid", "test", "validation"])
def test_split_folders_are_found_under_their_usual_names(
    tmp_path: Path, source: str, layout: str, classes: tuple[str, ...], val: str
) -> None:
    """The case of class folders can differ between splits."""
    names = [name for name in KAGGLE_NAMES if canonical_name(name) in classes]
    class_folders(tmp_path, {"Train": dict.fromkeys(names, 2), val: {name.title(): 1 for name in names}})

    found = scanned(tmp_path, source)

    assert (found.layout, found.source, found.classes) == (layout, source, classes)
    assert found.items.splits() == ["train", "test" if val == "test" else "val"]
    assert [found.classes[item.label] for item in found.items] == [
        canonical_name(item.source_label) for item in found.items
    ]
    assert len({item.key for item in found.items}) == len(found.items) == 3 * len(names)


def test_class_folders_without_splits_are_all_train(tmp_path: Path) -> None:
    """A home-made split comes out of train, by ``--val`` and ``--test``."""
    class_folders(tmp_path, {".": dict.fromkeys(KAGGLE_NAMES, 2)})

    found = scanned(tmp_path)

    assert found.items.splits() == ["train"]
    assert found.items[0].key == "train_anger_anger_0"
    assert found.items[0].path == "anger/anger_0.jpg"


@pytest.mark.parametrize("source", ["affectnet", "rafdb"])
def test_an_unknown_class_folder_stops_with_the_known_names(tmp_path: Path, source: str) -> None:
    """To leave it out, or to guess, would lose images in silence."""
    class_folders(tmp_path, {"train": {"happy": 1, "sad": 1, "bored": 1}})

    with pytest.raises(LayoutError, match=r"class folder 'bored' found.*neutral, normal, calm.*contempt"):
        scanned(tmp_path, source)


def test_own_expressions_are_classes_under_source_folder(tmp_path: Path) -> None:
    """Those of their own come after the known ones, sorted, under the spelling met first."""
    class_folders(tmp_path, {"train": {"happy": 1, "bored": 2, "Confused": 1}, "test": {"confused": 1, "HAPPY": 2}})

    found = scanned(tmp_path, "folder")

    assert (found.layout, found.source) == ("folder", "folder")
    assert found.classes == ("Happy", "Confused", "bored")
    assert names_of(found) == ["Confused", "bored", "bored", "Happy", "Happy", "Happy", "Confused"]
    assert [item.source_label for item in found.items][-3:] == ["HAPPY", "HAPPY", "confused"]


@pytest.mark.parametrize(
    ("folders", "options", "classes"),
    [
        (("happiness", "sad", "Neutral"), {}, ("Neutral", "Happy", "Sad")),
        (("happy", "contempt", "neutral"), {}, ("Neutral", "Happy", "Contempt")),
        (("happy", "contempt", "neutral"), {"classes": 7}, ("Neutral", "Happy")),
        (("happy", "contempt", "tired"), {"classes": 7}, ("Happy", "tired")),
        (("happy", "neutral", "none"), {}, ("Neutral", "Happy")),
        (("happy", "neutral", "none"), {"keep_non_emotion": True}, ("Neutral", "Happy", "None")),
        (("neutral", "calm", "joy"), {}, ("Neutral", "Happy", "calm")),
        (("happy", "other", "unknown"), {}, ("Happy", "Other", "Unknown")),
    ],
)
def test_a_folder_has_the_classes_that_are_there(
    tmp_path: Path, folders: tuple[str, ...], options: dict[str, Any], classes: tuple[str, ...]
) -> None:
    """In the one order, under the one name; a set of three classes is not turned into eight."""
    class_folders(tmp_path, {"train": dict.fromkeys(folders, 2)})

    found = scanned(tmp_path, "folder", **options)

    assert found.classes == classes
    assert len(found.items) + sum(found.skipped.values()) == 2 * len(folders)
    meant = dict(zip(folders, meanings(folders), strict=True))
    assert names_of(found) == [meant[item.source_label] for item in found.items]


def test_own_classes_sort_their_numbers_as_numbers(tmp_path: Path) -> None:
    """Text order breaks from ten folders on: 0, 1, 10, 11, 2."""
    class_folders(tmp_path, {".": {f"mood {number}": 1 for number in range(12)}})

    found = scanned(tmp_path, "folder")

    assert found.classes == tuple(f"mood {number}" for number in range(12))
    assert [item.label for item in found.items] == list(range(12))


def test_numbers_that_no_order_has_are_own_classes(tmp_path: Path) -> None:
    """Twelve numbered folders are neither AffectNet's nor RAF-DB's."""
    class_folders(tmp_path, {".": numbered(0, 11)})

    assert scanned(tmp_path, "folder").classes == tuple(map(str, range(12)))
    with pytest.raises(LayoutError):
        scanned(tmp_path, "affectnet")


@pytest.mark.parametrize("source", ["affectnet", "rafdb", "folder"])
@pytest.mark.parametrize(
    ("folders", "readings"),
    [
        (numbered(0, 7), ["AffectNet order", "alphabetical"]),
        (numbered(0, 6), ["AffectNet order", "RAF id - 1", "alphabetical", "FER2013"]),
        (numbered(1, 7), ["RAF ids"]),
        ({f"{number:02d}": 1 for number in range(7)}, ["AffectNet order", "RAF id - 1", "alphabetical", "FER2013"]),
    ],
)
def test_numeric_folders_ask(tmp_path: Path, source: str, folders: dict[str, int], readings: list[str]) -> None:
    """Numbers fit several orders; a wrong guess trains a wrong model."""
    class_folders(tmp_path, {"train": {name: i + 3 for i, name in enumerate(folders)}, "val": folders})

    with pytest.raises(AmbiguousLayoutError) as caught:
        scanned(tmp_path, source)

    text = str(caught.value)
    assert str(tmp_path) in text
    assert "labels=" in text
    assert all(reading in text for reading in readings)
    assert re.search(r"train: 0?[01]: 3, 0?[12]: 4", text)


ORDERS = {
    ("affectnet", 0, 7): AFFECTNET_8,
    ("affectnet", 0, 6): AFFECTNET_7,
    ("rafdb", 1, 7): RAFDB_BASIC,
    ("rafdb", 0, 6): RAFDB_BASIC,
    ("alphabetical", 0, 7): ALPHABETICAL_8,
    ("alphabetical", 0, 6): ALPHABETICAL_7,
}


@pytest.mark.parametrize(("labels", "first", "last"), list(ORDERS))
@pytest.mark.parametrize("digits", [1, 2])
def test_the_labels_option_names_the_order(tmp_path: Path, labels: str, first: int, last: int, digits: int) -> None:
    """``rafdb`` is RAF ids for 1..7 and RAF id - 1 for 0..6; ``alphabetical`` goes by the number of folders."""
    folders = {f"{number:0{digits}d}": 1 for number in range(first, last + 1)}
    class_folders(tmp_path, {"train": folders, "test": numbered(first, last)})

    found = scanned(tmp_path, labels=labels)

    order = ORDERS[labels, first, last]
    assert names_of(found) == [order[int(item.source_label) - first] for item in found.items]
    assert len(found.items) == 2 * len(folders)


@pytest.mark.parametrize(
    ("labels", "folders"), [("rafdb", numbered(0, 7)), ("affectnet", numbered(1, 7)), ("alphabetical", numbered(0, 9))]
)
def test_an_order_without_these_numbers_is_refused(tmp_path: Path, labels: str, folders: dict[str, int]) -> None:
    """RAF-DB has no eighth class, and AffectNet's ids start at 0."""
    class_folders(tmp_path, {"train": folders})

    with pytest.raises(LayoutError, match=f"labels={labels}"):
        scanned(tmp_path, labels=labels)


def test_ten_and_more_numbered_folders_are_ids_and_not_text(tmp_path: Path) -> None:
    """Folder 10 is No-Face, not the class after 1; ids 8..10 are no emotions."""
    class_folders(tmp_path, {"train": numbered(0, 10)})

    found = scanned(tmp_path, labels="affectnet")
    assert [item.label for item in found.items] == list(range(8))
    assert found.skipped == {"not_emotion": 3}

    kept = scanned(tmp_path, labels="affectnet", keep_non_emotion=True)
    assert kept.classes[8:] == ("None", "Uncertain", "No-Face")
    assert [item.source_label for item in kept.items][8:] == ["8", "9", "10"]


def test_one_to_seven_with_rafdb_stems_are_rafdb_ids(tmp_path: Path) -> None:
    """The file names prove the set, and only its own ids start at 1; keys are the official stems."""
    class_folders(tmp_path, {"train": numbered(1, 7)}, name=RAF_NAME)

    found = scanned(tmp_path, "rafdb")

    assert names_of(found) == list(RAFDB_BASIC)
    assert found.items[0].key == "train_00100"


def test_rafdb_stems_do_not_prove_the_order_of_zero_to_six(tmp_path: Path) -> None:
    """They prove where the images come from; 0..6 is usually AffectNet's order, but not always."""
    class_folders(tmp_path, {"train": numbered(0, 6)}, name=RAF_NAME)

    with pytest.raises(AmbiguousLayoutError, match="labels="):
        scanned(tmp_path, "rafdb")


def counts_in(order: tuple[str, ...], table: dict[str, int], first: int) -> dict[str, dict[str, int]]:
    return {"train": {str(number): table[name] for number, name in enumerate(order, first)}}


@pytest.mark.parametrize(
    ("order", "first", "table"),
    [
        (AFFECTNET_8, 0, AFFECTNET_TRAIN),
        (ALPHABETICAL_8, 0, AFFECTNET_TRAIN),
        (AFFECTNET_7, 0, AFFECTNET_TRAIN),
        (ALPHABETICAL_7, 0, AFFECTNET_TRAIN),
        (FER2013, 0, AFFECTNET_TRAIN),
        (AFFECTNET_7, 0, RAFDB_TRAIN),
        (RAFDB_BASIC, 0, RAFDB_TRAIN),
        (RAFDB_BASIC, 1, RAFDB_TRAIN),
        (ALPHABETICAL_7, 0, RAFDB_TRAIN),
        (FER2013, 0, RAFDB_TRAIN),
    ],
)
def test_the_counts_of_a_complete_train_split_settle_the_order(
    order: tuple[str, ...], first: int, table: dict[str, int]
) -> None:
    """All counts equal a known table under one order only; one image less and it must be asked."""
    counts = counts_in(order, table, first)
    numbers = {name: int(name) for name in counts["train"]}

    named, notes = find_number_order("tree", numbers, counts, is_rafdb=False, labels=None)

    assert named == {str(number): name for number, name in enumerate(order, first)}
    assert notes
    counts["train"][str(first)] -= 1
    with pytest.raises(AmbiguousLayoutError, match=r"tree.*Counts: train"):
        find_number_order("tree", numbers, counts, is_rafdb=False, labels=None)


def test_val_counts_cannot_decide() -> None:
    """AffectNet's val split has 500 of each class in any order."""
    counts = {"val": {str(number): 500 for number in range(7)}}

    with pytest.raises(AmbiguousLayoutError):
        find_number_order("tree", {str(number): number for number in range(7)}, counts, is_rafdb=False, labels=None)


def test_a_complete_numbered_rafdb_tree_needs_no_option(tmp_path: Path) -> None:
    """12,271 files in 0..6: the counts say which order it is, and that nothing is missing in train."""
    for number, name in enumerate(AFFECTNET_7):
        folder = tmp_path / f"train/{number}"
        folder.mkdir(parents=True)
        for i in range(RAFDB_TRAIN[name]):
            (folder / f"{i}.jpg").touch()

    found = scanned(tmp_path, "rafdb")

    assert {(item.source_label, item.label) for item in found.items} == {(str(number), number) for number in range(7)}
    assert any("counts of train equal" in note for note in found.notes)


def test_seven_classes_skip_contempt(tmp_path: Path) -> None:
    """Dropped by name, so nothing shifts."""
    class_folders(tmp_path, {"train": dict.fromkeys(KAGGLE_NAMES, 2)})

    found = scanned(tmp_path, classes=7)

    assert (found.classes, found.skipped, len(found.items)) == (AFFECTNET_7, {"contempt": 2}, 14)


def test_loose_images_empty_folders_and_missing_folders_are_told(tmp_path: Path) -> None:
    """Nothing is dropped in silence."""
    class_folders(tmp_path, {"train": {"happy": 1, "sad": 0, "fear": 1}, "val": {"happy": 1}})
    put(tmp_path / "train/loose.jpg")
    put(tmp_path / "train/readme.txt")

    found = scanned(tmp_path)

    assert reasons(found) == [("train/loose.jpg", "label_missing")]
    assert "Warning: class folder train/sad is empty." in found.notes
    assert "Warning: val has no folder of Sad, Fear, which other splits have." in found.notes


def test_images_deeper_in_a_class_folder_belong_to_it(tmp_path: Path) -> None:
    """Some copies sort a class further, by source or by person."""
    class_folders(tmp_path, {"train": {"happy": 1, "sad": 1}})
    put(tmp_path / "train/happy/person 1/a.b.png")
    put(tmp_path / "train/happy/person 1/a_b.png")

    found = scanned(tmp_path)

    assert [(item.key, item.path) for item in found.items][:2] == [
        ("train_happy_trainhappy_0", "train/happy/trainhappy_0.jpg"),
        ("train_happy_person_1_a_b", "train/happy/person 1/a.b.png"),
    ]
    assert found.items[2].key == "train_happy_person_1_a_b_2"


def test_every_image_extension_in_any_case_counts(tmp_path: Path) -> None:
    """Content decides how a file is decoded; the name only that it is an image."""
    names = ["1.JPG", "2.jpeg", "3.PNG", "4.bmp", "5.tif", "6.TIFF"]
    for name in names:
        put(tmp_path / "train/happy" / name)
        put(tmp_path / "train/sad" / name)
    put(tmp_path / "train/happy/.DS_Store")
    put(tmp_path / "train/happy/._1.jpg")
    put(tmp_path / "train/__MACOSX/happy/1.jpg")

    found = scanned(tmp_path)

    assert [item.path for item in found.items][:6] == [f"train/happy/{name}" for name in names]
    assert len(found.items) == 12
    assert found.rejects == []


def test_class_folders_without_any_image_stop(tmp_path: Path) -> None:
    """Nothing to read is the wrong folder or an archive that is still packed."""
    class_folders(tmp_path, {"train": {"happy": 0, "sad": 0}})

    with pytest.raises(SourceError, match="no image in class folders happy, sad"):
        scanned(tmp_path)


def test_scanning_opens_no_image(tmp_path: Path) -> None:
    """Links that lead nowhere can be listed and nothing more."""
    class_folders(tmp_path, {"train": {"happy": 3, "sad": 3}})
    for path in list(tmp_path.rglob("*.jpg")):
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")

    assert len(scanned(tmp_path).items) == 6


def test_a_name_that_is_not_utf8_is_rejected_and_shown(tmp_path: Path) -> None:
    """Archives from other systems leave such names; they can neither be stored nor crash the run."""
    class_folders(tmp_path, {"train": {"happy": 1, "sad": 1}})
    (tmp_path / "train/sad").joinpath(os.fsdecode(b"caf\xe9.jpg")).touch()
    put(tmp_path / "train/sad/müde.jpg")

    found = scanned(tmp_path)

    assert reasons(found) == [("train/sad/caf\\udce9.jpg", "name_invalid")]
    assert [(item.key, item.path) for item in found.items][1:2] == [("train_sad_m_de", "train/sad/müde.jpg")]


def test_remote_folders_are_read_like_local_ones(tmp_path: Path) -> None:
    """Any fsspec address is a source."""
    class_folders(tmp_path, {"train": {"happy": 2, "sad": 2}, "test": {"happy": 1}})
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path), "/class-folders", recursive=True)

    here, there = scanned(tmp_path), scan_source("affectnet", "memory://class-folders", ScanOptions())

    assert list(there.items) == list(here.items)
    assert len(here.items) == 5
