"""AffectNet's release of 2021, and its form with a folder a kind: every outcome that the layout specification names."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import (
    keys,
    npy_bytes,
    npy_image,
    npy_tree,
    points,
    reasons,
    score,
    va_tree,
)
from trees_rafdb import put

from ferdata.errors import SourceError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, AFFECTNET_ALL
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.affectnet_npy.npy_values import KINDS

TRAIN = "train_set/images/{}.jpg"


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("affectnet", str(root), ScanOptions(num_workers=1, **options))


def annotation(root: Path, image_id: int, kind: str) -> Path:
    return root / f"train_set/annotations/{image_id}_{kind}.npy"


def test_npy_items_hold_what_the_files_say(tmp_path: Path) -> None:
    """Label, valence, arousal and landmarks come from files written as the release writes them."""
    npy_tree(tmp_path)

    found = scanned(tmp_path)

    assert (found.source, found.layout, found.root, found.classes) == (
        "affectnet",
        "AN-npy",
        str(tmp_path),
        AFFECTNET_8,
    )
    assert (len(found.items), found.rejects, found.skipped, found.repairs) == (24, [], {}, {})
    for split, folder, count in (("train", "train_set", 16), ("val", "val_set", 8)):
        for i, item in enumerate([item for item in found.items if item.split == split]):
            assert (item.key, item.path) == (f"{split}_{i}", f"{folder}/images/{i}.jpg")
            assert (item.label, item.source_label) == (i % 8, str(i % 8))
            assert (item.valence, item.arousal) == (score(i), -score(i))
            assert item.landmarks == points(i)
            assert (item.box, item.extra) == (None, None)
        assert count == i + 1


def test_npy_ids_are_sorted_as_numbers_within_each_split(tmp_path: Path) -> None:
    """Directory order is text order (0, 1, 10, 100), and each split counts its ids anew."""
    npy_tree(tmp_path, train=(100, 0, 10, 9, 1), val=(9, 10))

    assert keys(scanned(tmp_path)) == ["train_0", "train_1", "train_9", "train_10", "train_100", "val_9", "val_10"]


@pytest.mark.parametrize(
    "value",
    [
        np.array("3"),
        np.array(["3"]),
        np.array([["3"]]),
        np.array("3", dtype=">U4"),
        np.array(b"3"),
        np.array([b"3"]),
        np.array(3),
        np.array([3], np.uint8),
        np.array(3, ">i2"),
        np.array(3.0),
        np.array([3.0], np.float32),
        np.array("3.0"),
        np.array(" 3 "),
    ],
)
def test_a_label_is_read_in_every_form_users_save_it(tmp_path: Path, value: np.ndarray) -> None:
    """Files are written again with other shapes and dtypes; the number is what counts."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "exp").write_bytes(npy_bytes(value))

    found = scanned(tmp_path)

    assert (found.items[5].key, found.items[5].label) == ("train_5", 3)
    assert found.rejects == []


@pytest.mark.parametrize("text", ["11", "-1", "3.5", "happy", "", "nan", "1e0", "True"])
def test_a_label_that_is_no_class_is_rejected(tmp_path: Path, text: str) -> None:
    """Only whole numbers 0 to 10 are classes."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "exp").write_bytes(npy_bytes(np.array(text)))

    found = scanned(tmp_path)

    assert reasons(found) == [(TRAIN.format(5), "label_invalid")]
    assert repr(text) in found.rejects[0].detail
    assert "train_5" not in keys(found)


def test_mostly_invalid_labels_stop_the_scan(tmp_path: Path) -> None:
    """A map that is wrong for most images is wrong for all."""
    npy_tree(tmp_path, val=())
    for i in range(9):
        annotation(tmp_path, i, "exp").write_bytes(npy_bytes(np.array(str(i + 11))))

    with pytest.raises(SourceError, match=r"9 of 16 labels are not classes.*whole numbers 0 to 10"):
        scanned(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"3",
        b"\x93NUMPY",
        npy_bytes(np.array("3"))[:-1],
        npy_bytes(np.array("3"))[:100],
        npy_bytes(np.array("3")).replace(b"'descr'", b"'dezcr'"),
        npy_bytes(np.array("3")).replace(b"<U1", b"|O8"),
        npy_bytes(np.array([3, "3"], dtype=object), allow_pickle=True),
        npy_bytes(np.array(["3", "4"])),
        npy_bytes(np.zeros(0)),
    ],
)
def test_a_label_file_that_cannot_be_read_is_rejected(tmp_path: Path, data: bytes) -> None:
    """Cut short, no array, several values, or a pickle, which is never loaded."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "exp").write_bytes(data)

    found = scanned(tmp_path)

    assert reasons(found) == [(TRAIN.format(5), "label_corrupt")]
    assert found.rejects[0].detail.startswith("5_exp.npy: ")
    assert len(found.items) == 23


