"""samples.parquet with a checksum that fits, and wrong: whatever reads it says so, and names it."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forging import forge_file, rewrite_index
from make_dataset import make_dataset

import ferdata
from ferdata.dataset.export import export
from ferdata.dataset.preview import preview
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import ShardCorruptError
from ferdata.format import read_file, read_index, read_samples
from ferdata.store import Store


def put(column: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    """Return a change of one column."""
    return lambda rows: rows.set_column(rows.column_names.index(column), column, values)


WRONG = {
    "a column missing": (
        lambda rows: rows.drop(["label"]),
        r"columns of other types found: label missing \(expected int16\)",
    ),
    "text for numbers": (
        put("label", pa.array(["1"] * 52)),
        r"columns of other types found: label string \(expected int16\)",
    ),
    "wide numbers": (put("position", pa.array(range(52), pa.int64())), r"position int64 \(expected int32\)"),
    "rows missing": (lambda rows: rows.slice(0, 5), "5 rows found, expected 52 as index.json says"),
    "rows too many": (lambda rows: pa.concat_tables([rows, rows]), "104 rows found, expected 52"),
    "labels null": (put("label", pa.nulls(52, pa.int16())), "rows without label found, expected a value in every row"),
    "labels too high": (put("label", pa.array([99] * 52, pa.int16())), "labels 99 to 99 found, expected 0 to 7"),
    "labels below 0": (put("label", pa.array([-1] * 52, pa.int16())), "labels -1 to -1 found, expected 0 to 7"),
    "another split": (
        put("split", pa.array(["val"] * 52)),
        "rows 0 to 40 of other splits found, expected all in 'train'",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_table_that_is_not_of_this_data_set_is_named(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    """Loaders take every label from it: it must have the rows of the index, of the types of FORMAT.md."""
    root = tmp_path / "set"
    index = make_dataset(root)
    buffer = io.BytesIO()
    pq.write_table(change(read_samples(Store(str(root)), index)), buffer)
    forge_file(root, "samples.parquet", buffer.getvalue())

    for read in (
        lambda: read_samples(Store(str(root)), read_index(Store(str(root)))),
        lambda: ferdata.Loader(root, split="train", batch_size=2, num_workers=0),
        lambda: ferdata.ShardDataset(root, split="val"),
        lambda: recode(str(root), out=str(tmp_path / "recoded"), codec="raw"),
    ):
        with pytest.raises(
            ShardCorruptError, match=f"^{root}/samples.parquet: {message}|^{root}/samples.parquet: .*{message}"
        ):
            read()
    assert not (tmp_path / "recoded").exists()
    [error] = verify(str(root), num_workers=1).errors
    assert error.startswith(f"{root}/samples.parquet: ")


@pytest.mark.parametrize(
    "data", [b"", b"x", b"PAR1" * 10, b"PAR1" + bytes(100) + b"\x40\0\0\0PAR1"], ids=["empty", "x", "magic", "footer"]
)
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, data: bytes) -> None:
    """Arrow's own errors name no file."""
    root = tmp_path / "set"
    make_dataset(root)
    forge_file(root, "samples.parquet", data)

    for read in (
        lambda: ferdata.ShardDataset(root),
        lambda: export(str(root), to="folder", out=str(tmp_path / "exported")),
        lambda: preview(str(root), str(tmp_path / "sheet.png")),
    ):
        with pytest.raises(ShardCorruptError, match=f"^{root}/samples.parquet: .*expected a Parquet file"):
            read()
    assert not verify(str(root), num_workers=1).ok


def test_text_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    """It would be a UnicodeDecodeError in a worker, thousands of samples later."""
    index = make_dataset(tmp_path)
    rows = read_samples(Store(str(tmp_path)), index)
    keys = pa.array([b"\xff%d" % number for number in range(52)], pa.binary()).view(pa.string())
    buffer = io.BytesIO()
    pq.write_table(put("key", keys)(rows), buffer)
    forge_file(tmp_path, "samples.parquet", buffer.getvalue())

    with pytest.raises(ShardCorruptError, match=r"samples\.parquet: .*(UTF8|UTF-8)"):
        ferdata.ShardDataset(tmp_path, fields=("images", "keys"))


@pytest.mark.parametrize("column", ["key", "split", "path", "source_label"])
def test_a_small_table_that_would_fill_gigabytes_is_refused_before_it_does(tmp_path: Path, column: str) -> None:
    """One text of half a megabyte, repeated by a few bits a row: 60 kB of file, and two gigabytes of memory."""
    root = tmp_path / "set"
    index = make_dataset(root, samples={"train": 4000}, size=4)
    bomb = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array(["a" * (1 << 19)]))
    buffer = io.BytesIO()
    table = put(column, bomb)(read_samples(Store(str(root)), index))
    pq.write_table(table, buffer, compression="zstd", store_schema=False, dictionary_pagesize_limit=1 << 28)
    assert len(buffer.getvalue()) < 200_000
    forge_file(root, "samples.parquet", buffer.getvalue())
    before = pa.default_memory_pool().max_memory()

    with pytest.raises(
        ShardCorruptError, match=f"{root}/samples.parquet: 2,097,[0-9,]* bytes in 4,000 rows found, expected at most"
    ):
        read_samples(Store(str(root)), read_index(Store(str(root))))
    assert pa.default_memory_pool().max_memory() - before < 1 << 28


