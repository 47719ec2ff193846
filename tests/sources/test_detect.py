"""Layout detection: every marker, root finding, ambiguity, and advice for folders that hold no layout."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from trees import csv_tree, npy_image, npy_tree, plus_tree, va_tree
from trees_rafdb import (
    KAGGLE_NAMES,
    class_folders,
    kaggle_a_tree,
    kaggle_b_tree,
    parquet_file,
    put,
    raf_kaggle_tree,
    rafdb_tree,
    yolo_tree,
)

from ferdata.errors import AmbiguousLayoutError, LayoutError, OptionError
from ferdata.sources import ScanOptions, detect_layout, scan_source

BUILDERS: dict[str, Callable[[Path], object]] = {
    "AN-npy": npy_tree,
    "AN-csv": csv_tree,
    "AN-plus": plus_tree,
    "AN-va": va_tree,
    "AN-yolo": yolo_tree,
    "AN-kaggle-A": kaggle_a_tree,
    "AN-kaggle-B": kaggle_b_tree,
    "AN-parquet": lambda root: parquet_file(root / "data/train-00000-of-00001.parquet", [0, 1], names=KAGGLE_NAMES),
    "AN-folders": lambda root: class_folders(root, {"train": dict.fromkeys(KAGGLE_NAMES, 1)}),
    "RAF-basic": rafdb_tree,
    "RAF-compound": lambda root: rafdb_tree(root, kind="compound"),
    "RAF-kaggle": raf_kaggle_tree,
}


@pytest.fixture(params=list(BUILDERS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_layout_is_recognised_where_it_starts(tmp_path: Path, layout: str) -> None:
    """The user gives a folder and nothing else."""
    BUILDERS[layout](tmp_path)

    found = detect_layout(str(tmp_path))

    assert (found.layout.name, found.root) == (layout, str(tmp_path))
    assert found.layout.source == ("rafdb" if layout.startswith("RAF") else "affectnet")
    assert found.notes[0] == f"{layout} found in {tmp_path}."


@pytest.mark.parametrize("levels", [1, 4])
def test_single_folders_around_a_layout_are_gone_into(tmp_path: Path, layout: str, levels: int) -> None:
    """Archives unpack into wrappers: ``AffectNet/``, ``archive (3)/``, doubled folders; junk beside does not count."""
    inner = tmp_path.joinpath(*["archive (3)"] * levels)
    BUILDERS[layout](inner)
    put(tmp_path / ".DS_Store")
    put(tmp_path / "__MACOSX/._x")
    put(tmp_path / "README.txt", "a copy")
    put(tmp_path / "download.zip")

    found = detect_layout(str(tmp_path))

    assert found.layout.name == layout
    paths = [*found.splits.values(), *found.files.values(), *found.folders.values(), *sum(found.tables.values(), ())]
    assert all((Path(found.root) / path).exists() for path in paths)


def test_five_wrappers_are_too_many(tmp_path: Path) -> None:
    """A deep search would find something in any disk."""
    npy_tree(tmp_path / "a/b/c/d/e")

    with pytest.raises(
        LayoutError, match=r"AN-npy found deeper down, in a/b/c/d/e, expected its own folder; give .*/a/b/c/d/e$"
    ):
        detect_layout(str(tmp_path))


def test_a_label_file_stops_the_way_down(tmp_path: Path) -> None:
    """What lies beside a lone folder may be its labels, so the folder is not read without them."""
    npy_tree(tmp_path / "inner")
    put(tmp_path / "my_labels.csv", "a,b\n1,2\n")

    with pytest.raises(LayoutError, match=r"AN-npy found deeper down, in inner, expected .*; give .*/inner"):
        detect_layout(str(tmp_path))


def test_names_are_compared_without_regard_to_case(tmp_path: Path) -> None:
    """Copies between systems change the case."""
    for name in ("Train_Set", "VALID_SET"):
        npy_image(tmp_path / name, 3)
        (tmp_path / name / "images").rename(tmp_path / name / "Images")
        (tmp_path / name / "annotations").rename(tmp_path / name / "ANNOTATIONS")

    assert detect_layout(str(tmp_path)).splits == {"train": "Train_Set", "val": "VALID_SET"}


@pytest.mark.parametrize("name", ["val_set", "valid_set", "validation_set", "val", "valid", "Validation"])
def test_every_name_of_the_val_split_is_val(tmp_path: Path, name: str) -> None:
    """The releases do not agree on it."""
    npy_tree(tmp_path, val_name=name)

    assert detect_layout(str(tmp_path)).splits == {"train": "train_set", "val": name}


def test_a_val_set_inside_test_set_is_the_val_split(tmp_path: Path) -> None:
    """An archive called test_set.tar is known to unpack to ``val_set/``; AffectNet has no public test set."""
    npy_tree(tmp_path, val_name="test_set/val_set")

    assert detect_layout(str(tmp_path)).splits == {"train": "train_set", "val": "test_set/val_set"}


def test_two_folders_for_one_split_must_be_settled(tmp_path: Path) -> None:
    """Which of them is the released one cannot be seen."""
    npy_tree(tmp_path)
    npy_image(tmp_path / "valid_set", 1)

    with pytest.raises(
        AmbiguousLayoutError, match=r"'val_set' and 'valid_set' found, expected one folder for split val"
    ):
        detect_layout(str(tmp_path))


@pytest.mark.parametrize(("name", "split"), [("train_set", "train"), ("val_set", "val"), ("Valid", "val")])
def test_one_split_alone_takes_its_folders_name(tmp_path: Path, name: str, split: str) -> None:
    """A user may point at ``train_set/`` itself."""
    npy_image(tmp_path / name, 5)

    found = detect_layout(str(tmp_path / name))

    assert (found.layout.name, found.splits, found.root) == ("AN-npy", {split: ""}, str(tmp_path / name))


def test_one_split_without_a_name_is_asked_for(tmp_path: Path) -> None:
    """Train and val ids overlap, so a wrong guess would mix them up."""
    npy_image(tmp_path / "faces", 5)

    with pytest.raises(AmbiguousLayoutError, match=r"faces: one split of AN-npy found .*train_set or val_set"):
        detect_layout(str(tmp_path / "faces"))


def test_one_affectnet_plus_split_takes_its_folders_name(tmp_path: Path) -> None:
    """Marker 3 holds for JSON annotations too, and ``no_human_annotated`` is a part without a split."""
    plus_tree(tmp_path, automatic=2)

    assert detect_layout(str(tmp_path / "human_annotated")).splits == {"train": "train_set", "val": "validation_set"}
    assert detect_layout(str(tmp_path / "human_annotated/train_set")).splits == {"train": ""}
    assert detect_layout(str(tmp_path / "no_human_annotated")).folders == {"automatic": ""}
    assert detect_layout(str(tmp_path)).folders == {"automatic": "no_human_annotated"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("RAF-basic", "RAF-compound"),
        ("AN-npy", "AN-csv"),
        ("AN-npy", "RAF-basic"),
        ("AN-csv", "AN-plus"),
        ("RAF-kaggle", "AN-kaggle-A"),
    ],
)
def test_two_layouts_below_one_root_are_named_with_both_paths(tmp_path: Path, first: str, second: str) -> None:
    """Which of them is meant only the user knows."""
    BUILDERS[first](tmp_path / "basic")
    BUILDERS[second](tmp_path / "compound")

    with pytest.raises(AmbiguousLayoutError) as caught:
        detect_layout(str(tmp_path))

    text = str(caught.value)
    assert all(
        part in text
        for part in (first, second, str(tmp_path / "basic"), str(tmp_path / "compound"), "give the path of one")
    )


def test_a_second_layout_inside_the_first_ones_root_is_a_question(tmp_path: Path) -> None:
    """A layout at the root does not hide another one beside its folders."""
    rafdb_tree(tmp_path)
    rafdb_tree(tmp_path / "compound", kind="compound")

    with pytest.raises(AmbiguousLayoutError, match=r"RAF-basic in .* and RAF-compound in .*compound found"):
        detect_layout(str(tmp_path))


def test_both_affectnet_releases_in_one_folder(tmp_path: Path) -> None:
    """Within one folder the first marker wins; lists in a folder of their own are a second layout."""
    npy_tree(tmp_path)
    csv_tree(tmp_path)

    assert detect_layout(str(tmp_path)).layout.name == "AN-npy"
    for name in ("training.csv", "validation.csv"):
        put(tmp_path / "Manually_Annotated_file_lists" / name, (tmp_path / name).read_bytes())
        (tmp_path / name).unlink()
    with pytest.raises(AmbiguousLayoutError, match=r"AN-npy in .* and AN-csv in .*Manually_Annotated_file_lists found"):
        detect_layout(str(tmp_path))


def test_derived_caches_are_no_second_layout_and_are_noted(tmp_path: Path) -> None:
    """They hold somebody's conversion, never the labels."""
    npy_tree(tmp_path)
    put(tmp_path / "affectnet.csv", ",phase,img_path,label\n0,train,train_set/images/0.jpg,3\n")
    put(tmp_path / "dump.csv", "number,exp,val,aro\n0,3,0.1,0.2\n")
    put(tmp_path / "train_annotations_7class.txt", "0.jpg 3\n")
    npy_tree(tmp_path / "images_cropped")
    put(tmp_path / "train_set/fan_landmarks/0.npy")
    put(tmp_path / "train_set.tar")
    put(tmp_path / "cache.pkl")

    found = detect_layout(str(tmp_path))

    assert found.layout.name == "AN-npy"
    ignored = [note for note in found.notes if note.startswith("Ignored")]
    assert ignored == [
        "Ignored derived files, which are no labels: "
        "images_cropped/, affectnet.csv, dump.csv, train_annotations_7class.txt, train_set/fan_landmarks/.",
        "Ignored archives beside the unpacked data: train_set.tar.",
        "Ignored pickles, which are never loaded: cache.pkl.",
    ]