def test_a_pickle_in_an_annotation_file_does_not_run(tmp_path: Path) -> None:
    """A hostile file must not get what it wants."""

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "owned"),)

    npy_tree(tmp_path)
    for kind in KINDS:
        annotation(tmp_path, 5, kind).write_bytes(npy_bytes(np.array([Hostile()], dtype=object), allow_pickle=True))

    assert reasons(scanned(tmp_path)) == [(TRAIN.format(5), "label_corrupt")]
    assert not (tmp_path / "owned").exists()


def test_images_and_labels_without_each_other_are_rejected(tmp_path: Path) -> None:
    """Each half is named with what it lacks."""
    npy_tree(tmp_path)
    (tmp_path / TRAIN.format(2)).unlink()
    annotation(tmp_path, 3, "exp").unlink()
    annotation(tmp_path, 4, "exp").unlink()
    (tmp_path / TRAIN.format(4)).unlink()
    put(tmp_path / "val_set/images/77.png")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("train_set/annotations/2_exp.npy", "image_missing"),
        ("train_set/images/3.jpg", "label_missing"),
        ("train_set/annotations/4_val.npy", "image_missing"),
        ("val_set/images/77.png", "label_missing"),
    ]
    assert {reject.split for reject in found.rejects} == {"train", "val"}
    assert len(found.items) == 16 - 3 + 8


def test_labels_none_of_which_finds_its_image_stop_the_scan(tmp_path: Path) -> None:
    """That is a wrong root or an archive still packed, not 24 missing images."""
    npy_tree(tmp_path)
    for path in tmp_path.rglob("*.jpg"):
        path.unlink()

    with pytest.raises(SourceError, match=r"none of 24 label rows finds its image"):
        scanned(tmp_path)


def test_images_with_other_names_are_accepted_if_they_are_the_only_ones(tmp_path: Path) -> None:
    """Converted copies change extension and case; two for one id cannot be told apart, but ``<id>.jpg`` itself wins."""
    npy_tree(tmp_path, val=())
    images = tmp_path / "train_set/images"
    for image_id, name in {1: "1.JPG", 2: "2.jpeg", 3: "3.PNG", 4: "4.bmp", 5: "5.TIFF", 6: "6.tif"}.items():
        (images / f"{image_id}.jpg").rename(images / name)
    (images / "7.jpg").rename(images / "7.png")
    put(images / "7.JPG")
    put(images / "8.png")
    for junk in ("._9.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/9.jpg"):
        put(images / junk)

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("train_set/images/7.JPG", "image_ambiguous"),
        ("train_set/images/8.png", "label_missing"),
    ]
    assert found.rejects[0].detail == "can be 7.JPG or 7.png"
    assert [item.path for item in found.items][:7] == [
        f"train_set/images/{name}" for name in ("0.jpg", "1.JPG", "2.jpeg", "3.PNG", "4.bmp", "5.TIFF", "6.tif")
    ]
    assert "train_8" in keys(found)
    assert found.repairs == {"name_matched": 6}


