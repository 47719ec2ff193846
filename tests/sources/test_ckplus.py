"""CK+: which frames of a sequence have which label, sequences without one, and the class folders made of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, put, reasons

from ferdata.errors import LayoutError, OptionError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, CKPLUS
from ferdata.sources import Scan, ScanOptions, scan_source

IMAGES = "cohn-kanade-images"


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("ckplus", str(root), ScanOptions(**options))


def sequence(root: Path, subject: str, session: str, frames: int, label: str | None) -> None:
    """Write a sequence, with a label at its last frame; as in the release, a folder of emotions can be empty."""
    for number in range(1, frames + 1):
        name = f"{subject}/{session}/{subject}_{session}_{number:08d}"
        put(root / f"{IMAGES}/{name}.png")
        put(root / f"Landmarks/{name}_landmarks.txt", f"   {number:.7e}   2.0000000e+00\n" * 68)
    put(root / f"FACS/{name}_facs.txt", "   9.0000000e+00   4.0000000e+00\n")
    (root / f"Emotion/{subject}/{session}").mkdir(parents=True)
    if label is not None:
        put(root / f"Emotion/{name}_emotion.txt", label)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    sequence(tmp_path, "S005", "001", 11, "   3.0000000e+00\n")
    sequence(tmp_path, "S010", "001", 6, None)
    sequence(tmp_path, "S010", "002", 14, "   7.0000000e+00\n")
    sequence(tmp_path, "S011", "001", 5, "   2.0000000e+00\n")
    return tmp_path


def shown(found: Scan) -> list[tuple[str | None, int, str]]:
    return [(item.sequence, (item.extra or {})["frame"], found.classes[item.label]) for item in found.items]


def test_the_first_frame_is_neutral_and_the_last_three_have_the_label(tree: Path) -> None:
    """The protocol of most papers; a frame between them shows neither, and is counted."""
    found = scanned(tree)

    assert shown(found) == [
        ("S005_001", 1, "Neutral"), *(("S005_001", number, "Disgust") for number in (9, 10, 11)),
        ("S010_002", 1, "Neutral"), *(("S010_002", number, "Surprise") for number in (12, 13, 14)),
        ("S011_001", 1, "Neutral"), *(("S011_001", number, "Contempt") for number in (3, 4, 5)),
    ]  # fmt: skip
    assert found.classes == AFFECTNET_8 and found.skipped == {"onset": 7 + 10 + 1, "unlabelled": 6}
    assert [item.person for item in found.items] == ["S005"] * 4 + ["S010"] * 4 + ["S011"] * 4
    assert [item.source_label for item in found.items][:2] == ["first frame", "3.0000000e+00"]
    assert [item.landmarks[:2] for item in found.items if item.landmarks][:2] == [[1.0, 2.0], [9.0, 2.0]]
    assert any(
        note.startswith("Of each labelled sequence the first frame is neutral and the last 3") for note in found.notes
    )
    assert any("3 found, 327 in CK+ (labelled sequences)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("frames", "peak"), [(1, [11]), (2, [10, 11]), (11, list(range(1, 12))), (30, list(range(1, 12)))]
)
def test_more_or_fewer_of_the_last_frames_are_taken_as_asked(tree: Path, frames: int, peak: list[int]) -> None:
    """Some take the very last, some the whole sequence, which leaves no frame to be neutral."""
    first = [("S005_001", 1, "Neutral")] if 1 not in peak else []

    found = [one for one in shown(scanned(tree, frames=frames)) if one[0] == "S005_001"]

    assert found == [*first, *(("S005_001", number, "Disgust") for number in peak)]


def test_seven_classes_leave_sequences_of_contempt_out(tree: Path) -> None:
    """Their neutral frames too, as in the papers that leave the class out."""
    found = scanned(tree, classes=7)

    assert found.classes == AFFECTNET_7 and {item.person for item in found.items} == {"S005", "S010"}
    assert found.skipped == {"onset": 17, "unlabelled": 6, "contempt": 5}


def test_the_folders_of_the_archives_are_found_in_each_other(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Archives unpack as Emotion_labels/Emotion and extended-cohn-kanade-images/cohn-kanade-images."""
    moved = tmp_path_factory.mktemp("ck") / "CK+"
    shutil.move(tree / IMAGES, moved / "extended-cohn-kanade-images" / IMAGES)
    shutil.move(tree / "Emotion", moved / "Emotion_labels/Emotion")
    put(moved / f"extended-cohn-kanade-images/{IMAGES}/S005/001/.DS_Store")
    put(moved / f"extended-cohn-kanade-images/{IMAGES}/ReadMeCohnKanadeDatabase_website.txt", "read me")

    found = scanned(moved.parent)

    assert len(found.items) == 12 and found.rejects == [] and found.repairs == {"landmarks_missing": 12}