def test_a_folder_beside_the_only_layout_asks_for_its_path(tmp_path: Path) -> None:
    """The other folder may be what was meant, so the one that is known is named and not taken."""
    npy_tree(tmp_path / "AffectNet")
    put(tmp_path / "other/notes.txt")

    with pytest.raises(
        LayoutError, match=rf"AN-npy found deeper down, in AffectNet, .*give {re.escape(str(tmp_path))}/AffectNet"
    ):
        detect_layout(str(tmp_path))


@pytest.mark.parametrize("source", ["rafdb", "folder"])
def test_another_source_than_the_one_asked_for_is_named(tmp_path: Path, source: str) -> None:
    """``shard rafdb --src affectnet/`` must not go through as something else."""
    npy_tree(tmp_path)

    with pytest.raises(LayoutError, match=r"AN-npy found, which is AffectNet, expected .*; use source 'affectnet'"):
        scan_source(source, str(tmp_path), ScanOptions())


@pytest.mark.parametrize("layout", ["RAF-basic", "RAF-compound", "RAF-kaggle"])
def test_affectnet_asked_of_a_rafdb_tree_is_an_error(tmp_path: Path, layout: str) -> None:
    """The ids of the two sets mean different classes."""
    BUILDERS[layout](tmp_path)

    with pytest.raises(LayoutError, match=rf"{layout} found, which is RAF-DB, expected AffectNet; use source 'rafdb'"):
        scan_source("affectnet", str(tmp_path), ScanOptions())