def test_annotation_files_in_other_case_are_found(tmp_path: Path) -> None:
    """A single match is accepted; two are a label that cannot be read."""
    npy_tree(tmp_path)
    for kind in KINDS:
        annotation(tmp_path, 5, kind).rename(annotation(tmp_path, 5, kind.upper()).with_suffix(".NPY"))
    annotation(tmp_path, 6, "exp").rename(annotation(tmp_path, 6, "EXP"))
    put(annotation(tmp_path, 6, "Exp"))

    found = scanned(tmp_path)

    assert (found.items[5].key, found.items[5].valence, found.items[5].landmarks) == ("train_5", score(5), points(5))
    assert reasons(found) == [(TRAIN.format(6), "label_corrupt")]
    assert "6_EXP.npy and train_set/annotations/6_Exp.npy found, expected one" in found.rejects[0].detail


def test_seven_classes_skip_contempt_and_shift_nothing(tmp_path: Path) -> None:
    """AffectNet-7 is the first seven ids unchanged."""
    npy_tree(tmp_path)

    found = scanned(tmp_path, classes=7)

    assert (found.classes, found.skipped, len(found.items)) == (AFFECTNET_7, {"contempt": 3}, 21)
    assert all(item.label == int(item.source_label) < 7 for item in found.items)


def test_classes_that_are_no_emotion_are_skipped_unless_they_are_asked_for(tmp_path: Path) -> None:
    """Ids 8 to 10 belong to neither AffectNet-8 nor AffectNet-7."""
    npy_tree(tmp_path, val=())
    for class_id in (8, 9, 10):
        npy_image(tmp_path / "train_set", 100 + class_id, label=class_id)

    plain, kept, kept_of_seven = (
        scanned(tmp_path),
        scanned(tmp_path, keep_non_emotion=True),
        scanned(tmp_path, classes=7, keep_non_emotion=True),
    )

    assert (plain.skipped, len(plain.items)) == ({"not_emotion": 3}, 16)
    assert (kept.skipped, kept.classes) == ({}, AFFECTNET_ALL)
    assert [item.label for item in kept.items][-3:] == [8, 9, 10]
    assert (kept_of_seven.skipped, kept_of_seven.classes) == (
        {"contempt": 2},
        (*AFFECTNET_7, "None", "Uncertain", "No-Face"),
    )
    assert [item.label for item in kept_of_seven.items][-3:] == [7, 8, 9]


def test_notes_compare_the_counts_with_the_release(tmp_path: Path) -> None:
    """The user sees at once what is missing, class by class."""
    npy_tree(tmp_path, val=())

    found = scanned(tmp_path)

    assert found.complete is False
    assert (
        "train: 16 items: Neutral 2, Happy 2, Sad 2, Surprise 2, Fear 2, Disgust 2, Anger 2, Contempt 2." in found.notes
    )
    assert any(
        re.match(r"train: 16 found, 287,651 in .*2021 \(-287,635\): Neutral -74,872, .*Contempt -3,748\.", note)
        for note in found.notes
    )
    assert any(re.match(r"val: missing, 3,999 in ", note) for note in found.notes)


def test_va_folders_are_read_like_npy(tmp_path: Path) -> None:
    """One folder a kind instead of one for all; ``emotion/`` is the label."""
    va_tree(tmp_path)
    put(tmp_path / "Train/emotion/3_exp.npy", b"")
    (tmp_path / "Train/valence/4_val.npy").unlink()

    found = scanned(tmp_path)

    assert (found.layout, found.complete) == ("AN-va", None)
    assert reasons(found) == [("Train/images/3.jpg", "label_corrupt")]
    assert keys(found)[:4] == ["train_0", "train_1", "train_2", "train_4"]
    assert keys(found)[7:9] == ["val_0", "val_1"]
    assert [item.valence for item in found.items][:4] == [score(0), score(1), score(2), None]
    assert {item.split for item in found.items} == {"train", "val", "test"}
