"""Aff-Wild2: which line is about which frame, what -1 and -5 mean, and frames, folders and texts that are not there."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, only, put, reasons

from ferdata.errors import LayoutError, SourceError
from ferdata.sources import Scan, ScanOptions, scan_source

EXPRESSIONS = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
EXPR, VA = "EXPR_Classification_Challenge", "VA_Estimation_Challenge"


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("affwild2", str(root), ScanOptions(**options))


def video(
    root: Path,
    name: str,
    expressions: list[str] | None = None,
    scores: list[str] | None = None,
    *,
    split: str = "Train",
    crops: list[int] | None = None,
    header: str = EXPRESSIONS,
) -> None:
    """Write the texts of a video and, unless told otherwise, a crop for every line."""
    if expressions is not None:
        put(root / EXPR / f"{split}_Set/{name}.txt", "\n".join([header, *expressions, ""]))
    if scores is not None:
        put(root / VA / f"{split}_Set/{name}.txt", "\n".join(["valence,arousal", *scores, ""]))
    for number in range(1, len(expressions or scores or []) + 1) if crops is None else crops:
        put(root / f"cropped_aligned/{name}/{number:05d}.jpg")


def shown(found: Scan) -> list[tuple[str | None, int, str]]:
    return [(item.sequence, (item.extra or {})["frame"], found.classes[item.label]) for item in found.items]


def test_the_line_after_the_first_is_frame_one(tmp_path: Path) -> None:
    """Readers that pair lines with the sorted crops shift every label behind a face that was not found."""
    video(tmp_path, "1-30-1280x720", ["0", "1", "2", "3", "4", "5", "6", "7"], crops=[1, 3, 4, 6, 8])

    found = scanned(tmp_path)

    assert shown(found) == [
        ("1-30-1280x720", 1, "Neutral"), ("1-30-1280x720", 3, "Disgust"), ("1-30-1280x720", 4, "Fear"),
        ("1-30-1280x720", 6, "Sad"), ("1-30-1280x720", 8, "Other"),
    ]  # fmt: skip
    assert found.classes == ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Other")
    assert found.skipped == {"no_crop": 3} and found.rejects == []


def test_expressions_and_scores_of_one_frame_are_one_item(tmp_path: Path) -> None:
    """Minus one is no expression, minus five is no score; either may be there without the other."""
    video(tmp_path, "a", ["4", "-1", "4", "-1", "0"], ["0.5,-0.25", "0.1,0.2", "-5,-5", "-5,-5", "0.5,x"])
    video(tmp_path, "b", None, ["0.1,0.9"])

    found = scanned(tmp_path)

    assert [(item.key, item.valence, item.arousal) for item in found.items] == [
        ("a_00001", 0.5, -0.25), ("a_00003", None, None), ("a_00005", None, None),
    ]  # fmt: skip
    assert found.skipped == {"not_emotion": 2, "unlabelled": 1} and found.repairs == {"va_invalid": 1}
    kept = scanned(tmp_path, keep_non_emotion=True)
    assert shown(kept) == [
        ("a", 1, "Happy"), ("a", 2, "Unlabelled"), ("a", 3, "Happy"), ("a", 5, "Neutral"), ("b", 1, "Unlabelled"),
    ]  # fmt: skip
    shutil.rmtree(tmp_path / EXPR)
    alone = scanned(tmp_path)
    assert alone.classes == ("Unlabelled",) and [item.arousal for item in alone.items] == [-0.25, 0.2, 0.9]


def test_byte_order_marks_line_ends_and_blank_lines_shift_nothing(tmp_path: Path) -> None:
    """A blank line is a frame of which nothing is said."""
    video(tmp_path, "a", ["1"] * 5)
    put(tmp_path / EXPR / "Train_Set/a.txt", "\ufeff" + "\r\n".join([EXPRESSIONS, "0", "1", "", "3", " 4 "]))

    found = scanned(tmp_path)

    assert [(frame, name) for _, frame, name in shown(found)] == [
        (1, "Neutral"),
        (2, "Anger"),
        (4, "Fear"),
        (5, "Happy"),
    ]
    assert found.skipped == {"unlabelled": 1}


def test_two_people_of_a_video_are_two_sequences(tmp_path: Path) -> None:
    """Frame 1 of the left one is not frame 1 of the right one."""
    for name in ("10-60-1280x720", "10-60-1280x720_left", "10-60-1280x720_right"):
        video(tmp_path, name, ["0", "6"], split="Validation")

    found = scanned(tmp_path)

    assert [(item.sequence, (item.extra or {}).get("face")) for item in found.items][::2] == [
        ("10-60-1280x720", None), ("10-60-1280x720_left", "left"), ("10-60-1280x720_right", "right"),
    ]  # fmt: skip
    assert {item.split for item in found.items} == {"val"} and len({item.key for item in found.items}) == 6


def test_the_columns_that_a_text_names_decide(tmp_path: Path) -> None:
    """The first competitions had seven classes; a number without a column is no class."""
    video(tmp_path, "a", ["0", "6", "7", "4"], header=EXPRESSIONS.removesuffix(",Other"))

    found = scanned(tmp_path)

    assert names_of(found) == ["Neutral", "Surprise", "Happy"] and "Other" not in found.classes
    assert (only(found.rejects).reason, only(found.rejects).row) == ("label_invalid", 4)


def test_what_is_not_there_or_not_named_is_told(tmp_path: Path) -> None:
    """A video whose folder is missing, frames behind the last line, videos of the test set."""
    video(tmp_path, "a", ["0", "1"], crops=[1, 2, 3])
    video(tmp_path, "gone", ["0"], crops=[])
    put(tmp_path / "cropped_aligned/a/face.jpg")
    put(tmp_path / "cropped_aligned/of_the_test_set/00001.jpg")
    put(tmp_path / "AU_Detection_Challenge/Train_Set/a.txt", "AU1,AU2,AU4\n0,1,0\n")

    found = scanned(tmp_path)

    assert len(found.items) == 2
    assert reasons(found) == [
        ("cropped_aligned/a/00003.jpg", "label_missing"),
        ("cropped_aligned/a/face.jpg", "label_missing"),
        ("cropped_aligned/gone", "image_missing"),
    ]
    assert any(
        "Ignored 1 folders of frames without texts" in note and "of_the_test_set" in note for note in found.notes
    )


def test_crops_lie_in_several_folders_and_aligned_ones_come_first(tmp_path: Path) -> None:
    """The release came in batches, each with a folder of its own."""
    for name in "abc":
        video(tmp_path, name, ["0", "1"])
    (tmp_path / "batch2").mkdir()
    shutil.copytree(tmp_path / "cropped_aligned", tmp_path / "cropped")
    shutil.move(tmp_path / "cropped_aligned/c", tmp_path / "batch2/cropped_aligned/c")
    shutil.move(tmp_path / EXPR, tmp_path / "6th ABAW Annotations/EXPR_Recognition_Challenge")

    found = scanned(tmp_path)

    assert {item.path.rsplit("/", 1)[0] for item in found.items} == {
        "cropped_aligned/a", "cropped_aligned/b", "batch2/cropped_aligned/c",
    }  # fmt: skip


def test_a_video_in_two_splits_goes_with_its_expressions(tmp_path: Path) -> None:
    """One competition's train may be another's validation; one video must not be in both."""
    video(tmp_path, "a", ["0"])
    video(tmp_path, "a", None, ["0.5,0.5"], split="Validation")

    found = scanned(tmp_path)

    assert [(item.split, item.valence) for item in found.items] == [("train", 0.5)]
    assert any("1 video is in train and in val; their expressions decide" in note for note in found.notes)


def test_frames_of_a_video_are_evenly_spaced(tmp_path: Path) -> None:
    """Neighbours are nearly the same picture; what is left out is counted."""
    video(tmp_path, "a", ["0"] * 100, crops=list(range(1, 101, 2)))

    found = scanned(tmp_path, frames=5)

    assert [frame for _, frame, _ in shown(found)] == [11, 31, 51, 71, 91]
    assert found.skipped == {"no_crop": 50, "frames": 45}


def test_numbers_that_are_no_columns_stop_the_run_at_the_first_video(tmp_path: Path) -> None:
    """Texts of another task, or of classes counted from 1, are not read to the end of 2.6 million lines."""
    for name in "ab":
        video(tmp_path, name, ["8", "9", "1"])

    with pytest.raises(SourceError, match=r"Train_Set/a\.txt: 2 of 3 labels are not classes.*the first line names"):
        scanned(tmp_path)


def test_texts_without_crops_and_two_of_one_kind_stop_the_run(tmp_path: Path) -> None:
    """Both are mistakes of the folder, not of a row."""
    video(tmp_path, "a", ["0"], crops=[])
    with pytest.raises(LayoutError, match=r"annotations of Aff-Wild2 in .*Train_Set found, but no folder of a video"):
        scanned(tmp_path)
    (tmp_path / "cropped_aligned/a").mkdir(parents=True)
    with pytest.raises(
        SourceError, match=r"none of 1 label rows finds its image, .*cropped_aligned/<video>/00001\.jpg"
    ):
        scanned(tmp_path)
    shutil.copytree(tmp_path / EXPR, tmp_path / "5th ABAW Annotations/EXPR_Recognition_Challenge")
    with pytest.raises(
        LayoutError, match=r"both hold the expression train annotations .* expected those of one competition"
    ):
        scanned(tmp_path)
