"""AffectNet's own releases: every outcome that the layout specification names, and the values that come out."""

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import (
    csv_path,
    csv_row,
    csv_text,
    csv_tree,
    keys,
    npy_bytes,
    npy_image,
    npy_tree,
    plus_document,
    plus_tree,
    points,
    reasons,
    score,
    va_tree,
)
from trees_rafdb import put

from ferdata.errors import LayoutError, SourceError, WorkerError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, AFFECTNET_ALL
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.npy_values import KINDS, index_annotations, parse_npy, read_annotations
from ferdata.sources.pool import read_in_order
from ferdata.store import Store

TRAIN = "train_set/images/{}.jpg"
IMAGES = "Manually_Annotated_Images"


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("affectnet", str(root), ScanOptions(num_workers=1, **options))


def annotation(root: Path, image_id: int, kind: str) -> Path:
    return root / f"train_set/annotations/{image_id}_{kind}.npy"


# AN-npy


def test_npy_items_hold_what_the_files_say(tmp_path: Path) -> None:
    """Label, valence, arousal and landmarks come from files written as the release writes them."""
    npy_tree(tmp_path)

    found = scanned(tmp_path)

    assert (found.source, found.layout, found.root, found.classes) == ("affectnet", "AN-npy", str(tmp_path), AFFECTNET_8)
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
    """Converted copies change extension and case; two of them for one id cannot be told apart, but ``<id>.jpg`` itself wins."""
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

    assert reasons(found) == [("train_set/images/7.JPG", "image_ambiguous"), ("train_set/images/8.png", "label_missing")]
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