def test_an_unknown_source_is_an_option_error(tmp_path: Path) -> None:
    """The names are the contract."""
    with pytest.raises(OptionError, match=r"source: 'imagenet' found, expected one of affectnet, rafdb, .*folder"):
        scan_source("imagenet", str(tmp_path), ScanOptions())


def test_class_folders_belong_to_the_source_that_is_asked_for(tmp_path: Path) -> None:
    """Names alone do not say whose images they are."""
    class_folders(tmp_path, {"train": {"happy": 1, "sad": 1}, "test": {"Happy": 1}})

    named = {
        source: detect_layout(str(tmp_path), source=source).layout.name for source in ("affectnet", "rafdb", "folder")
    }

    assert named == {"affectnet": "AN-folders", "rafdb": "RAF-folders", "folder": "folder"}
    assert detect_layout(str(tmp_path)).class_folders == {"happy": "Happy", "sad": "Sad", "Happy": "Happy"}


def test_numeric_class_folders_ask_with_path_counts_and_readings(tmp_path: Path) -> None:
    """The error holds all that is needed to answer it."""
    class_folders(tmp_path, {"train": {str(number): number + 1 for number in range(7)}})

    with pytest.raises(AmbiguousLayoutError) as caught:
        detect_layout(str(tmp_path))

    text = str(caught.value)
    assert str(tmp_path) in text
    assert "0, 1, 2, 3, 4, 5, 6 are numeric class folders" in text
    assert "AffectNet order or RAF id - 1 or alphabetical order or FER2013 order" in text
    assert "Counts: train: 0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7" in text
    assert "labels=affectnet|alphabetical|rafdb" in text


@pytest.mark.parametrize(
    ("labels", "zero", "six"),
    [("affectnet", "Neutral", "Anger"), ("rafdb", "Surprise", "Neutral"), ("alphabetical", "Anger", "Surprise")],
)
def test_the_labels_option_settles_numeric_folders(tmp_path: Path, labels: str, zero: str, six: str) -> None:
    """Padded numbers are the same numbers."""
    class_folders(tmp_path, {"train": {f"{number:02d}": 1 for number in range(7)}})

    found = detect_layout(str(tmp_path), labels=labels)

    assert (found.class_folders["00"], found.class_folders["06"]) == (zero, six)