def test_labels_that_are_none_or_two_are_rejected(tree: Path) -> None:
    """Each is named; the other sequences go on."""
    put(tree / "Emotion/S005/001/S005_001_00000011_emotion.txt", "   8.0000000e+00\n")
    put(tree / "Emotion/S011/001/S011_001_00000004_emotion.txt", "1")
    put(tree / "Emotion/S010/002/S010_002_00000014_emotion.txt", "2.5")
    put(tree / f"{IMAGES}/S010/002/face.png")

    found = scanned(tree)

    assert len(found.items) == 0
    assert reasons(found) == [
        ("Emotion/S005/001/S005_001_00000011_emotion.txt", "label_invalid"),
        ("Emotion/S010/002/S010_002_00000014_emotion.txt", "label_invalid"),
        ("Emotion/S011/001/S011_001_00000004_emotion.txt", "label_ambiguous"),
        (f"{IMAGES}/S010/002/face.png", "label_missing"),
    ]


def test_a_label_without_its_sequence_is_named(tree: Path) -> None:
    """An archive that was unpacked by half."""
    shutil.rmtree(tree / f"{IMAGES}/S010")
    for path in (tree / f"{IMAGES}/S011/001").iterdir():
        path.unlink()

    found = scanned(tree)

    assert len(found.items) == 4
    assert reasons(found) == [
        ("Emotion/S010/002/S010_002_00000014_emotion.txt", "image_missing"),
        ("Emotion/S011/001/S011_001_00000005_emotion.txt", "image_missing"),
    ]


def test_landmarks_that_are_missing_or_short_are_left_out(tree: Path) -> None:
    """A face without its points is still a face."""
    points = tree / "Landmarks/S005/001"
    (points / "S005_001_00000011_landmarks.txt").unlink()
    put(points / "S005_001_00000010_landmarks.txt", "1 2\n" * 67)

    found = scanned(tree)

    assert found.repairs == {"landmarks_missing": 2}
    assert [item.landmarks is None for item in found.items][:4] == [False, False, True, True]


def test_images_without_emotions_stop_the_run(tree: Path) -> None:
    """They would all be skipped, and whoever did not read the counts would not know why."""
    shutil.rmtree(tree / "Emotion")

    with pytest.raises(
        LayoutError, match=r"cohn-kanade-images: sequences of CK\+ found, but no .*unpack Emotion_labels"
    ):
        scanned(tree)


def test_class_folders_give_person_and_sequence_and_no_neutral(tmp_path: Path) -> None:
    """CK+48 has seven classes with contempt, and its neighbours of one sequence belong in one split."""
    for folder in ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"):
        for frame in (17, 18):
            put(tmp_path / f"CK+48/{folder}/S010_004_{frame:08d}.png")
    put(tmp_path / "CK+48/anger/me.png")

    found = scanned(tmp_path)

    assert found.layout == "CK+48" and found.classes == AFFECTNET_8[1:]
    assert sorted(set(names_of(found))) == sorted(CKPLUS[1:])
    assert {(item.person, item.sequence) for item in found.items} == {("S010", "S010_004")}
    assert reasons(found) == [("anger/me.png", "label_missing")]
    assert scanned(tmp_path, classes=7).skipped == {"contempt": 2}
    with pytest.raises(OptionError, match="frames 2 asked for, but CK\\+48 has no clips of frames; leave frames= out"):
        scanned(tmp_path, frames=2)
