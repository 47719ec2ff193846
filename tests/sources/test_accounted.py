"""Every file of a source is read, rejected or counted in a note: odd names, service folders, links, locked folders."""

import io
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image
from trees import csv_tree, npy_tree, plus_tree, va_tree
from trees_rafdb import class_folders, jpeg_bytes, kaggle_a_tree, put, raf_kaggle_tree, rafdb_tree, reasons, yolo_tree

from ferdata.errors import AmbiguousLayoutError, StoreError
from ferdata.images.formats import MAGIC_BYTES, starts_like_image
from ferdata.sources import Scan, ScanOptions, read_image, scan_source
from ferdata.sources.files.listing import is_junk

SERVICE_FOLDERS = [
    "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", ".Trash-1000",
    ".AppleDouble", ".thumbnails", ".ipynb_checkpoints", ".git", "@Recently-Snapshot", "@Recycle", "#snapshot",
    "~snapshot", ".Spotlight-V100", ".fseventsd", "RECYCLER",
]  # fmt: skip
SERVICE_FILES = ["._a.jpg", "Thumbs.db", "desktop.ini", ".DS_Store", "a.jpg:Zone.Identifier", "a.jpg@SynoEAStream"]
IGNORED = "Ignored files that hold no image which can be read: "


def encoded(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (9, 7), 99 if mode == "L" else (9, 99, 199)).save(file, kind)
    return file.getvalue()


def scanned(root: Path | str, source: str = "folder", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(num_workers=1, **options))


def tree(root: Path, *classes: str) -> Path:
    class_folders(root, {"train": dict.fromkeys(classes or ("happy", "sad"), 2)})
    return root


def noted(scan: Scan, start: str) -> list[str]:
    return [note for note in scan.notes if note.startswith(start)]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("PNG", "RGB"),
        ("GIF", "L"),
        ("BMP", "RGB"),
        ("DIB", "RGB"),
        ("PPM", "RGB"),
        ("PPM", "L"),
        ("TIFF", "RGB"),
    ],
)
def test_an_image_is_known_by_its_first_bytes(kind: str, mode: str) -> None:
    """The name may say nothing, and every kind that the decoder reads must be seen for what it is."""
    assert starts_like_image(encoded(kind, mode)[:MAGIC_BYTES])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"BMW and other cars, a list of them",
        b"P2P networks",
        b"%PDF-1.7",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypheic",
        bytes(32),
        b"II",
    ],
)
def test_what_only_looks_like_an_image_is_none(head: bytes) -> None:
    """Two letters are no proof: a text may start with them."""
    assert not starts_like_image(head)


def test_images_under_odd_names_are_read_from_class_folders(tmp_path: Path) -> None:
    """Browsers and scripts leave such names; a class whose images all had one was called an empty folder."""
    tree(tmp_path)
    for name in ("a.jfif", "b.jpe", "c.jpg_large", "noextension", "d.jpg.1", "e.JPG~", "f.2021"):
        put(tmp_path / "train/happy" / name, jpeg_bytes(1))
    put(tmp_path / "train/sad/g.ppm", encoded("PPM"))
    put(tmp_path / "train/sad/h.pgm", encoded("PPM", "L"))
    put(tmp_path / "train/sad/i.dib", encoded("DIB"))
    put(tmp_path / "train/loose", jpeg_bytes(2))

    found = scanned(tmp_path)

    assert [found.classes[item.label] for item in found.items].count("Happy") == 2 + 7
    assert [found.classes[item.label] for item in found.items].count("Sad") == 2 + 3
    assert reasons(found) == [("train/loose", "label_missing")]
    assert noted(found, "Ignored") == []


def test_files_that_are_no_images_are_counted_by_their_ending(tmp_path: Path) -> None:
    """A folder of ``.heic`` files would else be an empty class without a word."""
    tree(tmp_path)
    for name in ("1.heic", "2.HEIC", "notes.txt", "README"):
        put(tmp_path / "train/happy" / name, b"x" * 40)
    put(tmp_path / "train/extra.mp4", b"x" * 40)
    put(tmp_path / "train/labels.txt", b"x" * 40)

    found = scanned(tmp_path)

    assert noted(found, "Ignored") == [
        f"{IGNORED}2 .heic (train/happy/1.heic, ...), 1 without suffix (train/happy/README), "
        "1 .txt (train/happy/notes.txt), 1 .mp4 (train/extra.mp4)."
    ]


