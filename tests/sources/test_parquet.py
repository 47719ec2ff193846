"""The reader of parquet files: labels by stored names, rows as paths, and what each bad row becomes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trees_rafdb import KAGGLE_NAMES, jpeg_bytes, names_of, parquet_file, reasons

from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, canonical_name
from ferdata.sources import Scan, ScanOptions, read_image, scan_source


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


@pytest.mark.parametrize("binary", [False, True])
def test_parquet_labels_are_read_by_stored_names(tmp_path: Path, binary: bool) -> None:
    """Its numbers are alphabetical, never the official ids; paths name the row."""
    labels = [i % 8 for i in range(11)]
    parquet_file(tmp_path / "data/train-00000-of-00001.parquet", labels, names=KAGGLE_NAMES, binary=binary)
    parquet_file(tmp_path / "data/test-00000-of-00001.parquet", labels[:3], names=KAGGLE_NAMES, binary=binary)

    found = scanned(tmp_path)

    assert (found.layout, found.classes, found.items.splits()) == ("AN-parquet", AFFECTNET_8, ["train", "test"])
    assert names_of(found) == [canonical_name(KAGGLE_NAMES[label]) for label in [*labels, *labels[:3]]]
    assert found.items[9].path == "data/train-00000-of-00001.parquet#9"
    assert found.items[9].key == "train_data_train-00000-of-00001_9"
    assert len({item.key for item in found.items}) == 14
    assert read_image(found.root, found.items[9].path) == jpeg_bytes(9)


@pytest.mark.parametrize("kind", ["text", "dictionary"])
def test_parquet_labels_may_be_the_names_themselves(tmp_path: Path, kind: str) -> None:
    """Text columns and categories carry the names in the data."""
    names = pa.array(["Happy", "anger", "suprise", "sadness"])
    table = pa.table(
        {
            "image": pa.array([jpeg_bytes(i) for i in range(4)]),
            "label": names.dictionary_encode() if kind == "dictionary" else names,
        }
    )
    pq.write_table(table, tmp_path / "train.parquet")

    found = scanned(tmp_path)

    assert names_of(found) == ["Happy", "Anger", "Surprise", "Sad"]
    assert [item.source_label for item in found.items] == ["Happy", "anger", "suprise", "sadness"]


def test_parquet_numbers_without_names_ask(tmp_path: Path) -> None:
    """Seven or eight numbers fit several orders, and a guess would be silent."""
    parquet_file(tmp_path / "train.parquet", [i % 7 for i in range(15)])

    with pytest.raises(
        AmbiguousLayoutError,
        match=r"no class names are stored.*train: 0: 3, 1: 2.*labels=affectnet\|rafdb\|alphabetical",
    ):
        scanned(tmp_path)
    assert names_of(scanned(tmp_path, labels="alphabetical"))[:2] == ["Anger", "Disgust"]
    assert names_of(scanned(tmp_path, labels="affectnet"))[:2] == ["Neutral", "Happy"]
    assert names_of(scanned(tmp_path, labels="rafdb"))[:2] == ["Surprise", "Fear"]


def test_parquet_names_that_are_numbers_are_no_names(tmp_path: Path) -> None:
    """The ``datasets`` library makes such names of numbered folders."""
    parquet_file(tmp_path / "train.parquet", [i % 7 for i in range(14)], names=[str(i) for i in range(7)])

    with pytest.raises(AmbiguousLayoutError, match="no class names are stored"):
        scanned(tmp_path)


def test_parquet_unknown_name_stops(tmp_path: Path) -> None:
    """The known aliases are told."""
    parquet_file(tmp_path / "train.parquet", [0, 1], names=["anger", "bored"])

    with pytest.raises(LayoutError, match=r"stored class names bored found.*neutral, normal, calm"):
        scanned(tmp_path)


def test_parquet_rejects_are_named(tmp_path: Path) -> None:
    """Rows without a label, with one out of range, and without an image."""
    parquet_file(tmp_path / "train.parquet", [0, None, 9, 3, 4, 5, 6, 7, 0, 1], names=KAGGLE_NAMES)
    table = pq.read_table(tmp_path / "train.parquet")
    images = table.column("image").to_pylist()
    images[4] = None
    images[8] = {"bytes": None, "path": "gone.jpg"}
    table = table.set_column(0, "image", pa.array(images, table.schema.field("image").type))
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=3)

    found = scanned(tmp_path)

    assert sorted((reject.row, reject.reason) for reject in found.rejects) == [
        (1, "label_missing"),
        (2, "label_invalid"),
        (4, "image_missing"),
        (8, "image_missing"),
    ]
    assert [item.path for item in found.items] == [f"train.parquet#{row}" for row in (0, 3, 5, 6, 7, 9)]


def test_parquet_binary_images_that_are_null_are_missing(tmp_path: Path) -> None:
    """The plain form has the same rule as the struct."""
    table = pa.table({"image": pa.array([jpeg_bytes(0), None]), "label": ["happy", "sad"]})
    pq.write_table(table, tmp_path / "train.parquet")

    assert reasons(scanned(tmp_path)) == [("train.parquet#1", "image_missing")]


def test_parquet_that_does_not_fit_stops(tmp_path: Path) -> None:
    """No image at all, or mostly labels out of range, is no source."""
    table = pa.table({"image": pa.array([None, None], pa.binary()), "label": ["happy", "sad"]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(SourceError, match="none of 2 rows holds its image"):
        scanned(tmp_path)

    parquet_file(tmp_path / "train.parquet", [0, 9, 9], names=KAGGLE_NAMES)
    with pytest.raises(SourceError, match="2 of 3 labels are not classes: label 9"):
        scanned(tmp_path)


def test_parquet_labels_of_another_kind_stop(tmp_path: Path) -> None:
    """A list of labels per image is another task."""
    pq.write_table(pa.table({"image": [b"x"], "label": [[1, 2]]}), tmp_path / "train.parquet")

    with pytest.raises(LayoutError, match="label column of type list"):
        scanned(tmp_path)


def test_parquet_of_rafdb_has_seven_classes(tmp_path: Path) -> None:
    """Mapped by name like AffectNet's."""
    names = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    parquet_file(tmp_path / "train.parquet", list(range(7)), names=names)

    found = scanned(tmp_path, "rafdb")

    assert (found.layout, found.source, found.classes) == ("RAF-parquet", "rafdb", AFFECTNET_7)
    assert names_of(found) == ["Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]


def test_parquet_seven_classes_skip_contempt(tmp_path: Path) -> None:
    """The rule of every AffectNet form."""
    parquet_file(tmp_path / "train.parquet", list(range(8)), names=KAGGLE_NAMES)

    assert scanned(tmp_path, classes=7).skipped == {"contempt": 1}


def test_parquet_behind_a_url_is_read_like_a_local_file(tmp_path: Path) -> None:
    """Only byte ranges are asked for, of labels in the scan and of one row group for an image."""
    parquet_file(tmp_path / "train.parquet", [0, 1, None, 3, 4], names=KAGGLE_NAMES)
    fsspec.filesystem("memory").put(str(tmp_path), "/parquet-copy", recursive=True)

    here, there = scanned(tmp_path), scan_source("affectnet", "memory://parquet-copy", ScanOptions())

    assert list(there.items) == list(here.items)
    assert reasons(there) == reasons(here) == [("train.parquet#2", "label_missing")]
    assert read_image(there.root, there.items[3].path) == jpeg_bytes(4)


IMAGES = [jpeg_bytes(i) for i in range(8)]
NAMES = ["happy", "sad"] * 4


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(NAMES, pa.large_string()),
        pa.array(NAMES).dictionary_encode(),
        pa.array(NAMES, pa.large_string()).dictionary_encode(),
        pa.chunked_array([NAMES[:3], NAMES[3:]]),
    ],
)
def test_text_of_any_type_is_read(tmp_path: Path, labels: pa.Array) -> None:
    """Each library writes the type that it likes."""
    pq.write_table(pa.table({"image": IMAGES, "label": labels}), tmp_path / "train.parquet")

    assert names_of(scanned(tmp_path)) == ["Happy", "Sad"] * 4


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (pa.nulls(8), "of type null"),
        (pa.array([[name] for name in NAMES]), "of type list"),
        (pa.array([{"name": name} for name in NAMES]), "of type struct"),
        (pa.array([b"happy"] * 8), "of type binary"),
        (pa.array([True] * 8), "of type bool"),
        (pa.array([1] * 8, pa.decimal128(5)), "of type decimal"),
    ],
)
def test_labels_of_other_types_stop(tmp_path: Path, labels: pa.Array, match: str) -> None:
    """What a nested value means as a label, nobody has said."""
    pq.write_table(pa.table({"image": IMAGES, "label": labels}), tmp_path / "train.parquet")

    with pytest.raises(
        LayoutError, match=rf"train.parquet: label column {match}.* found, expected class numbers or class names"
    ):
        scanned(tmp_path)


