"""Which images are taken and where they go: conditions, exclusions, folds, official splits, balance, limits."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_sources import contents, jpeg, options, samples
from trees import put

from ferdata.dataset.info import shard_command
from ferdata.errors import IngestError, OptionError
from ferdata.format import read_index
from ferdata.ingest import ingest, ingest_scan
from ferdata.ingest.select.choose import choose_items
from ferdata.ingest.select.exclude import read_exclusions
from ferdata.ingest.select.selection import Selection
from ferdata.sources.scan import Scan, ScanBuilder
from ferdata.store import Store

CLASSES = ("Neutral", "Happy", "Sad")


def scan(*, official: str = "", count: int = 90) -> Scan:
    """Images of 15 persons in 3 classes, most of them Neutral; a tenth each is in the ``official`` splits."""
    builder = ScanBuilder()
    names = ["train"] * 8 + ["val" if "val" in official else "train", "test" if "test" in official else "train"]
    for number in range(count):
        builder.accept(
            key=f"k{number}",
            path=f"dir {number % 2}/{number}.jpg",
            split=names[number % 10],
            label=(0, 0, 0, 1, 1, 2)[number % 6],
            source_label="x",
            valence=number / 100 if number % 2 else None,
            extra={"who": f"p{number * 7 % 15}", "angle": ["S", "HL", 45][number % 3], "lit": number % 2 == 0},
        )
    return builder.build(source="folder", layout="folder", root="there", classes=CLASSES)


def choose(found: Scan, *, table: Path | None = None, **asked: Any) -> tuple[Selection, dict[str, int], list[str]]:
    excluded = None if table is None else read_exclusions(str(table))
    return choose_items(found, options("there", "out", **asked), excluded=excluded, on_tick=lambda done, total: None)


def counts(selection: Selection) -> dict[str, list[int]]:
    """Split -> items of each class."""
    return {
        split: np.bincount(selection.labels[selection.positions(split)], minlength=3).tolist()
        for split in selection.ordered_splits()
    }


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("angle == 'S'", lambda n: n % 3 == 0),
        ("angle == '45' and label == 'sad'", lambda n: n % 6 == 5),
        ("lit == 1 or valence > 0.5", lambda n: n % 2 == 0 or n > 50),
        ("not (key in ['k1', 'k2'])", lambda n: n not in (1, 2)),
        ("split != 'val'", lambda n: n % 10 != 8),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_condition_is_on_columns_and_on_fields_of_the_source(where: str, kept: Any) -> None:
    """KDEF shows five angles, of which most people use one; what is left out is counted, and rules of val are told."""
    selection, skipped, notes = choose(scan(official="val"), where=where)

    expected = [number for number in range(90) if kept(number)]
    assert np.flatnonzero(selection.codes >= 0).tolist() == expected
    assert skipped == {"where": 90 - len(expected)}
    of_val = sum(number % 10 == 8 for number in expected)
    told = f"val has {of_val} of the 9 images that came with the source; figures on it are not comparable"
    assert any(told in note for note in notes) == (of_val < 9)


def test_what_is_left_out_needs_no_group() -> None:
    """Of CK+, some images are of nobody known: without these, persons are kept apart."""
    half = {"group_by": "dir ([0])", "where": "path != 'dir 1/1.jpg' and lit == 1", "val": 0.1}
    with pytest.raises(OptionError, match=r"no group is small enough"):
        choose(scan(), **half)
    with pytest.raises(OptionError, match=r"group_by: 45 of 90 images do not have a path in which"):
        choose(scan(), group_by="dir ([0])", val=0.1)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("angel == 'S'", "there is no column 'angel' .*expected comparisons of key, path, .*, angle, lit, who with"),
        ("angle == 'X'", "where: .* leaves none of the 90 images of there, expected some"),
        ("valence > 'a'", "compares what can't be compared"),
        ("label == 'Hapy'", "there is no class 'Hapy' among Neutral, Happy, Sad"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(where: str, text: str) -> None:
    """By the name of what it may be on."""
    with pytest.raises(OptionError, match=text):
        choose(scan(), where=where)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("split,key,path,finding\ntrain,k3,dir 1/3.jpg,duplicate\ntrain,k4,dir 0/4.jpg,label\n", {3, 4}),
        ("\ufeffKey;finding\nk7;x\nk7;y\n", {7}),
        ("path\ndir 1/5.jpg\ndir 0/6.jpg\n", {5, 6}),
        ("key,path\nk3,dir 1/5.jpg\n,dir 1/5.jpg\nk9,\nk400,\n", {5, 9}),
        ("key,path\n", set()),
    ],
    ids=["as audit writes it", "keys", "paths", "mixed", "nothing found"],
)
def test_a_table_leaves_images_out(tmp_path: Path, text: str, gone: set[int]) -> None:
    """By key, by path, or where both agree; what it lists in vain is told."""
    (tmp_path / "found.csv").write_text(text, encoding="utf-8")

    selection, skipped, notes = choose(scan(), table=tmp_path / "found.csv")

    assert set(np.flatnonzero(selection.codes < 0)) == gone
    assert skipped == ({"excluded": len(gone)} if gone else {})
    in_vain = [note for note in notes if "images to exclude" in note]
    assert len(in_vain) == ("k400" in text)
    assert not in_vain or (
        "Warning: 2 of 4 images to exclude in found.csv" in in_vain[0] and "such as k3." in in_vain[0]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "exclude: .*found.csv: no such file, expected a table with a column key or path; name one"),
        ("image,why\na.jpg,x\n", "exclude: .*: header image, why found, expected a column key or path; correct"),
        ("key\nother1\nother2\n", "exclude: not one of the 2 images in .* is in the source, such as other1, expected"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    """Nothing left out would pass for an image that is clean now."""
    if text is not None:
        (tmp_path / "found.csv").write_text(text)

    with pytest.raises(OptionError, match=said):
        choose(scan(), table=tmp_path / "found.csv")


@pytest.mark.parametrize("by", [None, "who", "/([0-9])"])
def test_every_image_is_in_one_fold(by: str | None) -> None:
    """Over all folds, every image is validated on once, and no person is in train and in the fold at a time."""
    times = Counter[int]()
    who = [f"{extra}" for extra in scan().items.table.column("extra").to_pylist()]
    for fold in range(1, 6):
        selection, skipped, notes = choose(scan(), folds=5, fold=fold, group_by=by, seed=2)
        times.update(selection.positions("val").tolist())
        assert not skipped and notes[0].startswith(f"val: fold {fold} of 5, ")
        if by == "who":
            persons = [{who[at].split("who")[1] for at in selection.positions(name)} for name in ("train", "val")]
            assert not persons[0] & persons[1] and len(persons[1]) == 3
            assert notes[0].endswith("in 3 of 15 groups by who.")
        if by is None:
            assert counts(selection) == {"train": [36, 24, 12], "val": [9, 6, 3]}
            assert notes == [f"val: fold {fold} of 5, 18 of 90 train images, 3 to 9 of each class."]

    assert times == Counter(range(90))


def test_a_fold_can_be_the_test_split_beside_a_val_split() -> None:
    """What is chosen on val is told apart from what is published; official splits are in no fold."""
    selection, _, _ = choose(scan(official="val"), folds=3, fold=1, fold_split="test")
    assert counts(selection)["val"] == counts(choose(scan(official="val"))[0])["val"]

    nested, _, _ = choose(scan(), folds=3, fold=1, fold_split="test", val=0.1)
    assert counts(nested) == {"train": [27, 18, 9], "val": [3, 2, 1], "test": [15, 10, 5]}


@pytest.mark.parametrize(
    ("asked", "official", "text"),
    [
        ({"folds": 3, "fold": 1}, "val", r"folds: a val split found .* or make the fold another by fold_split=test"),
        ({"folds": 3, "fold": 1}, "val test", r"folds: .*; leave folds= out, or give it up by move_splits='val:train'"),
        ({"folds": 16, "fold": 1, "group_by": "who"}, "", "folds: 16 found, but train has 15 groups by who"),
        ({"folds": 91, "fold": 1}, "", "folds: 91 found, but train has 90 images"),
        ({"move_splits": "test:val"}, "val", "move_splits: test:val found, but there has train, val and no test split"),
        ({"val": 0.1, "balanced": True, "limit": 100}, "", "limit: a balanced 100 found, expected 3 to 36"),
        ({"limit": 2, "balanced": True}, "", "limit: a balanced 2 found, expected 3 to 45"),
        ({"val": 0.6, "balanced": True}, "", "val: 15 of Sad left in train, expected more than the 18 of each class"),
        (
            {"limit": 5, "move_splits": "train:val"},
            "",
            "limit: 5 images of train asked for, but there has val",
        ),
        (
            {"val": 0.05, "balanced": True, "group_by": "who"},
            "",
            "val: whole groups by who give none of .*, expected the same number of each class",
        ),
    ],
    ids=str,
)
def test_a_split_that_cannot_be_made_is_refused(asked: dict[str, Any], official: str, text: str) -> None:
    """With what there is, and what may be asked instead."""
    with pytest.raises(OptionError, match=text):
        choose(scan(official=official), **asked)


def test_an_official_split_is_given_up_where_that_is_asked_for() -> None:
    """SFEW's test has no labels and RAF-DB has no val, so people report on another split; a note says so."""
    test_as_val, _, notes = choose(scan(official="test"), move_splits="test:val")
    assert counts(test_as_val)["val"] == counts(choose(scan(official="test"))[0])["test"]
    assert notes == [
        "Warning: the source's own test split (9 images) is put into val, as move_splits asks: figures are not "
        "comparable with those on its own splits."
    ]

    both, _, notes = choose(scan(official="val test"), move_splits="val:train,test:val")
    assert {split: sum(found) for split, found in counts(both).items()} == {"train": 81, "val": 9}
    assert len(notes) == 2

    anew, _, _ = choose(scan(official="val"), move_splits="val:train", val=0.2)
    assert counts(anew) == {"train": [36, 24, 12], "val": [9, 6, 3]}