@pytest.mark.parametrize(
    ("source", "build", "folder"),
    [
        ("affectnet", npy_tree, "train_set/images"),
        ("affectnet", va_tree, "Train/images"),
        ("affectnet", plus_tree, "human_annotated/train_set/images"),
        ("affectnet", csv_tree, "Manually_Annotated_Images/1"),
        ("affectnet", yolo_tree, "train/images"),
        ("affectnet", kaggle_a_tree, "anger"),
        ("rafdb", raf_kaggle_tree, "DATASET/train/1"),
        ("rafdb", rafdb_tree, "Image/aligned"),
    ],
)
def test_every_layout_accounts_for_odd_files_among_its_images(
    tmp_path: Path, source: str, build: Callable[[Path], object], folder: str
) -> None:
    """An image that no label names is rejected whatever it is called, and what is no image is counted."""
    build(tmp_path)
    plain = scanned(tmp_path, source)
    put(tmp_path / folder / "extra", jpeg_bytes(1))
    put(tmp_path / folder / "clip.heic", b"\0\0\0\x18ftypheic")

    found = scanned(tmp_path, source)

    assert (noted(plain, IGNORED), noted(found, IGNORED)) == ([], [f"{IGNORED}1 .heic ({folder}/clip.heic)."])
    assert [pair for pair in reasons(found) if pair not in reasons(plain)] == [(f"{folder}/extra", "label_missing")]
    assert found.items.table.equals(plain.items.table)


@pytest.mark.parametrize(
    ("source", "build", "folder", "old", "new"),
    [
        ("affectnet", npy_tree, "train_set/images", "0.jpg", "0"),
        ("affectnet", npy_tree, "train_set/images", "0.jpg", "0.jpg_large"),
        ("affectnet", yolo_tree, "train/images", "*.*", "{stem}.jfif"),
        ("rafdb", rafdb_tree, "Image/aligned", "train_00001_aligned.jpg", "train_00001_aligned"),
        ("rafdb", raf_kaggle_tree, "DATASET/train/1", "*.jpg", "{stem}.jpg_orig"),
    ],
)
def test_labels_that_name_an_image_by_its_stem_find_it_under_an_odd_name(
    tmp_path: Path, source: str, build: Callable[[Path], object], folder: str, old: str, new: str
) -> None:
    """The suffix says nothing about the label."""
    build(tmp_path)
    number = len(scanned(tmp_path, source).items)
    path = next((tmp_path / folder).glob(old))
    path.unlink()
    put(path.with_name(new.format(stem=path.stem)), jpeg_bytes(1))

    found = scanned(tmp_path, source)

    assert (len(found.items), found.rejects) == (number, [])


def test_a_remote_source_is_read_by_content_too(tmp_path: Path) -> None:
    """The same tree gives the same items wherever it lives."""
    tree(tmp_path)
    put(tmp_path / "train/happy/noextension", jpeg_bytes(1))
    put(tmp_path / "train/happy/empty")
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path), "/odd-names", recursive=True)
    try:
        there = scanned("memory://odd-names")
    finally:
        remote.rm("/odd-names", recursive=True)

    assert list(there.items) == list(scanned(tmp_path).items)
    assert noted(there, IGNORED) == [f"{IGNORED}1 without suffix (train/happy/empty)."]


@pytest.mark.parametrize("service", SERVICE_FOLDERS)
def test_folders_of_services_are_neither_samples_nor_classes(tmp_path: Path, service: str) -> None:
    """Thumbnails would be every image a second time, and a bin is what somebody threw away."""
    tree(tmp_path, "bored", "tired")
    expected = scanned(tmp_path)
    for place in (".", "train", "train/bored"):
        put(tmp_path / place / service / "old.jpg", jpeg_bytes(1))
        put(tmp_path / place / service / "a.jpg/THUMB.jpg", jpeg_bytes(2))

    found = scanned(tmp_path)

    assert (found.classes, found.rejects, found.notes) == (expected.classes, [], expected.notes)
    assert list(found.items) == list(expected.items)