@pytest.mark.parametrize(
    ("value", "expected", "is_invalid"),
    [
        (np.array("-0.176846"), -0.176846, False),
        (np.array("1"), 1.0, False),
        (np.array("-1.0"), -1.0, False),
        (np.array(0.25), 0.25, False),
        (np.array([0.25], np.float16), 0.25, False),
        (np.array(b"0.5"), 0.5, False),
        (np.array("-2"), None, False),
        (np.array(-2.0), None, False),
        (np.array("-1.5"), None, False),
        (np.array("-1.49"), None, True),
        (np.array("1.01"), None, True),
        (np.array("2"), None, True),
        (np.array(""), None, True),
        (np.array("high"), None, True),
        (np.array(math.nan), None, True),
        (np.array(-math.inf), None, True),
        (np.array([0.1, 0.2]), None, True),
    ],
)
@pytest.mark.parametrize(("kind", "name"), [("val", "valence"), ("aro", "arousal")])
def test_valence_and_arousal_are_numbers_or_missing(
    tmp_path: Path, kind: str, name: str, value: np.ndarray, expected: float | None, is_invalid: bool
) -> None:
    """-2 means missing and must never be clipped to -1; whatever else is no number in [-1, 1] is missing and counted."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, kind).write_bytes(npy_bytes(value))

    found = scanned(tmp_path)

    assert getattr(found.items[5], name) == expected
    assert found.repairs == ({"va_invalid": 1} if is_invalid else {})
    assert len(found.items) == 24


@pytest.mark.parametrize("kind", ["val", "aro", "lnd"])
@pytest.mark.parametrize("data", [None, b"", npy_bytes(np.array(["0.1"], dtype=object), allow_pickle=True)])
def test_other_annotation_files_may_be_missing_or_broken(tmp_path: Path, kind: str, data: bytes | None) -> None:
    """The image and its label can still be used."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, kind).unlink() if data is None else annotation(tmp_path, 5, kind).write_bytes(data)

    found = scanned(tmp_path)

    item = found.items[5]
    assert getattr(item, {"val": "valence", "aro": "arousal", "lnd": "landmarks"}[kind]) is None
    assert (item.key, item.label, len(found.items), found.rejects) == ("train_5", 5, 24, [])


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        (np.array(points(5), np.float32), True),
        (np.array(points(5)).reshape(68, 2), True),
        (np.array([str(value) for value in points(5)]), True),
        (np.array(points(5)[:-1]), False),
        (np.array([math.nan, *points(5)[1:]]), False),
        (np.array(["x"] * 136), False),
        (np.array(1.0), False),
    ],
)
def test_landmarks_are_136_numbers_or_missing(tmp_path: Path, value: np.ndarray, is_kept: bool) -> None:
    """Anything else is left out and the image stays."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "lnd").write_bytes(npy_bytes(value))

    assert scanned(tmp_path).items[5].landmarks == (points(5) if is_kept else None)


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
    assert (kept_of_seven.skipped, kept_of_seven.classes) == ({"contempt": 2}, (*AFFECTNET_7, "None", "Uncertain", "No-Face"))
    assert [item.label for item in kept_of_seven.items][-3:] == [7, 8, 9]


def test_notes_compare_the_counts_with_the_release(tmp_path: Path) -> None:
    """The user sees at once what is missing, class by class."""
    npy_tree(tmp_path, val=())

    found = scanned(tmp_path)

    assert found.complete is False
    assert "train: 16 items: Neutral 2, Happy 2, Sad 2, Surprise 2, Fear 2, Disgust 2, Anger 2, Contempt 2." in found.notes
    assert any(
        re.match(r"train: 16 found, 287,651 in .*2021 \(-287,635\): Neutral -74,872, .*Contempt -3,748\.", note) for note in found.notes
    )
    assert any(re.match(r"val: missing, 3,999 in ", note) for note in found.notes)


def test_a_pool_reads_the_same_annotations_in_the_same_order(tmp_path: Path) -> None:
    """From about 8,000 images on, processes share the work; nothing else may change."""
    npy_tree(tmp_path, train=range(12), val=())
    annotation(tmp_path, 3, "exp").write_bytes(b"")
    annotation(tmp_path, 4, "lnd").unlink()
    store = Store(str(tmp_path))
    index = index_annotations(store, dict.fromkeys(KINDS, "train_set/annotations"))
    stems = [str(i % 12) for i in range(9000)]

    alone, pooled = (list(read_annotations(store, index, stems, num_workers)) for num_workers in (1, 2))

    assert [found.stem for found in pooled] == stems
    for one, two in zip(alone, pooled, strict=True):
        assert (one.label, one.valence, one.arousal, one.error) == (two.label, two.valence, two.arousal, two.error)
        assert (one.landmarks is None) == (two.landmarks is None)
        assert one.landmarks is None or (two.landmarks is not None and np.array_equal(one.landmarks, two.landmarks))


def die(store: Store, job: int) -> int:
    if job == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_killed_reader_is_an_error_and_no_hang(tmp_path: Path) -> None:
    """The kernel kills processes when memory runs out."""
    with pytest.raises(WorkerError, match="a process that reads annotations died"):
        list(read_in_order(Store(str(tmp_path)), die, range(20), num_jobs=20, num_workers=2))


def test_parse_npy_agrees_with_numpy(tmp_path: Path) -> None:
    """The fast parser is only a short cut."""
    for value in (np.array("7"), np.array(-0.5), np.array([4], np.int64), np.arange(136.0), np.float32(0.1), np.zeros((0,))):
        path = tmp_path / "value.npy"
        np.save(path, value)
        loaded = np.load(path, allow_pickle=False)

        parsed = parse_npy(path.read_bytes())

        assert np.array_equal(parsed, loaded) if isinstance(parsed, np.ndarray) else parsed == str(loaded.reshape(-1)[0])


# AN-va


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


# AN-csv


def test_csv_items_hold_what_the_rows_say(tmp_path: Path) -> None:
    """Box and landmarks stay in original-image pixels; validation.csv has no header and loses no row."""
    csv_tree(tmp_path)

    found = scanned(tmp_path, crop="box")

    assert (found.layout, found.classes, found.rejects, found.repairs) == ("AN-csv", AFFECTNET_8, [], {})
    assert found.skipped == {"not_emotion": 9}
    expected = [("train", i, i) for i in range(22) if i % 11 < 8] + [("val", i - 22, i) for i in range(22, 33) if i % 11 < 8]
    assert len(found.items) == len(expected)
    for item, (split, row, i) in zip(found.items, expected, strict=True):
        assert item.key == f"{split}_{row}_{i:056x}"[: len(f"{split}_{row}_") + 32]
        assert (item.path, item.split) == (f"{IMAGES}/{csv_path(i)}", split)
        assert (item.label, item.source_label) == (i % 11, str(i % 11))
        assert (item.valence, item.arousal) == (score(i), -score(i))
        assert item.box == (10 + i, 20 + i, 100 + i, 110 + i)
        assert item.landmarks == points(i)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_every_form_of_the_csv_file_gives_the_same_rows(tmp_path: Path, header: bool, mark: str, newline: str, end: str) -> None:
    """Header, byte-order mark, line ends, blank lines and a missing last line end differ between copies."""
    csv_tree(tmp_path)
    plain = scanned(tmp_path)
    text = mark + csv_text(map(csv_row, range(22)), header=header, newline=newline).rstrip("\r\n") + end
    (tmp_path / "training.csv").write_bytes(text.encode())

    assert scanned(tmp_path).items.table.equals(plain.items.table)


def test_landmarks_in_136_columns_are_rejoined(tmp_path: Path) -> None:
    """Some copies split the landmarks; they stand between the first five and the last three columns."""
    csv_tree(tmp_path)
    plain = scanned(tmp_path)
    wide = [[*row[:5], *row[5].split(";"), *row[6:]] for row in map(csv_row, range(22))]
    (tmp_path / "training.csv").write_text(csv_text(wide, header=False))

    found = scanned(tmp_path)

    assert found.items.table.equals(plain.items.table)


@pytest.mark.parametrize(
    "landmarks", ["", "1;2;3", "x" + ";1" * 135, ";".join(["nan"] * 136), ";".join(["1"] * 137), ";".join(["1"] * 135 + [""])]
)
def test_rows_without_136_landmarks_stay_without_them(tmp_path: Path, landmarks: str) -> None:
    """Landmarks are a help, not a condition; the rows beside them keep theirs."""
    csv_tree(tmp_path)
    rows = [csv_row(i, landmarks=landmarks) if i == 3 else csv_row(i) for i in range(22)]
    (tmp_path / "training.csv").write_text(csv_text(rows))

    found = scanned(tmp_path)

    assert [item.landmarks for item in found.items][2:5] == [points(2), None, points(4)]
    assert found.repairs == {"landmarks_missing": 1}


def test_landmarks_with_spaces_or_a_last_separator_are_read(tmp_path: Path) -> None:
    """Hand-edited rows are as good as others."""
    csv_tree(tmp_path)
    spaced = "; ".join(f"{value:g}" for value in points(3)) + ";"
    (tmp_path / "training.csv").write_text(csv_text([csv_row(i, landmarks=spaced) if i == 3 else csv_row(i) for i in range(22)]))

    assert scanned(tmp_path).items[3].landmarks == points(3)


@pytest.mark.parametrize(
    "changed", [{"face_x": "NULL", "face_y": "NULL", "face_width": -5, "face_height": -5}, {"face_x": "", "face_y": ""}]
)
def test_the_null_row_is_a_bad_row(tmp_path: Path, changed: dict[str, Any]) -> None:
    """The released training.csv has one; it is no Happy image, and tables written again leave its fields empty."""
    csv_tree(tmp_path)
    rows = [csv_row(i, **changed) if i == 1 else csv_row(i, face_x=f"{10 + i}.0", face_y=f"{20 + i}.0") for i in range(22)]
    (tmp_path / "training.csv").write_text(csv_text(rows))

    found = scanned(tmp_path)

    assert [(reject.path, reject.reason, reject.split, reject.row) for reject in found.rejects] == [
        (f"{IMAGES}/{csv_path(1)}", "bad_row", "train", 3)
    ]
    assert [item.key.split("_")[1] for item in found.items][:3] == ["0", "2", "3"]
    assert found.items[1].box == (12, 22, 102, 112)
    assert not any("bad rows" in note for note in found.notes)


def test_rows_of_another_width_are_bad_rows_and_told(tmp_path: Path) -> None:
    """One is expected; more is a damaged copy."""
    csv_tree(tmp_path)
    rows = [csv_row(i) for i in range(22)]
    rows[3], rows[4] = rows[3][:-1], [*rows[4], "more"]
    (tmp_path / "training.csv").write_text(csv_text(rows))

    found = scanned(tmp_path)

    assert [(reject.reason, reject.row) for reject in found.rejects] == [("bad_row", 5), ("bad_row", 6)]
    assert any(re.match(r"Warning: 2 bad rows in training.csv", note) for note in found.notes)


@pytest.mark.parametrize(
    "changed",
    [{"face_width": 0}, {"face_height": -3}, {"face_x": "nan"}, {"face_width": "inf"}, {"face_x": -500}, {"face_y": "wide"}],
)
def test_a_box_that_cannot_be_cropped_is_rejected_only_if_crops_are_asked_for(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Without crops the photograph is as good as any."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(i, **changed) if i == 1 else csv_row(i) for i in range(22)]))

    cropped, whole = scanned(tmp_path, crop="box"), scanned(tmp_path, crop="none")

    assert reasons(cropped) == [(f"{IMAGES}/{csv_path(1)}", "box_invalid")]
    assert (whole.rejects, whole.repairs, whole.items[1].box) == ([], {"box_invalid": 1}, None)


def test_a_box_partly_outside_is_kept_as_written(tmp_path: Path) -> None:
    """Only the transform knows the image's size, so it clamps and counts."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(0, face_x=-20, face_y="-7.5", face_width=9000)]))
    (tmp_path / "validation.csv").unlink()

    assert scanned(tmp_path, crop="box").items[0].box == (-20, -7.5, 9000, 110)


