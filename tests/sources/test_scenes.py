"""CAER-S and SFEW: class folders of films' frames and of the faces in them; and what class folders look like."""

import re
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, put, reasons

from ferdata.errors import LayoutError, OptionError
from ferdata.labels import AFFECTNET_7, ALPHABETICAL_7, canonical_name
from ferdata.sources import Scan, ScanOptions, detect_layout, scan_source
from ferdata.sources.caers.totals import CAERS_FULL
from ferdata.sources.sfew.totals import SFEW_FACES, SFEW_SCENES
from ferdata.synth import write_synthetic


def scanned(root: Path, source: str, **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


def tree(root: Path, **folders: int) -> Path:
    """Put images that are none into class folders: ``Train__Angry=3`` is three in ``Train/Angry``."""
    for path, count in folders.items():
        for number in range(1, count + 1):
            put(root / path.replace("__", "/") / f"Airheads_{number:09d}_{number:08d}.png")
    return root


@pytest.fixture(scope="module")
def caers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("caers")
    write_synthetic("caers", str(root), count=42, size=48, num_workers=1)
    return root


def test_totals_add_up_to_what_was_published() -> None:
    """70,000 images; 891 and 431 faces of 958 and 436 frames, which were counted class by class for faces alone."""
    caers, faces = (
        [sum(of.values()) for of in release.splits.values() if not isinstance(of, int)]
        for release in (CAERS_FULL, SFEW_FACES)
    )
    assert (sum(caers), faces, list(SFEW_SCENES.splits.values())) == (70_000, [891, 431], [958, 436])


def test_caers_is_read_by_name_though_a_class_is_called_otherwise_in_test(caers: Path) -> None:
    """Anger is Angry in train: readers that sort each split's folders get away with it, those that look up fail."""
    assert (caers / "train/Angry").is_dir() and (caers / "test/Anger").is_dir()

    found = scanned(caers, "caers")

    assert (found.layout, found.classes, found.items.splits()) == ("CAER-S-folders", AFFECTNET_7, ["train", "test"])
    assert not found.rejects and len(found.items) == 42
    assert names_of(found) == [canonical_name(item.path.split("/")[1]) for item in found.items]
    assert {item.box for item in found.items} == {None}
    assert any("49,007 in CAER-S" in note for note in found.notes)


def test_sfew_has_no_labels_for_test(tmp_path: Path) -> None:
    """Its test frames lie in one folder."""
    summary = write_synthetic("sfew", str(tmp_path), count=42, size=48, num_workers=1)

    found = scanned(tmp_path, "sfew")

    assert (found.layout, found.classes, found.items.splits()) == ("SFEW-folders", AFFECTNET_7, ["train", "val"])
    assert len(found.items) == summary.images == 42
    assert names_of(found) == [canonical_name(item.path.split("/")[1]) for item in found.items]
    assert [reason for _, reason in reasons(found)] == ["label_missing"]
    for item in found.items:
        sequence, frame = item.path.rpartition("/")[2].removesuffix(".png").rsplit("_", 1)
        assert item.sequence == sequence and item.extra == {"frame": int(frame)}
    assert not any("has no folder" in note for note in found.notes)


def test_aligned_faces_are_read_and_scenes_if_asked(tmp_path: Path) -> None:
    """The release has both side by side, and its second list of val faces corrects the first."""
    write_synthetic("sfew", str(tmp_path), count=42, size=48, layout="SFEW-aligned", num_workers=1)
    tree(tmp_path, Train__Angry=3, Train__Happy=2, Val__Sad=1, Test=2, Val_Aligned_Faces__Sad=5)

    faces, scenes = scanned(tmp_path, "sfew"), scanned(tmp_path, "sfew", rafdb_images="original")

    assert (faces.layout, faces.classes, len(faces.items)) == ("SFEW-aligned", AFFECTNET_7, 42)
    assert {item.path.split("/")[0] for item in faces.items} == {"Train_Aligned_Faces", "Val_Aligned_Faces_new"}
    assert "Ignored Val_Aligned_Faces, which should hold the same images." in faces.notes
    assert "Aligned faces are read; rafdb_images=original reads the scenes in Test, Train, Val." in faces.notes
    assert any("891 in the aligned faces of SFEW 2.0" in note for note in faces.notes)
    assert names_of(scenes) == ["Anger"] * 3 + ["Happy"] * 2 + ["Sad"]
    assert [path.split("/")[0] for path, _ in reasons(scenes)] == ["Test", "Test"]


def test_aligned_faces_may_lie_among_the_class_folders(tmp_path: Path) -> None:
    """The archive of faces is inside that of a split, and unpacks there."""
    tree(
        tmp_path,
        Train__Angry=3,
        Train__Train_Aligned_Faces__Angry=2,
        Val__Val_Aligned_Faces__Fear=1,
        Test__Test_Aligned_Faces=1,
    )

    found = scanned(tmp_path, "sfew")

    assert names_of(found) == ["Anger", "Anger", "Fear"]
    assert found.items[0].path.startswith("Train/Train_Aligned_Faces/Angry/")
    assert reasons(found) == [("Test/Test_Aligned_Faces/Airheads_000000001_00000001.png", "label_missing")]


def test_what_is_no_sfew_is_not_read_as_it(tmp_path: Path, caers: Path) -> None:
    """AFEW's folders of faces have the same names, with a folder a video in them."""
    afew = tree(tmp_path / "afew", **{"Train_Aligned_Faces__000046280": 2, "Val_Aligned_Faces__000149120": 1})
    with pytest.raises(LayoutError):
        scanned(afew, "sfew")
    other = tree(
        tmp_path / "other", Train_Aligned_Faces__Angry=1, Train_Aligned_Faces__Bored=1, Val_Aligned_Faces__Sad=1
    )
    with pytest.raises(LayoutError, match="class folder 'Bored' found in aligned faces, expected only Anger, Disgust"):
        scanned(other, "sfew")
    alone = tree(tmp_path / "alone", Train_Aligned_Faces__Angry=1, Val_Aligned_Faces__Sad=1)
    with pytest.raises(LayoutError, match="rafdb_images original asked for, but only aligned faces found"):
        scanned(alone, "sfew", rafdb_images="original")
    with pytest.raises(OptionError, match="rafdb_images original asked for, but CAER-S-folders has no choice"):
        scanned(caers, "caers", rafdb_images="original")


@pytest.mark.parametrize(
    ("source", "layout", "counts"),
    [
        (
            "fer2013",
            "FER-folders",
            r"train [\d,]+, test [\d,]+; FER2013 as class folders.* has train 28,709, test 7,178",
        ),
        ("caers", "CAER-S-folders", r"train [\d,]+, test [\d,]+; CAER-S has train 49,007, test 20,993"),
        ("sfew", "SFEW-folders", r"train [\d,]+, val [\d,]+; SFEW 2\.0 has train 958, val 436"),
    ],
)
def test_class_folders_say_which_set_they_look_like(
    tmp_path: Path, caers: Path, source: str, layout: str, counts: str
) -> None:
    """Read as any class folders, nothing is compared with what is known."""
    root = caers
    if source != "caers":
        root = tmp_path
        write_synthetic(source, str(root), count=21, size=48, layout=layout, num_workers=1)

    found = scanned(root, "folder")

    text = rf"This looks like .* by the images' names \({counts}\): source '{source}' compares"
    assert [note for note in found.notes if re.match(text, note)]


@pytest.mark.parametrize("source", ["affectnet", "rafdb", "caers"])
def test_names_of_another_set_are_not_read_under_this_ones_totals(tmp_path: Path, source: str) -> None:
    """RAF-DB's stems always did that; FER2013's and SFEW's names prove as much."""
    root = tree(tmp_path, Train__Angry=1, Train__Happy=1, Val__Sad=1)

    with pytest.raises(LayoutError, match="SFEW-folders found, which is SFEW, expected"):
        scanned(root, source)

    assert detect_layout(str(root)).layout.name == "SFEW-folders"


@pytest.mark.parametrize("source", ["expw", "ferplus"])
def test_class_folders_are_refused_under_a_source_that_has_none(tmp_path: Path, source: str) -> None:
    """With what they are, and the source that reads them."""
    for name in ALPHABETICAL_7:
        put(tmp_path / name / "1.jpg")

    with pytest.raises(LayoutError, match=r"folder found, which is class folders, .*; use source 'folder'"):
        scanned(tmp_path, source)


def test_aligned_faces_under_another_source_are_named(tmp_path: Path) -> None:
    """The error says whose they are."""
    tree(tmp_path, Train_Aligned_Faces__Angry=1, Val_Aligned_Faces__Sad=1)

    with pytest.raises(
        LayoutError, match="SFEW-aligned found, which is SFEW, expected class folders; use source 'sfew'"
    ):
        scanned(tmp_path, "folder")
