"""DFEW: five folds, a label a clip, and clips whose frames lie here or there or nowhere."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, put, reasons

from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError
from ferdata.labels import AFFECTNET_7, DFEW
from ferdata.sources import Scan, ScanOptions, scan_source

FRAMES = 4
CLIPS = "Clip/clip_224x224"
WORDS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("dfew", str(root), ScanOptions(**options))


def lists(root: Path, pattern: str = "EmoLabel_DataSplit/{split}(single-labeled)/set_{fold}.csv") -> None:
    """Write the lists of two folds of seven clips, one of each class: clip n is of class n."""
    for fold, test in ((1, (7,)), (2, (1, 2))):
        for split in ("train", "test"):
            rows = [f"{clip},{clip}" for clip in range(1, 8) if (clip in test) == (split == "test")]
            put(root / pattern.format(split=split, fold=fold), "\n".join(["video_name,label", *rows, ""]))


def frames(root: Path, clip: int, folder: str = CLIPS) -> None:
    for number in range(1, FRAMES + 1):
        put(root / f"{folder}/{clip:05d}/{clip:05d}_{number:05d}.jpg")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    lists(tmp_path)
    for clip in range(1, 8):
        frames(tmp_path, clip)
    return tmp_path


def clips(found: Scan, split: str) -> set[str | None]:
    return {item.sequence for item in found.items if item.split == split}


def test_every_frame_has_the_label_of_its_clip(tree: Path) -> None:
    """1 is happy and 3 neutral, in no other set's order; the first fold is read unless another is named."""
    found = scanned(tree)

    assert names_of(found) == [name for name in DFEW for _ in range(FRAMES)] and found.classes == AFFECTNET_7
    assert clips(found, "test") == {"00007"} and clips(found, "train") == {f"{clip:05d}" for clip in range(1, 7)}
    assert [(item.extra or {})["frame"] for item in found.items][:FRAMES] == [1, 2, 3, 4]
    assert "Fold 1 of 5 is read; fold= names another." in found.notes
    assert "train: 6 found, 9,356 in fold 1 of DFEW (clips) (-9,350)." in found.notes


def test_another_fold_has_other_splits_and_one_that_is_not_there_is_refused(tree: Path) -> None:
    """Results are the mean of five folds."""
    assert clips(scanned(tree, fold=2), "test") == {"00001", "00002"}
    with pytest.raises(LayoutError, match=r"no list of fold 3 found, expected one of test 1, test 2, train 1, train 2"):
        scanned(tree, fold=3)


@pytest.mark.parametrize(
    "pattern",
    [
        "label/single_{split}set_{fold}.csv",
        "{split}(single_labeled)/{split}_set_{fold}.csv",
        "EmoLabel_DataSplit/{split}/set_{fold}.csv",
    ],
)
def test_lists_are_found_under_the_names_that_circulate(tree: Path, pattern: str) -> None:
    """The authors' own code and their release call them differently."""
    shutil.rmtree(tree / "EmoLabel_DataSplit")
    lists(tree, pattern)
    shutil.move(tree / CLIPS, tree / "data")

    found = scanned(tree, fold=2)

    assert len(found.items) == 7 * FRAMES and clips(found, "test") == {"00001", "00002"}


def test_a_list_from_an_editor_is_read_too(tree: Path) -> None:
    """A byte-order mark, zeros in front, words for numbers, columns the other way round."""
    path = tree / "EmoLabel_DataSplit/train(single-labeled)/set_1.csv"
    put(path, "\ufefflabel;clip_name\r\nhappy;00001\r\n2.0;2\r\n0;3\r\n")

    found = scanned(tree)

    assert names_of(found) == ["Happy"] * FRAMES + ["Sad"] * FRAMES + ["Fear"] * FRAMES
    assert found.skipped == {"not_emotion": 1}


def test_clips_without_frames_are_named(tree: Path) -> None:
    """362 single-labelled clips have no face that was found; a list may name them."""
    shutil.rmtree(tree / CLIPS / "00002")
    for path in (tree / CLIPS / "00003").iterdir():
        path.unlink()
    put(tree / CLIPS / "00004/cover.jpg")
    path = tree / "EmoLabel_DataSplit/test(single-labeled)/set_1.csv"
    put(path, path.read_text() + "4,9\n")

    found = scanned(tree)

    assert reasons(found) == [
        ("2", "image_missing"), ("4", "label_invalid"),
        (f"{CLIPS}/00003", "image_missing"), (f"{CLIPS}/00004/cover.jpg", "label_missing"),
    ]  # fmt: skip
    assert len(found.items) == 5 * FRAMES