@pytest.mark.parametrize(
    ("valence", "expected", "is_invalid"),
    [("-2", None, False), ("-2.0", None, False), ("", None, True), ("NULL", None, True), ("1.2", None, True)],
)
def test_csv_scores_are_numbers_or_missing(tmp_path: Path, valence: str, expected: float | None, is_invalid: bool) -> None:
    """The same rule as for AN-npy; the other score stays."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(i, valence=valence) if i == 1 else csv_row(i) for i in range(22)]))

    found = scanned(tmp_path)

    assert (found.items[1].valence, found.items[1].arousal) == (expected, -score(1))
    assert found.repairs == ({"va_invalid": 1} if is_invalid else {})


@pytest.mark.parametrize(("expression", "label"), [("3.0", 3), ("11", None), ("-1", None), ("2.5", None), ("", None), ("Happy", None)])
def test_csv_labels_are_whole_numbers(tmp_path: Path, expression: str, label: int | None) -> None:
    """Tables written again turn 3 into 3.0, which is whole."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(i, expression=expression) if i == 1 else csv_row(i) for i in range(22)]))

    found = scanned(tmp_path)

    if label is None:
        assert reasons(found) == [(f"{IMAGES}/{csv_path(1)}", "label_invalid")]
    else:
        assert (found.items[1].label, found.items[1].source_label) == (label, expression)


