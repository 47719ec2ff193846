"""Photographs for benchmarks: all different, as heavy as faces, in true layouts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferdata.errors import OptionError
from ferdata.labels import AFFECTNET_8
from ferdata_bench.loaders.photos import find_photographs, photo_label, write_photos

SIZE = 32


def test_every_photograph_is_different_and_depends_on_seed_and_index_alone(tmp_path: Path) -> None:
    """Equal images would compress and cache too well; a larger tree begins with the smaller one's images."""
    small, large = (
        write_photos(tmp_path / "a", count=40, size=SIZE),
        write_photos(tmp_path / "b", count=64, size=SIZE, num_threads=3),
    )
    other = write_photos(tmp_path / "c", count=40, size=SIZE, seed=1)

    contents = {path.relative_to(large.root): path.read_bytes() for path in large.root.rglob("*.jpg")}

    assert len(set(contents.values())) == len(contents) == 64
    assert all(path.read_bytes() == contents[path.relative_to(small.root)] for path in small.root.rglob("*.jpg"))
    assert not {path.read_bytes() for path in other.root.rglob("*.jpg")} & set(contents.values())
    assert large.bytes_in == sum(map(len, contents.values()))


def test_photographs_weigh_what_face_crops_weigh(tmp_path: Path) -> None:
    """The codecs' figures only carry over to faces if the bytes are alike: about 12 kB at 224 px and quality 90."""
    tree = write_photos(tmp_path, count=64)

    assert 9_000 < tree.bytes_in / 64 < 15_000
    with Image.open(next(tree.root.rglob("*.jpg"))) as image:
        assert (image.size, image.mode) == ((224, 224), "RGB")


def test_the_folder_layout_names_the_class_of_every_index(tmp_path: Path) -> None:
    """Labels are a formula, so that a reader's mistake shows."""
    write_photos(tmp_path, count=20, size=SIZE, num_held_out=4)

    for index in range(24):
        split = "train" if index < 20 else "val"
        assert (tmp_path / split / AFFECTNET_8[index % 8] / f"{index:07d}.jpg").is_file()


def test_the_affectnet_layout_has_the_true_annotation_files(tmp_path: Path) -> None:
    """Ingest benchmarks must read what the release holds: 0-d unicode labels and values, 136 landmarks."""
    write_photos(tmp_path, count=10, size=SIZE, layout="AN-npy", num_held_out=2)

    label = np.load(tmp_path / "train_set/annotations/9_exp.npy")

    assert (label.shape, label.dtype.str, int(label)) == ((), "<U1", photo_label(9))
    assert -1 <= float(np.load(tmp_path / "val_set/annotations/1_val.npy")) <= 1
    assert np.load(tmp_path / "val_set/annotations/1_lnd.npy").shape == (136,)
    assert int(np.load(tmp_path / "val_set/annotations/1_exp.npy")) == photo_label(11)


def test_the_rafdb_layout_lists_raf_ids_without_aligned(tmp_path: Path) -> None:
    """Index 0 is Neutral, which is 7 in RAF-DB's own order; stems have 5 digits in train and 4 in test."""
    write_photos(tmp_path, count=3, size=SIZE, layout="RAF-basic", num_held_out=1)

    lines = (tmp_path / "EmoLabel/list_patition_label.txt").read_text().splitlines()

    assert lines == ["train_00001.jpg 7", "train_00002.jpg 4", "train_00003.jpg 5", "test_0001.jpg 1"]
    assert (tmp_path / "Image/aligned/test_0001_aligned.jpg").is_file()


def test_a_layout_nobody_knows_is_refused(tmp_path: Path) -> None:
    """A typo must not write thousands of files in the wrong place."""
    with pytest.raises(OptionError, match=r"layout: 'AN-csv' found, expected one of"):
        write_photos(tmp_path, count=1, layout="AN-csv")
    with pytest.raises(OptionError, match=r"count 0, .* expected count >= 1"):
        write_photos(tmp_path, count=0)


def test_only_colour_photographs_are_cut_from() -> None:
    """Grey or drawn pictures compress unlike faces."""
    for path in find_photographs():
        with Image.open(path) as image:
            assert image.mode == "RGB"