def test_balanced_splits_have_as_many_of_each_class() -> None:
    """A share as well as whole persons, of which what is over is left out: in train it would show them twice."""
    by_share, skipped, _ = choose(scan(), val=0.2, balanced=True)
    assert counts(by_share) == {"train": [39, 24, 9], "val": [6, 6, 6]} and not skipped

    by_person, skipped, notes = choose(scan(), val=0.3, balanced=True, group_by="who")
    found = counts(by_person)
    assert len(set(found["val"])) == 1 and found["val"][0] > 0
    assert skipped == {"balance": 90 - sum(map(sum, found.values()))} and skipped["balance"] > 0
    assert f", {found['val'][0]} of each class" in notes[0]


def test_trainings_on_more_and_more_of_train_share_their_val_split() -> None:
    """That is what a learning curve is: the limit comes last, and what it takes grows."""
    kept = []
    for limit in (12, 40, 500):
        selection, skipped, _ = choose(scan(), val=0.2, limit=limit)
        kept.append(set(selection.positions("train").tolist()))
        assert skipped == ({"limit": 72 - limit} if limit < 72 else {})
        assert np.array_equal(selection.positions("val"), choose(scan(), val=0.2)[0].positions("val"))

    assert kept[0] < kept[1] < kept[2] and list(map(len, kept)) == [12, 40, 72]
    assert counts(choose(scan(), val=0.2, limit=27, balanced=True)[0])["train"] == [9, 9, 9]