def test_mostly_invalid_csv_labels_stop_the_scan(tmp_path: Path) -> None:
    """The wrong column, or another data set."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(i, expression=i + 5) for i in range(22)]))

    with pytest.raises(SourceError, match=r"training.csv: 16 of 22 labels are not classes"):
        scanned(tmp_path)


def test_csv_rows_and_images_without_each_other_are_rejected(tmp_path: Path) -> None:
    """A row of a class that is left out needs no image, but its image has a label."""
    csv_tree(tmp_path)
    images = tmp_path / IMAGES
    (images / csv_path(3)).unlink()
    (images / csv_path(9)).unlink()
    put(images / "4/unknown.PNG")
    put(images / "77/more.jpg")
    put(images / "77/notes.txt")

    found = scanned(tmp_path)

    assert reasons(found) == [
        (f"{IMAGES}/{csv_path(3)}", "image_missing"),
        (f"{IMAGES}/4/unknown.PNG", "label_missing"),
        (f"{IMAGES}/77/more.jpg", "label_missing"),
    ]
    assert found.rejects[0].row == 5


def test_csv_rows_none_of_which_finds_its_image_stop_the_scan(tmp_path: Path) -> None:
    """The wrong image folder."""
    csv_tree(tmp_path)
    for path in list(tmp_path.rglob("*.jpg")):
        path.rename(path.with_name(f"other{path.name}"))

    with pytest.raises(
        SourceError, match=r"none of 24 label rows finds its image, expected for instance Manually_Annotated_Images/<n>/<hash>.jpg"
    ):
        scanned(tmp_path)


def test_csv_paths_match_without_regard_to_case(tmp_path: Path) -> None:
    """Upper-case extensions are common; a single other spelling is accepted and counted, two are not."""
    csv_tree(tmp_path)
    folder = tmp_path / IMAGES
    (folder / csv_path(2)).rename(folder / csv_path(2, "JPG"))
    (folder / csv_path(3)).rename(folder / csv_path(3, "JPG"))
    put(folder / csv_path(3, "Jpg"))
    put(folder / csv_path(4, "JPG"))
    rows = [csv_row(i, path=csv_path(i, "TIFF")) if i == 5 else csv_row(i) for i in range(22)]
    (folder / csv_path(5)).rename(folder / csv_path(5, "TIFF"))
    (tmp_path / "training.csv").write_text(csv_text(rows))

    found = scanned(tmp_path)

    paths = [item.path.removeprefix(f"{IMAGES}/") for item in found.items][:5]
    assert paths == [csv_path(0), csv_path(1), csv_path(2, "JPG"), csv_path(4), csv_path(5, "TIFF")]
    assert found.repairs == {"name_matched": 1}
    assert reasons(found) == [
        (f"{IMAGES}/{csv_path(3)}", "image_ambiguous"),
        (f"{IMAGES}/{csv_path(4, 'JPG')}", "label_missing"),
    ]


def test_flattened_images_and_backslashes_are_found(tmp_path: Path) -> None:
    """The CSV goes on naming ``<n>/<hash>``, with Windows' separators in some copies."""
    csv_tree(tmp_path, flat=True)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(i, path=csv_path(i).replace("/", "\\")) for i in range(22)]))

    found = scanned(tmp_path)

    assert (len(found.items), found.rejects, found.repairs) == (24, [], {})
    assert found.items[0].path == f"{IMAGES}/{csv_path(0).split('/')[1]}"