def test_files_of_services_are_known_in_any_case() -> None:
    """They lie in every folder that a system has shown, so they are left out without a note."""
    assert all(map(is_junk, (*SERVICE_FILES, "THUMBS.DB", "@EADIR", "Lost+Found")))
    assert not any(map(is_junk, ("a.jpg", "happy", "icon", "recycled", "lost", "git", "@home")))


def test_links_that_lead_back_are_passed_over_with_a_note(tmp_path: Path) -> None:
    """A walk along them would find the source inside itself."""
    tree(tmp_path)
    (tmp_path / "train/loop").symlink_to("..")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "train/happy/up").symlink_to("../..")
    (tmp_path / "train/happy/other").symlink_to("../sad")

    found = scanned(tmp_path)

    assert (len(found.items), found.rejects) == (4, [])
    assert noted(found, "Ignored") == [
        "Ignored links that lead back to a folder above them: self, train/loop.",
        "Ignored link train/happy/up: it leads back into the source, where its images are read already.",
        "Ignored link train/happy/other: it leads back into the source, where its images are read already.",
    ]


def test_a_link_back_among_the_images_of_a_release_is_noted(tmp_path: Path) -> None:
    """Its images are the source's own, which are read where they lie."""
    npy_tree(tmp_path)
    (tmp_path / "train_set/images/loop").symlink_to("..")

    assert noted(scanned(tmp_path, "affectnet"), "Ignored") == [
        "Ignored links that lead back to a folder above them: train_set/images/loop."
    ]


def test_a_pipe_called_parquet_is_no_table_to_wait_for(tmp_path: Path) -> None:
    """To open it would wait for ever for somebody who writes."""
    os.mkfifo(tmp_path / "train.parquet")

    with pytest.raises(StoreError, match=r"train.parquet: a pipe or device found, expected a parquet file"):
        scanned(tmp_path)


@pytest.mark.parametrize("inner", ["inner", "inner/inner"])
def test_a_loop_in_a_wrapper_hides_nothing(tmp_path: Path, inner: str) -> None:
    """The data set is found, and the link is named."""
    tree(tmp_path / inner)
    (tmp_path / "self").symlink_to(tmp_path)

    found = scanned(tmp_path)

    assert (len(found.items), noted(found, "Ignored")) == (
        4,
        ["Ignored links that lead back to a folder above them: self."],
    )


def test_one_folder_under_two_classes_stops(tmp_path: Path) -> None:
    """Each of its images would be trained under both labels."""
    class_folders(tmp_path / "src", {"train": {"sad": 1}})
    put(tmp_path / "pool/1.jpg")
    for name in ("happy", "fear"):
        (tmp_path / "src/train" / name).symlink_to(tmp_path / "pool")

    with pytest.raises(AmbiguousLayoutError, match=r"class folders 'fear' and 'happy' found, which are both .*pool"):
        scanned(tmp_path / "src")


def test_one_folder_twice_under_one_class_is_read_once(tmp_path: Path) -> None:
    """``joy`` is happy: each of its images would be there twice."""
    tree(tmp_path)
    (tmp_path / "train/joy").symlink_to("happy")

    found = scanned(tmp_path)

    assert len(found.items) == 4
    assert len(noted(found, "Ignored link train/joy:")) == 1


def test_a_class_folder_linked_from_elsewhere_is_read(tmp_path: Path) -> None:
    """Large sets live on other disks, or in another folder of the source."""
    tree(tmp_path / "src")
    put(tmp_path / "far/1.jpg")
    put(tmp_path / "src/store/2.jpg")
    (tmp_path / "src/train/fear").symlink_to(tmp_path / "far")
    (tmp_path / "src/train/anger").symlink_to("../store")

    assert len(scanned(tmp_path / "src").items) == 6