def test_texts_that_are_all_one_long_one_are_refused_whatever_their_page_is(tmp_path: Path) -> None:
    """The same without a dictionary: what a compressed page claims is looked at before it is inflated."""
    root = tmp_path / "set"
    index = make_dataset(root)
    table = put("path", pa.array(["a" * (1 << 22)] * 52))(read_samples(Store(str(root)), index))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    forge_file(root, "samples.parquet", buffer.getvalue())
    with pytest.raises(ShardCorruptError, match=r"218,1[0-9,]* bytes in 52 rows found, expected at most 1,474,560"):
        read_samples(Store(str(root)), read_index(Store(str(root))))


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        ([1.0], "soft_labels of 1 classes found, expected 8"),
        ([0.25] * 8, r"soft_labels \[0.25, .* found, expected probabilities of sum 1"),
        ([None] + [0.25] * 4 + [0.0] * 3, r"soft_labels \[nan, .* found, expected probabilities of sum 1"),
    ],
)
def test_soft_labels_that_are_none_are_refused_by_whoever_asks(
    tmp_path: Path, soft: list[float | None], message: str
) -> None:
    """A loss would take them as they are; who trains on labels alone does not read them."""
    index = make_dataset(tmp_path)
    change = put("soft_labels", pa.array([None] * 51 + [soft], pa.list_(pa.float32())))
    buffer = io.BytesIO()
    pq.write_table(change(read_samples(Store(str(tmp_path)), index)), buffer)
    forge_file(tmp_path, "samples.parquet", buffer.getvalue())
    with pytest.raises(ShardCorruptError, match=f"^{tmp_path}/samples.parquet: {message}"):
        ferdata.ShardDataset(tmp_path, fields=("images", "soft_labels"))
    assert len(ferdata.ShardDataset(tmp_path)) == 40


def test_lists_longer_than_the_classes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """Zeros take next to nothing in a file and four bytes each in memory."""
    index = make_dataset(tmp_path, samples={"train": 100})
    zeros = pa.array([0.0] * 5_000_000, pa.float32())
    lists = pa.ListArray.from_arrays(pa.array(range(0, 5_050_000, 50_000), pa.int32()), zeros)
    buffer = io.BytesIO()
    pq.write_table(put("soft_labels", lists)(read_samples(Store(str(tmp_path)), index)), buffer, compression="zstd")
    assert len(buffer.getvalue()) < 50_000
    forge_file(tmp_path, "samples.parquet", buffer.getvalue())
    del lists, zeros
    before = pa.total_allocated_bytes()
    with pytest.raises(ShardCorruptError, match="soft_labels: 5,000,000 values in 100 rows found, expected at most 8"):
        read_samples(Store(str(tmp_path)), read_index(Store(str(tmp_path))), ["label"])
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_more_rows_than_the_file_has_bytes_for_are_refused(tmp_path: Path) -> None:
    """An index that agrees may claim two billion samples, and a column of zeros holds as many in a few bytes."""
    index = make_dataset(tmp_path, samples={"train": 1})
    rows = read_samples(Store(str(tmp_path)), index)
    many = pa.table(
        {
            name: pa.chunked_array([rows.column(name).combine_chunks().take(pa.array([0] * 500_000))])
            for name in rows.column_names
        }
    )
    buffer = io.BytesIO()
    pq.write_table(many, buffer, compression="zstd", store_schema=False)
    assert len(buffer.getvalue()) < 500_000 // 16
    forge_file(tmp_path, "samples.parquet", buffer.getvalue())

    def claim(record: dict) -> None:
        record["counts"]["train"][0] += 500_000 - sum(record["counts"]["train"])
        record["shards"]["train"].update(samples=[500_000], num_bytes=[1 << 40])

    rewrite_index(tmp_path, claim)
    with pytest.raises(ShardCorruptError, match=r"500,000 rows in [0-9,]+ bytes found"):
        read_samples(Store(str(tmp_path)), read_index(Store(str(tmp_path))))


@pytest.mark.parametrize("name", ["index.json", "samples.parquet", "rejects.csv"])
def test_a_file_that_has_grown_to_gigabytes_is_refused_by_its_size(tmp_path: Path, name: str) -> None:
    """A sparse file of a terabyte takes no room on the disk; read whole, it ends the process."""
    index = make_dataset(tmp_path)
    os.truncate(tmp_path / name, 1 << 40)
    with pytest.raises(ShardCorruptError, match=f"{tmp_path}/{name}: 1,099,511,627,776 bytes found, expected"):
        read_index(Store(str(tmp_path)))
        read_file(Store(str(tmp_path)), next(info for info in index.files if info.name == name))
