"""AffectNet's release of 2017: every outcome that the layout specification names."""

import re
from pathlib import Path
from typing import Any

import pytest
from trees import (
    csv_path,
    csv_row,
    csv_text,
    csv_tree,
    keys,
    plus_tree,
    points,
    reasons,
    score,
)
from trees_rafdb import put

from ferdata.errors import LayoutError, SourceError
from ferdata.labels import AFFECTNET_8
from ferdata.sources import Scan, ScanOptions, scan_source

IMAGES = "Manually_Annotated_Images"


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("affectnet", str(root), ScanOptions(num_workers=1, **options))


def test_csv_items_hold_what_the_rows_say(tmp_path: Path) -> None:
    """Box and landmarks stay in original-image pixels; validation.csv has no header and loses no row."""
    csv_tree(tmp_path)

    found = scanned(tmp_path, crop="box")

    assert (found.layout, found.classes, found.rejects, found.repairs) == ("AN-csv", AFFECTNET_8, [], {})
    assert found.skipped == {"not_emotion": 9}
    expected = [("train", i, i) for i in range(22) if i % 11 < 8] + [
        ("val", i - 22, i) for i in range(22, 33) if i % 11 < 8
    ]
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
def test_every_form_of_the_csv_file_gives_the_same_rows(
    tmp_path: Path, header: bool, mark: str, newline: str, end: str
) -> None:
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
    "landmarks",
    ["", "1;2;3", "x" + ";1" * 135, ";".join(["nan"] * 136), ";".join(["1"] * 137), ";".join(["1"] * 135 + [""])],
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
    (tmp_path / "training.csv").write_text(
        csv_text([csv_row(i, landmarks=spaced) if i == 3 else csv_row(i) for i in range(22)])
    )

    assert scanned(tmp_path).items[3].landmarks == points(3)


@pytest.mark.parametrize(
    "changed", [{"face_x": "NULL", "face_y": "NULL", "face_width": -5, "face_height": -5}, {"face_x": "", "face_y": ""}]
)
def test_the_null_row_is_a_bad_row(tmp_path: Path, changed: dict[str, Any]) -> None:
    """The released training.csv has one; it is no Happy image, and tables written again leave its fields empty."""
    csv_tree(tmp_path)
    rows = [
        csv_row(i, **changed) if i == 1 else csv_row(i, face_x=f"{10 + i}.0", face_y=f"{20 + i}.0") for i in range(22)
    ]
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
    [
        {"face_width": 0},
        {"face_height": -3},
        {"face_x": "nan"},
        {"face_width": "inf"},
        {"face_x": -500},
        {"face_y": "wide"},
    ],
)
def test_a_box_that_cannot_be_cropped_is_rejected_only_if_crops_are_asked_for(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """Without crops the photograph is as good as any."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(
        csv_text([csv_row(i, **changed) if i == 1 else csv_row(i) for i in range(22)])
    )

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
def test_csv_scores_are_numbers_or_missing(
    tmp_path: Path, valence: str, expected: float | None, is_invalid: bool
) -> None:
    """The same rule as for AN-npy; the other score stays."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(
        csv_text([csv_row(i, valence=valence) if i == 1 else csv_row(i) for i in range(22)])
    )

    found = scanned(tmp_path)

    assert (found.items[1].valence, found.items[1].arousal) == (expected, -score(1))
    assert found.repairs == ({"va_invalid": 1} if is_invalid else {})


@pytest.mark.parametrize(
    ("expression", "label"), [("3.0", 3), ("11", None), ("-1", None), ("2.5", None), ("", None), ("Happy", None)]
)
def test_csv_labels_are_whole_numbers(tmp_path: Path, expression: str, label: int | None) -> None:
    """Tables written again turn 3 into 3.0, which is whole."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(
        csv_text([csv_row(i, expression=expression) if i == 1 else csv_row(i) for i in range(22)])
    )

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
        SourceError,
        match=r"none of 24 label rows finds its image, expected for instance Manually_Annotated_Images/<n>/<hash>.jpg",
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
    (tmp_path / "training.csv").write_text(
        csv_text([csv_row(i, path=csv_path(i).replace("/", "\\")) for i in range(22)])
    )

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

    assert [item.key for item in found.items if item.path.endswith(csv_path(0))] == [
        f"train_{row}_{0:032x}" for row in (0, 22, 23)
    ]
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
    assert any(
        "automatically annotated part (automatically_annotated.csv) was left out" in note for note in without.notes
    )
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
    monkeypatch.setattr("ferdata.sources.files.text_tables._BLOCK_BYTES", 97)

    assert scanned(tmp_path).items.table.equals(plain.items.table)