def test_every_row_of_a_file_named_twice_is_kept(tmp_path: Path) -> None:
    """Official totals count rows; the row number keeps the keys apart. Within train and val each, not between them."""
    csv_tree(tmp_path)
    rows = [*(csv_row(i) for i in range(22)), csv_row(0, face_x=99), csv_row(0)]
    (tmp_path / "training.csv").write_text(csv_text(rows))
    (tmp_path / "validation.csv").write_text(csv_text([csv_row(1), *map(csv_row, range(22, 33))], header=False))

    found = scanned(tmp_path)

    assert [item.key for item in found.items if item.path.endswith(csv_path(0))] == [f"train_{row}_{0:032x}" for row in (0, 22, 23)]
    assert sum("2 rows name a file that an earlier row of the split has named" in note for note in found.notes) == 1


def test_keys_hold_letters_digits_and_no_dots(tmp_path: Path) -> None:
    """Keys become names of tar members, where a dot ends the name."""
    csv_tree(tmp_path)
    name = "3/a b.c(é)" + "x" * 60 + ".jpg"
    put(tmp_path / IMAGES / name)
    (tmp_path / "training.csv").write_text(csv_text([csv_row(0), csv_row(1, path=name)]))

    found = scanned(tmp_path)

    assert keys(found)[1] == "train_1_a_b_c_" + "x" * 26
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", key) for key in keys(found))
    assert len(set(keys(found))) == len(found.items)


