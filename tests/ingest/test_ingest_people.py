"""Persons, sequences and soft labels on their way from a source to a batch."""

import csv
import re
import shutil
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from forging import forge_file
from ingest_sources import jpeg, options, samples

import ferdata
from ferdata.errors import SourceError
from ferdata.format import read_samples
from ferdata.ingest import ingest_scan
from ferdata.sources.scan import Scan, ScanBuilder
from ferdata.store import Store

FIELDS = ("images", "labels", "indices", "keys", "person", "sequence", "soft_labels")
CLASSES = ("Neutral", "Happy", "Sad")


def people_scan(root: Path) -> Scan:
    """48 images of 6 people in 12 clips; every third has soft labels, and every eighth neither a person nor a clip."""
    builder = ScanBuilder()
    root.mkdir(exist_ok=True)
    for number in range(48):
        (root / f"{number}.jpg").write_bytes(jpeg(number))
        known, soft = number % 8 > 0, number % 3 == 0
        builder.accept(
            f"item_{number}", f"{number}.jpg", "train", number % 3, CLASSES[number % 3],
            person=person_of(number) if known else None,
            sequence=f"{person_of(number)}/{number % 12}" if known else None,
            soft_labels=soft_of(number) if soft else None,
            extra={"frame": number},
        )  # fmt: skip
    return builder.build(source="folder", layout="folder", root=str(root), classes=CLASSES)


def person_of(number: int) -> str:
    return f'S{number % 6:03d} "é"'


def soft_of(number: int) -> list[float]:
    return np.array([0.5, number / 128, 0.5 - number / 128], np.float32).tolist()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    summary = ingest_scan(people_scan(root / "src"), options(root / "src", root / "out", source="folder"))
    assert summary.label_map == {name: [name] for name in CLASSES}
    assert (
        "6 different people are named; 12 different sequences are named; 16 images have soft labels." in summary.notes
    )
    return root / "out"


def test_a_batch_has_what_the_source_says_of_every_image(people: Path) -> None:
    """Where it says nothing, the text is empty and the soft labels are the label's own; padding has none at all."""
    with ferdata.Loader(people, batch_size=10, num_workers=1, drop_last=False, fields=FIELDS) as loader:
        batches = list(loader)
    alone = ferdata.ShardDataset(people, fields=FIELDS)

    seen = Counter[int]()
    for batch in batches:
        assert batch.soft_labels.dtype == torch.float32 and batch.soft_labels.shape == (len(batch.labels), 3)
        for row, index in enumerate(batch.indices.tolist()):
            found = batch.person[row], batch.sequence[row], batch.soft_labels[row].tolist()
            if index < 0:
                assert found == ("", "", [0, 0, 0])
                continue
            number = int(batch.keys[row].removeprefix("item_"))
            person = person_of(number) if number % 8 else ""
            soft = soft_of(number) if number % 3 == 0 else np.eye(3)[number % 3].tolist()
            assert found == (person, f"{person}/{number % 12}" if person else "", soft)
            assert (alone[index].person, alone[index].soft_labels.tolist()) == (person, soft)
            seen[number] += 1
    assert seen == Counter(range(48))


def test_whoever_does_not_ask_for_them_has_none_in_memory(people: Path) -> None:
    """They may be long texts and long lists, and most training wants neither."""
    assert ferdata.Loader(people, batch_size=8, num_workers=0).close() is None
    kept = ferdata.ShardDataset(people)._table._columns._kept.values()
    assert kept
    for stretch in kept:
        assert not stretch._texts and list(stretch.arrays) == ["labels"] and not hasattr(stretch, "_soft")


def test_conditions_choose_by_person_and_sequence(people: Path) -> None:
    """As by any other column."""
    mine = ferdata.ShardDataset(people, where=f"person == {person_of(3)!r}", fields=FIELDS)
    assert {one.person for one in mine} == {person_of(3)} and len(mine) == 8
    assert len(ferdata.ShardDataset(people, where="sequence is None and soft_labels is None")) == 4
    with pytest.raises(ferdata.OptionError, match="compares what can't be compared"):
        ferdata.ShardDataset(people, where="soft_labels > 0.5")


