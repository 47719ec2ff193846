"""Large data sets: a million shards in the index, and a table whose rows are read a few at a time, all checked."""

import dataclasses
import resource
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forging import rewrite_index
from make_dataset import expected_key, expected_label, make_dataset
from webserver import serve

import ferdata
from ferdata.dataset.verify import verify
from ferdata.errors import ShardCorruptError
from ferdata.format import SamplesFile, ShardInfo, ShardTable, read_index, samples, write_index
from ferdata.store import Store

NUM_SHARDS = 200_000


@pytest.fixture
def in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data set whose table is read in parts, as one of gigabytes is: row groups of two shards, of 10 rows."""
    monkeypatch.setattr(samples, "_GROUP_ROWS", 10)
    monkeypatch.setattr(samples, "_WHOLE_BYTES", 0)
    make_dataset(tmp_path, samples={"train": 44, "val": 7}, samples_per_shard=5, size=4)
    return tmp_path


def test_an_index_of_very_many_shards_is_written_and_read(tmp_path: Path) -> None:
    """A million as JSON objects would take gigabytes and many seconds, in each of a thousand ranks."""
    index = make_dataset(tmp_path, size=4, samples={"train": 5})
    hashes = [f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}" for number in range(NUM_SHARDS)]
    columns = {
        "number": [*range(NUM_SHARDS)],
        "samples": [890] * NUM_SHARDS,
        "num_bytes": [52_345_678] * NUM_SHARDS,
        "xxh64": hashes,
        "tail_xxh64": hashes[::-1],
    }
    table = ShardTable.from_json({"train": columns}, ".tar.zst")
    assert table.to_json(["train"]) == {"train": columns}
    counts = {"train": [890 * NUM_SHARDS, *[0] * 7]}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_index(Store(tmp_path), dataclasses.replace(index, shards=table, counts=counts))
    found = read_index(Store(tmp_path))

    assert (tmp_path / "index.json").stat().st_size < 64 * NUM_SHARDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # of kilobytes
    assert found.num_samples("train") == 890 * NUM_SHARDS
    assert found.shards[NUM_SHARDS - 1] == ShardInfo(
        name="train-199999.tar.zst",
        split="train",
        samples=890,
        num_bytes=52_345_678,
        xxh64=hashes[-1],
        tail_xxh64=hashes[0],
    )


def test_shards_beyond_a_million_have_longer_names(tmp_path: Path) -> None:
    """Six digits are not enough for 10^9 images."""
    index = make_dataset(tmp_path, size=4, samples={"train": 10}, samples_per_shard=5)
    renamed = [
        dataclasses.replace(info, name=f"train-{number}.tar.zst")
        for info, number in zip(index.shards, ("999999", "1000000"), strict=True)
    ]
    for old, new in zip(index.shards, renamed, strict=True):
        (tmp_path / old.name).rename(tmp_path / new.name)
    write_index(Store(tmp_path), dataclasses.replace(index, shards=ShardTable.of(renamed)))

    assert [info.name for info in read_index(tmp_path).shards] == ["train-999999.tar.zst", "train-1000000.tar.zst"]
    assert verify(str(tmp_path), deep=True).ok


def test_row_groups_end_where_shards_do(in_parts: Path) -> None:
    """What a shard needs is then in one group; small sets have one, as before."""
    table = pq.ParquetFile(in_parts / "samples.parquet")
    rows = [table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)]

    assert rows == [10, 10, 10, 10, 11]  # the fifth: 4 of train, 5 and 2 of val
    assert table.read().column("key").to_pylist() == [expected_key(number) for number in range(51)]


@pytest.mark.parametrize("ends", [[], [5, 20, 44], [10, 20, 30, 40], [*range(5, 44, 5), 44, 49]])
def test_a_table_that_comes_in_pieces_is_the_same_file(in_parts: Path, ends: list[int]) -> None:
    """`shard` never has it whole; where the pieces end, as long as shards do there, is not to be seen."""
    store, index = Store(in_parts), read_index(in_parts)
    before = (in_parts / "samples.parquet").read_bytes()
    rows = samples.read_samples(store, index).cast(samples.SAMPLES_SCHEMA).combine_chunks()

    info = samples.write_samples(store, (rows.slice(start, end - start) for start, end in pairwise([0, *ends, 51])))

    assert info == index.files[0] and (in_parts / "samples.parquet").read_bytes() == before


def test_any_rows_are_read_alone(in_parts: Path) -> None:
    """A rank reads what it needs: the same rows, and no byte of others."""
    store, index = Store(in_parts), read_index(in_parts)
    file = SamplesFile(store, index)
    whole = pq.read_table(in_parts / "samples.parquet")
    assert file.group_ends.tolist() == [10, 20, 30, 40, 51]
    for start, stop in ((0, 51), (0, 1), (9, 10), (9, 11), (10, 20), (25, 44), (44, 51), (50, 51), (20, 20), (0, 0)):
        found = file.read(["key", "label"], start, stop)
        assert found.equals(whole.select(["key", "label"]).slice(start, stop - start)), (start, stop)
    assert file.read().column("key").to_pylist() == whole.column("key").to_pylist()

    data = bytearray((in_parts / "samples.parquet").read_bytes())
    keep = data[: pq.read_metadata(in_parts / "samples.parquet").row_group(1).column(0).data_page_offset]
    (in_parts / "samples.parquet").write_bytes(keep + bytes(len(data) - len(keep)))
    with pytest.raises(ShardCorruptError, match=r"the XXH64 of its bytes [0-9,]+ to [0-9,]+ is not the one in index"):
        SamplesFile(store, index)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    (in_parts / "samples.parquet").write_bytes(keep + bytes(footer - len(keep)) + data[footer:])
    assert SamplesFile(store, index).read(None, 3, 7).column("key")[0].as_py() == expected_key(3)
    with pytest.raises(ShardCorruptError, match=r"samples\.parquet: the XXH64 of its bytes"):
        SamplesFile(store, index).read(None, 33, 34)


def test_any_flipped_byte_of_the_table_is_found_by_whoever_reads_that_part(in_parts: Path) -> None:
    """The checksum of the whole file is never computed by ranks that read parts of it."""
    store, index, path = Store(in_parts), read_index(in_parts), in_parts / "samples.parquet"
    data = path.read_bytes()
    for place in [*np.random.default_rng(0).integers(0, len(data), 60).tolist(), 0, 3, len(data) - 1, len(data) - 6]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ShardCorruptError, match=r"samples\.parquet: "):
            SamplesFile(store, index).read()
    path.write_bytes(data[:-1])
    with pytest.raises(ShardCorruptError, match=r"[0-9,]+ bytes found, expected [0-9,]+ as index.json says"):
        SamplesFile(store, index)


def test_parts_are_read_behind_a_url(in_parts: Path) -> None:
    """A rank far from its data reads a footer and the chunks of its rows."""
    with serve(in_parts) as server:
        found = SamplesFile(Store(server.url), read_index(server.url)).read(["label"], 12, 14)
        assert len(server.asked) == 3, "index, footer, labels"
        data = ferdata.ShardDataset(server.url, split="val")

    assert found.column("label").to_pylist() == [expected_label(12), expected_label(13)]
    assert [data[number][1] for number in (0, 6)] == [expected_label(44), expected_label(50)]


def test_a_table_of_a_faulty_writer_is_refused(in_parts: Path) -> None:
    """Checksums that fit prove that the bytes are as written, not that the writer was right."""
    store = Store(in_parts)
    original = (in_parts / "index.json").read_bytes()
    rewrite_index(in_parts, lambda record: record["files"][0]["parts_xxh64"].pop(3))
    with pytest.raises(ShardCorruptError, match=r"checksums of 75 parts found in index\.json, expected one of each"):
        SamplesFile(store, read_index(in_parts)).read(["label"], 0, 1)
    assert "checksums of 75 parts" in verify(str(in_parts)).errors[0]
    rewrite_index(in_parts, lambda record: record["files"][0].update(parts_xxh64=[]))
    with pytest.raises(ShardCorruptError, match="no checksums of its parts found"):
        SamplesFile(store, read_index(in_parts))
    (in_parts / "index.json").write_bytes(original)

    rows = pq.read_table(in_parts / "samples.parquet")
    labels = rows.column("label").to_pylist()
    labels[22] = 8
    info = samples.write_samples(store, rows.set_column(2, "label", pa.array(labels, pa.int16())))
    index = read_index(in_parts)
    write_index(store, dataclasses.replace(index, files=(info, index.files[1])))
    file = SamplesFile(store, read_index(in_parts))
    assert file.read(["label"], 0, 20).num_rows == 20
    with pytest.raises(ShardCorruptError, match=r"labels [0-9] to 8 found, expected 0 to 7"):
        file.read(["label"], 20, 21)
