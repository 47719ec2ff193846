"""Splits that a source does not have: cut off train by class or by group, never out of one that came with it."""

from pathlib import Path

import pytest
from ingest_sources import jpeg, options, samples, write_affectnet
from trees import put

from ferdata.dataset.info import shard_command
from ferdata.errors import OptionError
from ferdata.format import read_index
from ferdata.ingest import ingest, ingest_scan
from ferdata.sources.scan import Scan, ScanBuilder
from ferdata.store import Store


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of 8 classes in train, 12 in val."""
    return write_affectnet(tmp_path_factory.mktemp("source") / "affectnet")


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders without splits, of unequal size; every image is of one of 12 persons."""
    root = tmp_path_factory.mktemp("unsplit")
    for name, count in (("angry", 12), ("happy", 48), ("sad", 24)):
        for number in range(count):
            put(root / f"{name}/person{number % 12}_{number}.jpg", jpeg(number + 100 * len(name)))
    return root


def test_an_unsplit_folder_gets_both_splits(unsplit: Path, tmp_path: Path) -> None:
    """Each class with its share of either; what is asked for is there, under the name that was asked for."""
    summary = ingest(options(unsplit, tmp_path / "out", source="folder", val=0.25, test=0.25))

    assert summary.samples == {"train": 42, "val": 21, "test": 21}
    for split, share in (("train", 0.5), ("val", 0.25), ("test", 0.25)):
        assert [summary.class_counts[split][name] for name in ("Anger", "Happy", "Sad")] == [
            12 * share,
            48 * share,
            24 * share,
        ]


def test_a_number_gives_a_split_with_as_many_of_each_class(unsplit: Path, tmp_path: Path) -> None:
    """Also under a limit, which is of train alone."""
    summary = ingest(options(unsplit, tmp_path / "out", source="folder", val=5, limit=60))

    assert [summary.class_counts["val"][name] for name in ("Anger", "Happy", "Sad")] == [5, 5, 5]
    assert summary.samples["train"] == 60 and summary.skipped == {"limit": 9}


def test_a_split_that_came_with_the_source_is_not_broken_up(affectnet: Path, tmp_path: Path) -> None:
    """Figures on half of AffectNet's val compare with nobody's; the way to another split is told, and works."""
    with pytest.raises(
        OptionError,
        match=r"val: a val split found in .*affectnet already.*leave val= out, or cut test= instead, "
        r"or give it up by move_splits='val:train'",
    ):
        ingest(options(affectnet, tmp_path / "out", val=0.1))

    summary = ingest(options(affectnet, tmp_path / "out", test=0.2, limit=44))

    assert summary.samples == {"train": 44, "val": 12, "test": 12} and summary.skipped == {"limit": 4}
    found = samples(tmp_path / "out").values()
    assert all((sample["split"] == "val") == sample["json"]["path"].startswith("val_set") for sample in found)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            {"val": 0.001},
            r"val: 0.001 of 84 train images gives none \(every class keeps one in train\), expected some; "
            "use a larger share",
        ),
        ({"val": 12}, r"val: 12 of Anger left in train, expected more than the 12 of each class to cut off"),
        ({"test": 0.8, "val": 4}, r"val: .* of Anger left in train, expected more than the 4 of each class"),
        (
            {"val": 0.1, "group_by": "person"},
            r"group_by: 84 of 84 images do not have a field 'person'; fields are source_label",
        ),
        ({"val": 0.1, "group_by": "(man[0-9]+)"}, r"group_by: 84 of 84 images do not have a path in which"),
        ({"val": 0.1, "group_by": "(.)erson"}, r"val: 0.1 of 84 train images gives none \(no group is small enough\)"),
    ],
    ids=str,
)
def test_a_split_that_cannot_be_cut_is_refused(
    asked: dict[str, object], text: str, unsplit: Path, tmp_path: Path
) -> None:
    """Whoever asks for a split and gets none, or a smaller one, must not find out in training."""
    with pytest.raises(OptionError, match=text):
        ingest(options(unsplit, tmp_path / "out", source="folder", **asked))


def test_persons_are_in_one_split_only(unsplit: Path, tmp_path: Path) -> None:
    """By a part of the path; how near whole groups come to what was asked is told."""
    summary = ingest(
        options(unsplit, tmp_path / "out", source="folder", val=0.25, test=0.25, group_by="(person[0-9]+)_")
    )

    persons: dict[str, set[str]] = {}
    for sample in samples(tmp_path / "out").values():
        persons.setdefault(sample["split"], set()).add(sample["json"]["path"].split("/")[1].split("_")[0])
    assert {split: len(found) for split, found in persons.items()} == {"train": 6, "val": 3, "test": 3}
    assert len(set.union(*persons.values())) == 12
    assert any(
        note.startswith("val: 21 of 84 train images, 3 to 12 of each class, in 3 of 12 groups by")
        for note in summary.notes
    )


def fields_scan(root: Path, *, official: int = 0) -> Scan:
    """30 images of 10 videos, the last ``official`` of them in a test split of the source's own."""
    builder = ScanBuilder()
    for number in range(30):
        put(root / f"{number}.jpg", jpeg(number))
        split = "test" if number >= 30 - official else "train"
        builder.accept(
            key=f"item_{number}",
            path=f"{number}.jpg",
            split=split,
            label=number % 2,
            source_label="x",
            extra={"video": number % 10},
        )
    return builder.build(source="folder", layout="folder", root=str(root), classes=("a", "b"))


def test_videos_are_in_one_split_only(tmp_path: Path) -> None:
    """By a field that the source gives with its images; what its own splits share with others is told."""
    scan = fields_scan(tmp_path / "src", official=6)
    summary = ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder", val=0.2, group_by="video"))

    videos: dict[str, set[int]] = {}
    for sample in samples(tmp_path / "out").values():
        videos.setdefault(sample["split"], set()).add(sample["json"]["extra"]["video"])
    assert videos["train"] and videos["val"] and not videos["train"] & videos["val"]
    assert "Warning: 6 groups of test, which came with the source, are in other splits too." in summary.notes


def test_the_command_that_makes_a_val_split_names_what_the_data_set_was_made_with(
    unsplit: Path, tmp_path: Path
) -> None:
    """Training without one tells it: it must give the same images again, and a test split of the same ones."""
    ingest(options(unsplit, tmp_path / "out", source="folder", test=0.25, seed=3, codec="raw"))
    index = read_index(Store(str(tmp_path / "out")))

    command = shard_command(index, "out-val", val=0.1)

    assert (
        command == "ferdata shard folder --src DIR --out out-val --seed 3 --val 0.1 --test 0.25 --size 24 --codec raw"
    )