def test_a_data_set_says_how_its_images_were_chosen(tmp_path: Path) -> None:
    """In the index, in notes and in the command that makes it anew; a table with other entries makes another set."""
    for number in range(24):
        name = ("angry", "happy")[number % 2]
        put(tmp_path / f"src/{('train', 'val')[number >= 16]}/{name}/{number}.jpg", jpeg(number))
    table = tmp_path / "found.csv"
    table.write_text("path\ntrain/happy/1.jpg\n")
    asked = {"source": "folder", "exclude": str(table), "move_splits": "val:train", "folds": 2, "fold": 2, "val": None}

    summary = ingest(options(tmp_path / "src", tmp_path / "out", **asked))

    assert summary.skipped == {"excluded": 1} and sum(summary.samples.values()) == 23
    index = read_index(Store(str(tmp_path / "out")))
    assert {name: index.settings[name] for name in ("move_splits", "folds", "fold")} == {
        "move_splits": "val:train",
        "folds": 2,
        "fold": 2,
    }
    assert str(tmp_path) not in str(index.settings) and any(
        "own val split (8 images)" in note for note in summary.notes
    )
    command = shard_command(index, "new")
    assert all(part in command for part in ("--exclude FILE", "--move-splits val:train", "--folds 2 --fold 2"))
    assert "train/happy/1.jpg" not in {sample["json"]["path"] for sample in samples(tmp_path / "out").values()}

    before = contents(tmp_path / "out")
    table.write_text("key;path\n;train/happy/1.jpg\n")
    assert not ingest(options(tmp_path / "src", tmp_path / "out", **asked)).is_new
    table.write_text("path\ntrain/happy/3.jpg\n")
    with pytest.raises(IngestError, match=r"other settings found: exclude=[0-9a-f]{16} \(now [0-9a-f]{16}\)"):
        ingest(options(tmp_path / "src", tmp_path / "out", **asked))
    assert contents(tmp_path / "out") == before


def test_a_scan_without_an_image_says_so_whatever_is_asked(tmp_path: Path) -> None:
    """Not that a limit finds no train split."""
    with pytest.raises(Exception, match="not one image could be used"):
        ingest_scan(scan(count=0), options(tmp_path, tmp_path / "out", source="folder", limit=5, val=0.1))