def test_the_automatic_part_joins_train_when_it_is_asked_for(tmp_path: Path) -> None:
    """Its labels come from a machine, so it is never mixed in unasked; its keys cannot meet those of train."""
    csv_tree(tmp_path)
    put(tmp_path / "automatically_annotated.csv", csv_text(csv_row(i) for i in range(50, 72)))
    for i in range(50, 72):
        put(tmp_path / "Automatically_Annotated_Images" / csv_path(i))

    without, found = scanned(tmp_path), scanned(tmp_path, automatic=True)

    assert len(without.items) == 24
    assert any("automatically annotated part (automatically_annotated.csv) was left out" in note for note in without.notes)
    assert keys(found)[:24] == keys(without)
    automatic = [item for item in found.items if item.key.startswith("auto_")]
    assert len(automatic) == 16
    assert {item.split for item in automatic} == {"train"}
    assert any(re.match(r"train: 22 found, 414,799 in the manually", note) for note in found.notes)
    assert any(re.match(r"train: 22 found, 539,607 in the automatically", note) for note in found.notes)


def test_the_automatic_part_alone_is_read(tmp_path: Path) -> None:
    """Who has nothing else means it."""
    put(tmp_path / "automatically_annotated.csv", csv_text([csv_row(1)]))
    put(tmp_path / "Automatically_Annotated_Images" / csv_path(1))

    assert len(scanned(tmp_path).items) == 1


def test_an_automatic_part_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Half of what was asked for is not what was asked for."""
    csv_tree(tmp_path)
    with pytest.raises(LayoutError, match="no automatically annotated part found"):
        scanned(tmp_path, automatic=True)
    plus_tree(tmp_path / "plus")
    with pytest.raises(LayoutError, match="no no_human_annotated/ found"):
        scanned(tmp_path / "plus", automatic=True)


def test_csv_lines_across_block_ends_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read in blocks; where they end must not show."""
    csv_tree(tmp_path)
    plain = scanned(tmp_path)
    monkeypatch.setattr("ferdata.sources.affectnet_rows._BLOCK_BYTES", 97)

    assert scanned(tmp_path).items.table.equals(plain.items.table)


# AN-plus


def test_plus_items_hold_what_the_documents_say(tmp_path: Path) -> None:
    """Scores and landmarks are under meta-data; the rest is kept beside them."""
    plus_tree(tmp_path)

    found = scanned(tmp_path)

    assert (found.layout, found.classes, found.rejects, found.repairs) == ("AN-plus", AFFECTNET_8, [], {})
    assert found.skipped == {"not_emotion": 9}
    expected = [(split, i) for split, count in (("train", 22), ("val", 11)) for i in range(count) if i % 11 < 8]
    assert keys(found) == [f"{split}_{i}" for split, i in expected]
    for item, (split, i) in zip(found.items, expected, strict=True):
        folder = {"train": "train_set", "val": "validation_set"}[split]
        document = plus_document(i)
        assert item.path == f"human_annotated/{folder}/images/{i}.jpg"
        assert (item.label, item.source_label, item.valence, item.arousal) == (i % 11, str(i % 11), score(i), -score(i))
        assert item.landmarks == points(i)
        assert item.extra == {
            **{name: document["meta-data"][name] for name in ("gender", "race", "age", "pose")},
            **{name: document[name] for name in ("soft-label", "subset")},
        }