def test_numbered_image_folders_without_csv_files_say_what_is_missing(tmp_path: Path) -> None:
    """``Manually_Annotated_Images/`` alone looks like class folders with odd numbers."""
    for number in (1, 2, 873, 1240):
        put(tmp_path / str(number) / "abc.jpg")

    with pytest.raises(LayoutError, match="4 numbered folders are AffectNet's images of 2017 without their CSV files"):
        detect_layout(str(tmp_path))


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """Loading a pickle runs whatever it holds."""
    put(tmp_path / "train_fullpath.pkl")
    put(tmp_path / "train/0a.jpg")

    with pytest.raises(LayoutError, match=r"train_fullpath.pkl found.*pickles are not loaded, use the CSV release"):
        detect_layout(str(tmp_path))


@pytest.mark.parametrize("name", ["Manually_Annotated.part1.rar", "train_set.tar", "val.tar.gz", "AffectNet.ZIP"])
def test_archives_alone_must_be_unpacked_first(tmp_path: Path, name: str) -> None:
    """The list shows which."""
    put(tmp_path / name)
    put(tmp_path / "more/inner.zip")

    with pytest.raises(LayoutError, match=rf"only archives found \({re.escape(name)}, more/inner.zip\).*unpack first"):
        detect_layout(str(tmp_path))


def test_an_archive_given_as_the_root_must_be_unpacked_first(tmp_path: Path) -> None:
    """A file is no folder; which kind it is decides the advice."""
    with pytest.raises(LayoutError, match="a file found, expected the folder of a data set; unpack first"):
        detect_layout(str(put(tmp_path / "affectnet.zip")))
    with pytest.raises(LayoutError, match="give the folder it lies in"):
        detect_layout(str(put(tmp_path / "training.csv")))


def test_an_empty_or_missing_folder_says_so(tmp_path: Path) -> None:
    """The commonest mistakes have the shortest errors."""
    with pytest.raises(LayoutError, match="an empty folder found"):
        detect_layout(str(tmp_path))
    with pytest.raises(LayoutError, match="nowhere: no such folder, expected the folder the data set was unpacked to"):
        detect_layout(str(tmp_path / "nowhere"))


def test_anything_else_is_listed_with_what_was_looked_for(tmp_path: Path) -> None:
    """Where there is no image, the user sees what is there instead."""
    for i in range(30):
        put(tmp_path / f"note {i}.md")
    put(tmp_path / "train_set/images/0.md")
    put(tmp_path / "more/0.md")

    with pytest.raises(LayoutError) as caught:
        detect_layout(str(tmp_path))

    text = str(caught.value)
    assert "class folders (train/<class>/); " in text
    assert "train_set/ or val_set/ with images/ and annotations/ (AN-npy)" in text
    assert "the folder holds more/, train_set/, note 0.md, note 1.md" in text
    assert "and 12 more" in text


@pytest.mark.parametrize("layout", ["AN-npy", "AN-csv", "AN-plus"])
def test_an_fsspec_url_is_read_like_a_folder(tmp_path: Path, layout: str) -> None:
    """The same tree gives the same items wherever it lives."""
    BUILDERS[layout](tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(f"{tmp_path}/", f"/{tmp_path.name}/", recursive=True)
    try:
        local, remote = (
            scan_source("affectnet", root, ScanOptions()) for root in (str(tmp_path), f"memory://{tmp_path.name}")
        )
    finally:
        memory.rm(f"/{tmp_path.name}", recursive=True)

    assert remote.items.table.equals(local.items.table)
    assert (remote.layout, remote.rejects, remote.skipped) == (layout, local.rejects, local.skipped)


@pytest.mark.parametrize("name", ["RAFCE_emolabel.txt", "EmoLabel/partition_label.txt"])
def test_other_sets_of_the_raf_family_are_not_read_as_compound(tmp_path: Path, name: str) -> None:
    """RAF-CE has 14 classes from 0, RAF-ML six with shares."""
    put(tmp_path / name, "train_0001.jpg 3\n")
    put(tmp_path / "Image/x.txt")

    with pytest.raises(LayoutError, match=rf"{name} found.*RAF-ML and RAF-CE are other data sets, not read"):
        detect_layout(str(tmp_path))


def test_names_that_are_not_utf8_can_be_reported(tmp_path: Path) -> None:
    """The error that lists them must be printable."""
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).touch()

    with pytest.raises(LayoutError) as caught:
        detect_layout(str(tmp_path))

    assert r"caf\udce9.txt" in str(caught.value).encode("utf-8").decode()
