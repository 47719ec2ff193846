"""Names in folders: junk, order, case and splits."""

import os
from pathlib import Path

import fsspec
import pytest

from ferdata.errors import StoreError
from ferdata.sources.files.listing import Tree, is_archive, is_image, list_folder, natural_key, split_of
from ferdata.store import Store


def test_a_listing_leaves_out_junk_and_sorts_numbers_as_numbers(tmp_path: Path) -> None:
    """Systems and tools leave files everywhere, and text order puts 10 before 2."""
    for name in ("10.jpg", "2.jpg", "1.JPG", ".DS_Store", "._2.jpg", "Thumbs.db", "desktop.ini", ".hidden"):
        (tmp_path / name).touch()
    for name in ("b10", "b9", "__MACOSX", ".git"):
        (tmp_path / name).mkdir()

    found = list_folder(Store(str(tmp_path)))

    assert (found.dirs, found.files) == (("b9", "b10"), ("1.JPG", "2.jpg", "10.jpg"))
    assert (found.dir("B9"), found.file("1.jpg"), found.file("3.jpg")) == ("b9", "1.JPG", None)


def test_a_remote_listing_is_the_same(tmp_path: Path) -> None:
    """Both go through the same rules."""
    memory = fsspec.filesystem("memory")
    for name in ("x/2.jpg", "x/10.jpg", "x/.DS_Store", "x/sub/1.jpg"):
        memory.pipe(f"/listing-test/{name}", b"")
    try:
        found = list_folder(Store("memory://listing-test"), "x")
    finally:
        memory.rm("/listing-test", recursive=True)

    assert (found.path, found.dirs, found.files) == ("x", ("sub",), ("2.jpg", "10.jpg"))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Not an empty listing."""
    with pytest.raises(StoreError, match="nowhere: No such file or directory, expected a folder that can be listed"):
        list_folder(Store(str(tmp_path)), "nowhere")


def test_linked_folders_and_files_are_what_they_point_to(tmp_path: Path) -> None:
    """Large sets are often linked from another disk."""
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "gone.jpg").symlink_to("nowhere")

    found = list_folder(Store(str(tmp_path)))

    assert (found.dirs, found.files) == (("linked", "real"), ("gone.jpg",))


def test_a_tree_lists_a_folder_once(tmp_path: Path) -> None:
    """Detection asks for the same folders again and again."""
    (tmp_path / "a.jpg").touch()
    tree = Tree(Store(str(tmp_path)))
    first = tree.folder()
    (tmp_path / "b.jpg").touch()

    assert tree.folder() is first


def test_peek_stops_early(tmp_path: Path) -> None:
    """A folder of a million files answers at once."""
    for i in range(50):
        (tmp_path / f"{i}.npy").touch()
    seen: list[str] = []

    found = Tree(Store(str(tmp_path))).peek(
        "", lambda name: bool(seen.append(name)) or name.endswith(".npy"), at_most=3
    )

    assert len(found) == len(seen) == 3


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_set", "train"), ("Train", "train"), ("training", "train"), ("training.csv", None), ("trains", None),
        ("val_set", "val"), ("valid_set", "val"), ("VALID", "val"), ("Validation", "val"), ("validation_set", "val"),
        ("test", "test"), ("test set", "test"),
    ],
)  # fmt: skip
def test_split_names_of_every_release_are_known(name: str, split: str | None) -> None:
    """They are the three official ones afterwards."""
    assert split_of(name) == split


def test_kinds_of_files_go_by_their_ending_in_any_case() -> None:
    """What is inside is seen when it is read."""
    assert all(map(is_image, ("a.jpg", "a.JPEG", "a.Png", "a.bmp", "a.TIF", "a.tiff")))
    assert not any(map(is_image, ("a", "jpg", "a.npy", "a.jpg.txt")))
    assert all(
        map(is_archive, ("a.rar", "a.part01.rar", "a.ZIP", "a.tar", "a.tar.gz", "a.tgz", "a.7z", "a.7z.001", "a.z01"))
    )
    assert not any(map(is_archive, ("a.jpg", "zip", "a.csv")))


def test_natural_order_is_total_for_mixed_names() -> None:
    """Names that start with text and with numbers can stand side by side."""
    names = ["10a", "2a", "a10", "a2", "a", "2", "02", "é1"]

    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)
    assert sorted(["a10", "a2", "10", "9"], key=natural_key) == ["9", "10", "a2", "a10"]


def test_names_that_are_not_utf8_can_be_listed(tmp_path: Path) -> None:
    """Old archives hold such names; one must not stop the rest."""
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()

    assert len(list_folder(Store(str(tmp_path))).files) == 1