def test_records_exports_and_other_codecs_carry_them(people: Path, tmp_path: Path) -> None:
    """A shard must say whom it shows without its table; a record has what is known, and no empty words."""
    for key, sample in samples(people).items():
        number, record = int(key.removeprefix("item_")), sample["json"]
        assert record.get("person") == (person_of(number) if number % 8 else None)
        assert record.get("soft_labels") == (soft_of(number) if number % 3 == 0 else None)
        assert ("person" in record, "soft_labels" in record) == (number % 8 > 0, number % 3 == 0)
    assert ferdata.verify(people, deep=True, num_workers=1).ok

    ferdata.recode(people, out=tmp_path / "raw", codec="raw", num_workers=1)
    rows = read_samples(Store(str(tmp_path / "raw")), ferdata.read_index(tmp_path / "raw"))
    assert rows.equals(read_samples(Store(str(people)), ferdata.read_index(people)))
    ferdata.export(tmp_path / "raw", to="folder", out=tmp_path / "pictures", num_workers=1)
    with open(tmp_path / "pictures" / "labels.csv", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["person"] or None for row in listed] == rows.column("person").to_pylist()
    assert [row["soft_labels"] for row in listed] == [str(one or "") for one in rows.column("soft_labels").to_pylist()]


@pytest.mark.parametrize(
    ("number", "column", "value", "text"),
    [
        (1, "person", "somebody", r"has person 'S001 .* expected 'somebody'"),
        (1, "person", None, r"has person 'S001 .* expected None"),
        (8, "person", "somebody", r"has person None, expected 'somebody'"),
        (3, "soft_labels", [0.25, 0.5, 0.25], r"has soft_labels \[.*\], expected \[0.25, 0.5, 0.25\]"),
    ],
)
def test_what_table_and_shards_say_differently_is_found(
    people: Path, tmp_path: Path, number: int, column: str, value: object, text: str
) -> None:
    """Whoever reads a shard alone must see the same people."""
    root = shutil.copytree(people, tmp_path / "set")
    rows = read_samples(Store(str(root)), ferdata.read_index(root))
    values = rows.column(column).to_pylist()
    values[rows.column("key").to_pylist().index(f"item_{number}")] = value
    place = rows.column_names.index(column)
    file = BytesIO()
    pq.write_table(rows.set_column(place, column, pa.array(values, rows.column(column).type)), file)
    forge_file(root, "samples.parquet", file.getvalue())

    [error] = ferdata.verify(root, deep=True, num_workers=1).errors
    assert re.search(text, error)


@pytest.mark.parametrize("field", ["person", "sequence"])
def test_splits_are_cut_by_person_or_sequence(field: str, tmp_path: Path) -> None:
    """The column that every layout fills, before the fields that only one knows."""
    scan = people_scan(tmp_path / "src")
    known = scan.items.take([number for number in range(48) if number % 8])
    some = Scan(source="folder", layout="folder", root=scan.root, classes=CLASSES, items=known)
    ingest_scan(some, options(tmp_path / "src", tmp_path / "out", source="folder", val=0.3, group_by=field))

    rows = read_samples(Store(str(tmp_path / "out")), ferdata.read_index(tmp_path / "out")).to_pylist()
    train, val = ({row[field] for row in rows if row["split"] == split} for split in ("train", "val"))
    assert train and val and not train & val
    with pytest.raises(ferdata.OptionError, match=f"group_by: 6 of 48 images do not have a {field}, such as 0.jpg"):
        ingest_scan(scan, options(tmp_path / "src", tmp_path / "all", source="folder", val=0.3, group_by=field))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([0.5, 0.5], r"soft_labels of 2 classes found, expected 3"),
        ([0.5, 0.5, 0.5], r"soft_labels \[0.5, 0.5, 0.5\] found, expected probabilities of sum 1"),
        ([1.5, -0.5, 0.0], "expected probabilities of sum 1"),
        ([float("nan"), 0.5, 0.5], "expected probabilities of sum 1"),
    ],
)
def test_soft_labels_that_are_none_are_refused(wrong: list[float], message: str) -> None:
    """A loss would take them as they are."""
    builder = ScanBuilder()
    builder.accept("a", "a.jpg", "train", 0, "x", soft_labels=wrong)
    with pytest.raises(SourceError, match=f"^some/root: .*{message}"):
        builder.build(source="folder", layout="folder", root="some/root", classes=CLASSES)