def test_all_frames_come_before_sixteen_interpolated_ones_and_parts_are_one(tree: Path) -> None:
    """Both forms are in the release; only one of them is what was filmed."""
    for clip in range(1, 8):
        frames(tree, clip, f"{CLIPS}_16f")
    shutil.move(tree / CLIPS, tree / "whole")
    for clip in range(1, 7):
        shutil.move(tree / f"whole/{clip:05d}", tree / f"{CLIPS}/clip_224x224_part_{1 + clip % 2}/{clip:05d}")
    shutil.rmtree(tree / "whole")

    found = scanned(tree)

    assert {item.path.rsplit("/", 2)[0] for item in found.items} == {
        f"{CLIPS}/clip_224x224_part_1", f"{CLIPS}/clip_224x224_part_2", f"{CLIPS}_16f",
    }  # fmt: skip
    assert len(found.items) == 7 * FRAMES


def test_frames_of_a_clip_are_evenly_spaced(tree: Path) -> None:
    """Most papers take 16 of a clip."""
    found = scanned(tree, frames=2)

    assert [(item.extra or {})["frame"] for item in found.items] == [2, 4] * 7
    assert found.skipped == {"frames": 14}
    assert len(scanned(tree, frames=99).items) == 7 * FRAMES


SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
HEADER = [*(f"{number}{word}" for number, word in enumerate(WORDS, start=1)), "order", "label"]


def workbook(path: Path, rows: list[list[object]]) -> None:
    """Write a workbook as Excel does: texts in a list of their own, numbers in place, empty cells left out."""
    texts = [str(cell) for row in rows for cell in row if isinstance(cell, str)]
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = [
            f'<c r="{chr(65 + column)}{number}" t="s"><v>{texts.index(cell)}</v></c>'
            if isinstance(cell, str)
            else f'<c r="{chr(65 + column)}{number}"><v>{cell}</v></c>'
            for column, cell in enumerate(row)
            if cell is not None
        ]
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as book:
        shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{SHEET}">{shared}</sst>')
        sheet = f'<worksheet xmlns="{SHEET}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
        book.writestr("xl/worksheets/sheet1.xml", sheet)


def test_votes_become_soft_labels(tree: Path) -> None:
    """Ten people saw each clip; a clip without a row, or with an empty cell, has the label alone."""
    path = tree / "Annotation/annotation.xlsx"
    workbook(path, [HEADER, [6, 0, 3, 1, 0, 0, 0, 1, 1], [0, 8, 0, 0, 0, 0, 2, 2, 2], [1, None, 9, 0, 0, 0, 0, 3, 3]])

    soft = {item.sequence: item.soft_labels for item in scanned(tree).items}

    assert soft["00001"] == pytest.approx([0.3, 0.6, 0, 0, 0, 0, 0.1])
    assert soft["00002"] == pytest.approx([0, 0, 0.8, 0, 0.2, 0, 0])
    assert soft["00003"] is soft["00004"] is None


def test_another_workbook_is_told_and_a_broken_one_stops_the_run(tree: Path) -> None:
    """Soft labels that are missing without a word would be one-hot ones."""
    path = tree / "Annotation/annotation.xlsx"
    workbook(path, [["name", "votes"], ["1", 3]])

    assert any(
        "annotation.xlsx: header name, votes is not that of DFEW's votes" in note for note in scanned(tree).notes
    )
    put(path, "PK")
    with pytest.raises(
        SourceError, match=r"annotation\.xlsx: File is not a zip file found, expected an Excel workbook"
    ):
        scanned(tree)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", b" " * ((1 << 26) + 1))
    with pytest.raises(SourceError, match=r"sheet1\.xml of 67,108,865 bytes found, expected an Excel workbook"):
        scanned(tree)


def test_what_cannot_be_read_stops_the_run(tree: Path) -> None:
    """Films instead of frames, lists of another numbering, two lists of one fold."""
    for split in ("train", "test"):
        path = tree / f"EmoLabel_DataSplit/{split}(single-labeled)/set_2.csv"
        header, *rows = path.read_text().splitlines()
        put(path, "\n".join([header, *(row.replace(",", ",1") for row in rows)]))
    with pytest.raises(SourceError, match=r"set_2\.csv: .* labels are not classes.*expected 1 Happy, 2 Sad"):
        scanned(tree, fold=2)
    shutil.copy(path, tree / "test_set_2.csv")
    with pytest.raises(AmbiguousLayoutError, match=r"expected one list of test 2; move one away"):
        scanned(tree)
    (tree / "test_set_2.csv").unlink()
    shutil.rmtree(tree / "Clip")
    put(tree / "Clip/original/1.mp4")
    with pytest.raises(LayoutError, match=r"lists of DFEW found .*but no folder of frames.* films are not read"):
        scanned(tree)