@pytest.mark.parametrize("name", ["label", "image"])
def test_a_doubled_column_stops(tmp_path: Path, name: str) -> None:
    """The first of two is a guess."""
    columns = {"image": pa.array(IMAGES), "label": pa.array(NAMES)}
    pq.write_table(pa.table([*columns.values(), columns[name]], names=[*columns, name]), tmp_path / "train.parquet")

    with pytest.raises(LayoutError, match=f"2 columns '{name}' found, expected one"):
        scanned(tmp_path)


def peak_bytes(root: Path) -> int:
    code = (
        "import sys\nfrom ferdata.errors import FerdataError\nfrom ferdata.sources import ScanOptions, scan_source\n"
        "try:\n    print(len(scan_source('affectnet', sys.argv[1], ScanOptions()).items))\n"
        "except FerdataError as error:\n    print(error)\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    found = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    return 1024 * int(found.stdout.splitlines()[-1])


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_cell_that_unpacks_to_far_more_than_the_file_is_not_unpacked(tmp_path: Path, column: str) -> None:
    """One cell of zeros took gigabytes of memory; the null beside it must not have it read."""
    table = {"image": [*IMAGES[:6], None, b""], "label": NAMES}
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    usual = peak_bytes(tmp_path)
    table[column] = [*table[column][:7], bytes(256 << 20) if column == "image" else "x" * (256 << 20)]
    pq.write_table(pa.table(table), tmp_path / "train.parquet", compression="zstd")

    assert peak_bytes(tmp_path) < usual + (64 << 20)
    if column == "label":
        with pytest.raises(SourceError, match="bytes of labels found in 8 rows, expected at most"):
            scanned(tmp_path)


def test_more_rows_than_bytes_stop(tmp_path: Path) -> None:
    """A run of one value packs to nothing, and unpacks to whatever the file says."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int8)), [b"x"])
    pq.write_table(pa.table({"image": column, "label": np.zeros(1_000_000, np.int8)}), tmp_path / "train.parquet")

    with pytest.raises(SourceError, match=r"1,000,000 rows in .* bytes found, expected an image in each"):
        scanned(tmp_path)


def test_names_of_a_forged_schema_are_none_or_told(tmp_path: Path) -> None:
    """Too deep to parse, they are not there; half a letter in one must not break the line that says so."""
    table = pa.table({"image": IMAGES, "label": NAMES})
    pq.write_table(table.replace_schema_metadata({b"huggingface": b"[" * 100_000}), tmp_path / "train.parquet")
    assert len(scanned(tmp_path).items) == 8

    names = b'{"info":{"features":{"label":{"names":["happy","\\ud800"]}}}}'
    pq.write_table(table.replace_schema_metadata({b"huggingface": names}), tmp_path / "train.parquet")
    with pytest.raises(LayoutError) as caught:
        scanned(tmp_path)
    assert r"stored class names \ud800 found" in str(caught.value)