def test_plus_keys_match_in_any_case(tmp_path: Path) -> None:
    """``Human-Label`` occurs."""
    plus_tree(tmp_path)
    plain = scanned(tmp_path)
    for path in tmp_path.rglob("*.json"):
        document = json.loads(path.read_text())
        document = {name.title(): value for name, value in document.items()}
        document["Meta-Data"] = {name.upper(): value for name, value in document["Meta-Data"].items()}
        path.write_text(json.dumps(document), encoding="utf-8-sig")

    assert scanned(tmp_path).items.table.equals(plain.items.table)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(plus_document(0, human_label=None)), "unlabelled"),
        (json.dumps({"subset": 1}), "unlabelled"),
        (json.dumps(plus_document(0, human_label=11)), "label_invalid"),
        (json.dumps(plus_document(0, human_label=True)), "label_invalid"),
        (json.dumps(plus_document(0, human_label=2.5)), "label_invalid"),
        ("", "label_corrupt"),
        ("{", "label_corrupt"),
        ("[1]", "label_corrupt"),
        ("[" * 100_000, "label_corrupt"),
    ],
)
def test_plus_documents_without_a_label_are_rejected(tmp_path: Path, text: str, reason: str) -> None:
    """Each with the reason that says what to do about it."""
    plus_tree(tmp_path)
    (tmp_path / "human_annotated/train_set/annotations/3.json").write_text(text)

    found = scanned(tmp_path)

    assert reasons(found) == [("human_annotated/train_set/images/3.jpg", reason)]
    assert "3.json" in found.rejects[0].detail or reason == "label_invalid"


def test_plus_values_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    """-2 is missing, NaN is invalid, 135 numbers are no landmarks, a missing meta-data is nothing."""
    plus_tree(tmp_path)
    folder = tmp_path / "human_annotated/train_set/annotations"
    meta = plus_document(1)["meta-data"]
    (folder / "1.json").write_text(json.dumps(plus_document(1, meta_data={**meta, "valence": -2, "arousal": None})))
    (folder / "2.json").write_text(json.dumps(plus_document(2, meta_data={**meta, "valence": math.nan, "landmark-68": points(1)[1:]})))
    (folder / "3.json").write_text(json.dumps({"human-label": 3.0}))

    found = scanned(tmp_path)

    one, two, three = list(found.items)[1:4]
    assert (one.valence, one.arousal, one.landmarks) == (None, None, points(1))
    assert (two.valence, two.arousal, two.landmarks) == (None, meta["arousal"], None)
    assert (three.label, three.valence, three.landmarks, three.extra) == (3, None, None, None)
    assert found.repairs == {"va_invalid": 1}


def test_plus_images_and_documents_without_each_other_are_rejected(tmp_path: Path) -> None:
    """As in AN-npy."""
    plus_tree(tmp_path)
    folder = tmp_path / "human_annotated/train_set"
    (folder / "images/2.jpg").unlink()
    (folder / "annotations/3.json").unlink()
    (folder / "images/4.jpg").rename(folder / "images/4.PNG")
    (folder / "images/5.jpg").rename(folder / "images/5.PNG")
    put(folder / "images/5.png")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("human_annotated/train_set/annotations/2.json", "image_missing"),
        ("human_annotated/train_set/images/3.jpg", "label_missing"),
        ("human_annotated/train_set/images/5.PNG", "image_ambiguous"),
    ]
    assert found.repairs == {"name_matched": 1}
    assert next(item.path for item in found.items if item.key == "train_4").endswith("4.PNG")


def test_the_part_without_human_labels_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """Most of it has no label to learn from; each such image is named."""
    plus_tree(tmp_path, automatic=4)
    labelled = tmp_path / "no_human_annotated/annotations/2.json"
    labelled.write_text(json.dumps(plus_document(2)))

    without, found = scanned(tmp_path), scanned(tmp_path, automatic=True)

    assert (len(without.items), without.rejects) == (24, [])
    assert [item.key for item in found.items if item.key.startswith("auto")] == ["auto_2"]
    assert reasons(found) == [(f"no_human_annotated/images/{i}.jpg", "unlabelled") for i in (0, 1, 3)]
    assert any(re.match(r"train: 4 found, 539,607 in AffectNet\+ without human labels", note) for note in found.notes)


def test_the_json_form_of_split_folders_needs_no_wrapper(tmp_path: Path) -> None:
    """``train_set/annotations/*.json`` at the root is AN-plus too."""
    plus_tree(tmp_path / "x")

    found = scanned(tmp_path / "x/human_annotated")

    assert (found.layout, len(found.items)) == ("AN-plus", 24)
