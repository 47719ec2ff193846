"""Where RAF-DB's images lie: folders as archives unpack them, aligned and original ones, names without their mark."""

from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import jpeg_bytes, put, raf_kaggle_tree, rafdb_tree, reasons

from ferdata.errors import LayoutError
from ferdata.sources import Scan, ScanOptions, read_image, scan_source


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("rafdb", str(root), ScanOptions(**options))


def test_aligned_images_in_folders_for_train_and_test_are_read(tmp_path: Path) -> None:
    """Some people sort them; one name in two folders is a doubt."""
    rows = rafdb_tree(tmp_path)
    aligned = tmp_path / "Image/aligned"
    for stem, _ in rows:
        target = aligned / stem.split("_")[0] / f"{stem}_aligned.jpg"
        target.parent.mkdir(exist_ok=True)
        (aligned / f"{stem}_aligned.jpg").rename(target)
    put(aligned / "test/train_00002_aligned.jpg")
    put(aligned / "train/train_00099_aligned.jpg")

    found = scanned(tmp_path)

    assert [item.path for item in found.items][:2] == [f"Image/aligned/train/train_0000{i}_aligned.jpg" for i in (1, 3)]
    assert reasons(found) == [
        ("Image/aligned/train/train_00099_aligned.jpg", "label_missing"),
        ("Image/aligned/train_00002_aligned.jpg", "image_ambiguous"),
    ]
    assert len(found.items) == 20


@pytest.mark.parametrize(
    "place",
    [
        "Image/aligned/aligned",
        "Image/aligned/imgs",
        "aligned",
        "image/Aligned",
        "aligned/aligned",
        "Image",
        "IMAGE/aligned/x",
    ],
)
def test_aligned_images_are_found_where_archives_put_them(tmp_path: Path, place: str) -> None:
    """Unpackers double folders, and some people flatten them."""
    rafdb_tree(tmp_path / "whole")
    tree = tmp_path / "moved" / "basic"
    (tree / place).parent.mkdir(parents=True)
    (tmp_path / "whole/Image/aligned").rename(tree / place)
    (tmp_path / "whole/EmoLabel").rename(tree / "EmoLabel")

    found = scanned(tmp_path / "moved")

    assert found.root == str(tree)
    assert {item.path.rsplit("/", 1)[0] for item in found.items} == {place}
    assert len(found.items) == 21


def test_original_images_are_read_where_there_are_no_aligned_ones(tmp_path: Path) -> None:
    """Whoever has unpacked one archive means it; a note says which, and their boxes and sizes count."""
    rows = rafdb_tree(tmp_path, images=("original",), annotations=True)

    found = scanned(tmp_path)

    assert [item.path for item in found.items] == [f"Image/original/{stem}.jpg" for stem, _ in rows]
    assert "There are no aligned images, so the original ones in Image/original are read." in found.notes
    assert found.side is None
    assert found.items.table.equals(scanned(tmp_path, rafdb_images="original").items.table)


def test_asking_for_images_that_are_not_there_says_which_are(tmp_path: Path) -> None:
    """Most copies have only the aligned images."""
    rafdb_tree(tmp_path)

    with pytest.raises(LayoutError, match=r"no folder of original images found.*rafdb_images=aligned"):
        scanned(tmp_path, rafdb_images="original")


def test_a_mixed_folder_gives_the_images_asked_for(tmp_path: Path) -> None:
    """Originals and aligned images flattened into one folder are told apart by the mark in their names."""
    rows = rafdb_tree(tmp_path, images=())
    for stem, _ in rows:
        put(tmp_path / f"Image/{stem}.jpg")
        put(tmp_path / f"Image/{stem}_aligned.jpg")

    assert [item.path for item in scanned(tmp_path).items] == [f"Image/{stem}_aligned.jpg" for stem, _ in rows]
    original = scanned(tmp_path, rafdb_images="original")
    assert [item.path for item in original.items] == [f"Image/{stem}.jpg" for stem, _ in rows]
    assert original.rejects == []


def test_aligned_images_whose_names_lost_the_mark_are_read(tmp_path: Path) -> None:
    """Some code bases rename them; the folder still says what they are."""
    rows = rafdb_tree(tmp_path, images=())
    for stem, _ in rows:
        put(tmp_path / f"Image/aligned/{stem}.jpg")

    assert [item.path for item in scanned(tmp_path).items] == [f"Image/aligned/{stem}.jpg" for stem, _ in rows]


def test_junk_of_operating_systems_is_ignored_silently(tmp_path: Path) -> None:
    """``._x.jpg`` looks like an image and is none."""
    rafdb_tree(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._train_00001_aligned.jpg"):
        put(tmp_path / "Image/aligned" / name)
    put(tmp_path / "__MACOSX/Image/aligned/._train_00001_aligned.jpg")

    assert scanned(tmp_path).rejects == []


@pytest.mark.parametrize("form", ["aligned", "original", "kaggle"])
def test_scanning_opens_no_image_and_asks_nothing_of_its_file(tmp_path: Path, form: str) -> None:
    """A scan must not cost an access per image; links that lead nowhere can be listed and nothing more."""
    if form == "kaggle":
        raf_kaggle_tree(tmp_path)
    else:
        rafdb_tree(tmp_path, images=(form,))
    for path in list(tmp_path.rglob("*.jpg")):
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")

    assert len(scanned(tmp_path, rafdb_images="original" if form == "original" else "aligned").items) == 21


def test_real_images_keep_their_paths_readable(tmp_path: Path) -> None:
    """An item's path leads to the file's own bytes."""
    rafdb_tree(tmp_path, train=2, test=0)
    put(tmp_path / "Image/aligned/train_00002_aligned.jpg", jpeg_bytes(2))

    found = scanned(tmp_path)

    assert read_image(found.root, found.items[1].path) == jpeg_bytes(2)
    assert found.items[1].extra is None
