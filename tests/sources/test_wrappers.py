"""Folders around a data set and inside class folders: what is a class, what is a wrapper, and what must be asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import csv_tree, npy_tree
from trees_rafdb import KAGGLE_NAMES, class_folders, names_of, put, raf_kaggle_tree

from ferdata.errors import AmbiguousLayoutError, LayoutError
from ferdata.sources import Scan, ScanOptions, detect_layout, scan_source

ONE_EACH = dict.fromkeys(KAGGLE_NAMES, 1)


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(num_workers=1, **options))


@pytest.mark.parametrize("wrapper", ["1", "03", "Happy", "versions/2"])
@pytest.mark.parametrize(
    ("layout", "build"),
    [
        ("AN-npy", npy_tree),
        ("AN-csv", csv_tree),
        ("RAF-kaggle", raf_kaggle_tree),
        ("AN-folders", lambda root: class_folders(root, {"train": ONE_EACH, "test": ONE_EACH})),
        ("AN-folders", lambda root: class_folders(root, {".": ONE_EACH})),
    ],
)
def test_a_wrapper_with_a_number_or_a_class_name_is_no_class(
    tmp_path: Path, wrapper: str, layout: str, build: Callable[[Path], object]
) -> None:
    """Download tools unpack to ``versions/1/``; read as class 1, every image of the set would get one label."""
    build(tmp_path / wrapper)

    found = detect_layout(str(tmp_path))

    assert (found.layout.name, found.root) == (layout, str(tmp_path / wrapper))


def test_numeric_folders_in_a_numbered_wrapper_are_asked_for_where_they_lie(tmp_path: Path) -> None:
    """The advice of the error must lead to the right labels when it is followed."""
    numbered = {str(number): 1 for number in range(1, 8)}
    class_folders(tmp_path / "1", {"train": numbered, "test": numbered})

    with pytest.raises(AmbiguousLayoutError, match=r"/1: 1, 2, 3, 4, 5, 6, 7 are numeric class folders"):
        detect_layout(str(tmp_path))

    found = scanned(tmp_path, "rafdb", labels="rafdb")
    assert found.items.splits() == ["train", "test"]
    assert len(set(names_of(found))) == 7


def test_a_data_set_below_too_many_numbered_wrappers_is_named(tmp_path: Path) -> None:
    """Nor does the depth make the outermost wrapper a class."""
    csv_tree(tmp_path / "1/2/3/4/5")

    with pytest.raises(LayoutError, match=r"AN-csv found deeper down, in 1/2/3/4/5"):
        detect_layout(str(tmp_path))


def test_two_versions_of_a_data_set_are_named_with_both_paths(tmp_path: Path) -> None:
    """Folders 1 and 2 that hold whole data sets are no classes either."""
    for version in ("1", "2"):
        csv_tree(tmp_path / version)

    with pytest.raises(AmbiguousLayoutError, match=r"AN-csv in .*/1 and AN-csv in .*/2 found, expected one data set"):
        detect_layout(str(tmp_path), labels="rafdb")


@pytest.mark.parametrize(
    ("source", "classes"),
    [(source, classes) for source in ("affectnet", "rafdb", "folder") for classes in (("Happy", "Sad"), ("1", "2"))]
    + [("folder", ("smile", "wink"))],
)
def test_split_folders_inside_class_folders_are_a_question(
    tmp_path: Path, source: str, classes: tuple[str, ...]
) -> None:
    """``Happy/test/`` read as a part of Happy would train on the test images."""
    for name in classes:
        put(tmp_path / name / "train/a.jpg")
        put(tmp_path / name / "test/b.jpg")
        put(tmp_path / name / "c.jpg")

    with pytest.raises(
        AmbiguousLayoutError, match=rf"/{classes[0]}: 'test', 'train' found inside class folder .*above class folders"
    ):
        scanned(tmp_path, source, labels="rafdb" if "1" in classes else None)


@pytest.mark.parametrize("inner", ["Sad", "joyful/angry", "happy/Fear", "annotations", "validation set"])
def test_other_classes_and_labels_inside_a_class_folder_are_a_question(tmp_path: Path, inner: str) -> None:
    """Which of the two names is the label cannot be seen."""
    class_folders(tmp_path, {"train": {"Happy": 1, "Sad": 1}})
    put(tmp_path / "train/Happy" / inner / "x.jpg")

    with pytest.raises(AmbiguousLayoutError, match=r"found inside class folder 'Happy', expected its images"):
        scanned(tmp_path)


def test_a_doubled_class_folder_is_one_class(tmp_path: Path) -> None:
    """``Happy/happy/`` is what an archive unpacked into its own folder leaves."""
    class_folders(tmp_path, {"train": {"Happy": 1, "Sad": 1}})
    put(tmp_path / "train/Happy/happy/x.jpg")

    assert names_of(scanned(tmp_path)) == ["Happy", "Happy", "Sad"]


def test_too_many_levels_inside_a_class_folder_stop(tmp_path: Path) -> None:
    """Images below the last level that is read would be lost without a word."""
    class_folders(tmp_path, {"train": {"Happy": 1, "Sad": 1}})
    put(tmp_path / "train/Happy/a/b/c/d/e/f/g/h/x.jpg")

    with pytest.raises(LayoutError, match=r"8 levels of folders found inside class folder 'Happy'"):
        scanned(tmp_path)


@pytest.mark.parametrize("target", ["..", ".", "../..", "../Sad/person 1", "/"])
def test_a_link_back_into_the_source_is_not_followed(tmp_path: Path, target: str) -> None:
    """It would give images of other classes to this one, or the same images again and again."""
    class_folders(tmp_path, {"train": {"Happy": 1, "Sad": 1}})
    put(tmp_path / "train/Sad/person 1/x.jpg")
    (tmp_path / "train/Happy/loop").symlink_to(target)

    found = scanned(tmp_path)

    assert names_of(found) == ["Happy", "Sad", "Sad"]
    assert any(note.startswith("Ignored link train/Happy/loop: it leads back into the source") for note in found.notes)


def test_links_to_other_disks_are_followed_once(tmp_path: Path) -> None:
    """Large sets are often linked from elsewhere; a loop over there ends too."""
    put(tmp_path / "disk/happy/x.jpg")
    put(tmp_path / "disk/ann/y.jpg")
    (tmp_path / "disk/ann/again").symlink_to("..")
    class_folders(tmp_path / "src", {"train": {"Sad": 1}})
    (tmp_path / "src/train/Happy").symlink_to(tmp_path / "disk/happy")
    (tmp_path / "src/train/Sad/ann").symlink_to(tmp_path / "disk/ann")

    found = scanned(tmp_path / "src")

    assert [item.path for item in found.items] == [
        "train/Happy/x.jpg",
        "train/Sad/trainSad_0.jpg",
        "train/Sad/ann/y.jpg",
    ]
    assert any("Ignored link train/Sad/ann/again" in note for note in found.notes)


def test_a_folder_of_folders_beside_folders_of_images_is_no_class(tmp_path: Path) -> None:
    """``data/`` beside ``logs/`` and ``plots/`` with pictures: three classes of that name are nobody's data set."""
    put(tmp_path / "logs/loss.png")
    put(tmp_path / "plots/curve.png")
    class_folders(tmp_path / "data", {".": {"smile": 1, "wink": 1}})

    with pytest.raises(
        AmbiguousLayoutError, match=r"/data: images in 'smile', 'wink' found, but 'logs', 'plots' beside it"
    ):
        scanned(tmp_path, "folder")

    class_folders(tmp_path / "data", {"test": {"smile": 1}})
    with pytest.raises(LayoutError, match=r"/data"):
        scanned(tmp_path, "folder")


def test_a_split_folder_beside_class_folders_is_a_question(tmp_path: Path) -> None:
    """``test/`` is no expression, and the images in it have no class."""
    class_folders(tmp_path, {".": {"smile": 1, "wink": 1}})
    put(tmp_path / "test/x.jpg")

    with pytest.raises(AmbiguousLayoutError, match=r"split folder 'test' found beside class folder 'smile', 'wink'"):
        scanned(tmp_path, "folder")


def test_class_folders_deeper_down_are_named(tmp_path: Path) -> None:
    """Other things beside a data set hide it, whatever its layout is; two of them are a question."""
    class_folders(tmp_path / "AffectNet", {"train": ONE_EACH, "test": ONE_EACH})
    put(tmp_path / "code/main.py")

    with pytest.raises(LayoutError, match=r"AN-folders found deeper down, in AffectNet, .*give .*/AffectNet$"):
        detect_layout(str(tmp_path))

    class_folders(tmp_path / "copy/of it", {"train": ONE_EACH})
    with pytest.raises(
        AmbiguousLayoutError, match=r"AN-folders in .*/AffectNet and AN-folders in .*/copy/of it found, expected one"
    ):
        detect_layout(str(tmp_path))