def test_what_is_no_regular_file_is_rejected_or_counted(tmp_path: Path) -> None:
    """A pipe would be waited for for ever, and a link to itself ended the run."""
    happy = tree(tmp_path) / "train/happy"
    os.mkfifo(happy / "pipe.jpg")
    os.mkfifo(happy / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(happy / "socket.jpg"))
    (happy / "device.jpg").symlink_to("/dev/zero")
    (happy / "loop.jpg").symlink_to("loop.jpg")
    (happy / "loop").symlink_to("loop")
    (tmp_path / "train/fear").symlink_to("/nowhere/fear")
    (tmp_path / "val").symlink_to("/nowhere/val")

    found = scanned(tmp_path)

    assert {item.path.rpartition("/")[2] for item in found.items} >= {
        "pipe.jpg",
        "socket.jpg",
        "device.jpg",
        "loop.jpg",
    }
    assert noted(found, "Ignored") == [
        f"{IGNORED}1 link that cannot be followed (val).",
        f"{IGNORED}2 link that cannot be followed (train/happy/loop, ...), 1 without suffix (train/happy/pipe).",
    ]
    for name in ("pipe", "socket", "device", "loop"):
        with pytest.raises(Exception, match=rf"{name}.jpg: .*expected") as caught:
            read_image(str(tmp_path), f"train/happy/{name}.jpg")
        assert isinstance(caught.value.__cause__, FileNotFoundError) == (name == "loop")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run as somebody who may not read everything")
def test_folders_that_may_not_be_read_stop_or_are_named(tmp_path: Path) -> None:
    """A class folder is never left out for want of a permission; a link to what may not be seen is counted."""
    base = Path("/tmp") / f"ferdata-locked-{os.getpid()}"  # the folders above tmp_path are closed to others
    try:
        tree(base / "src")
        put(base / "secret/fear/1.jpg")
        (base / "secret").chmod(0o700)
        (base / "src/train/fear").symlink_to(base / "secret/fear")
        (base / "src/train/sad/far.jpg").symlink_to(base / "secret/fear/1.jpg")
        code = (
            "import os, pyarrow.compute\nfrom ferdata.errors import FerdataError\n"
            "from ferdata.sources import ScanOptions, scan_source\n"
            f"scan_source('folder', '{base}/src', ScanOptions())\n"  # imports all, which may not be readable later
            "os.setgroups([]); os.setuid(54321)\n"
            f"try: found = scan_source('folder', '{base}/src', ScanOptions()); print(len(found.items), found.notes)\n"
            "except FerdataError as error: print(error)\n"
        )

        def seen() -> str:
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
            return subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
            ).stdout

        assert "1 link that cannot be followed (train/fear)" in seen()
        assert seen().startswith("5 ")
        put(base / "src/more/1.jpg")
        put(base / "src/more/inner/1.jpg")
        (base / "src/more/inner").chmod(0)
        assert "Ignored folders that cannot be listed: more/inner/." in seen()
        (base / "src/train/happy").chmod(0)
        assert "train/happy: Permission denied, expected a folder that can be listed" in seen()
    finally:
        shutil.rmtree(base)


def test_a_tree_too_deep_to_be_named_is_counted_or_stops(tmp_path: Path) -> None:
    """The system refuses paths beyond 4,096 bytes; nothing may go round or break there."""
    tree(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(260):
        os.mkdir("d" * 20, dir_fd=folder)
        folder, above = os.open("d" * 20, os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    os.close(folder)
    try:
        found = scanned(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / ("d" * 20)], check=True)

    assert len(found.items) == 4
    (note,) = noted(found, "Ignored folders that cannot be listed")
    assert len(note) < 300


def test_names_with_line_ends_escapes_and_foreign_bytes_are_read_or_rejected(tmp_path: Path) -> None:
    """A file system takes any byte; neither the scan nor what it writes down may break on one."""
    tree(tmp_path, "bored", "tired", "so\x1b[31mso")
    put(tmp_path / "train/bored/a\nb\x1b[2J.jpg")
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/train/caf\xe9/1.jpg")))
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/train/bored/\xff")), jpeg_bytes(1))

    found = scanned(tmp_path)

    assert found.classes == ("bored", "caf\\udce9", "so[31mso", "tired")
    assert reasons(found) == [("train/bored/\\udcff", "name_invalid"), ("train/caf\\udce9/1.jpg", "name_invalid")]
    assert "train/bored/a\nb\x1b[2J.jpg" in [item.path for item in found.items]
