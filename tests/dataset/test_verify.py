"""verify finds every fault, goes on after each, and finds none where there is none."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from make_dataset import CODECS, SAMPLES, expected_key, expected_pixels, make_dataset

from ferdata.dataset.verify import VerifyReport, verify
from ferdata.errors import OptionError
from ferdata.format import (
    DatasetIndex,
    ShardInfo,
    ShardReader,
    ShardTable,
    ShardWriter,
    read_samples,
    write_index,
    write_samples,
)
from ferdata.store import Store


def rewrite(root: Path, index: DatasetIndex, rows: pa.Table | None = None, **changes: object) -> DatasetIndex:
    """Write the index again with other members, and other rows with a fitting checksum, as a faulty writer would."""
    if rows is not None:
        changes["files"] = (write_samples(Store(str(root)), rows), *index.files[1:])
    changed = dataclasses.replace(index, **changes | {"shards": ShardTable.of(changes.get("shards", index.shards))})
    write_index(Store(str(root)), changed)
    return changed


def rewrite_shard(
    root: Path, index: DatasetIndex, number: int, samples: list[tuple[str, int, dict, np.ndarray]]
) -> None:
    """Write a shard again with other samples, and an index that is true of its bytes."""
    info = index.shards[number]
    with (root / info.name).open("wb") as file:
        writer = ShardWriter(file, index.members, index.codec)
        for sample in samples:
            writer.add(*sample)
        written = writer.close()
    shards = list(index.shards)
    shards[number] = ShardInfo.of(written, name=info.name, split=info.split)
    rewrite(root, index, shards=tuple(shards))


def samples_of(root: Path, index: DatasetIndex, number: int) -> list[tuple[str, int, dict, np.ndarray]]:
    with ShardReader(Store(str(root)), index.shards[number], index) as reader:
        return [(sample.key, sample.label, sample.record, sample.pixels) for sample in reader]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("samples", [SAMPLES, {"val": 3}, {"train": 0, "test": 1}, {}])
def test_a_sound_data_set_has_no_fault(tmp_path: Path, codec: str, deep: bool, samples: dict[str, int]) -> None:
    """A check that cries wolf is soon switched off."""
    index = make_dataset(tmp_path, codec=codec, samples=samples)
    (tmp_path / "README.txt").write_text("notes of the owner are no fault")
    (tmp_path / "train-000000.tar.zst.partial-17").write_text("nor is what a killed run has left")

    report = verify(str(tmp_path), deep=deep, num_workers=1)

    assert report == VerifyReport(ok=True, shards=len(index.shards), samples=sum(samples.values()), errors=[])
    assert report.to_json() == {"ok": True, "shards": len(index.shards), "samples": sum(samples.values()), "errors": []}


def test_every_fault_is_listed_and_the_check_goes_on(tmp_path: Path) -> None:
    """The user wants to know all files to fetch again, not the first."""
    index = make_dataset(tmp_path)
    names = [info.name for info in index.shards]
    for name in (names[0], "samples.parquet", "rejects.csv"):
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2] ^= 16
        (tmp_path / name).write_bytes(data)
    (tmp_path / names[1]).unlink()
    os.truncate(tmp_path / names[2], 100)
    (tmp_path / "val-000007.tar.zst").write_bytes(b"left over")

    for deep in (False, True):
        report = verify(str(tmp_path), deep=deep, num_workers=2)

        text = "\n".join(report.errors)
        assert not report.ok
        assert report.shards == 4
        for name in ("val-000007.tar.zst", "samples.parquet", "rejects.csv", *names[:3]):
            assert f"{tmp_path}/{name}: " in text
        assert "val-000007.tar.zst: a shard that index.json does not list" in text
        assert f"{names[0]}: XXH64 " in text
        assert f"{names[1]}: no such file" in text
        assert f"{names[2]}: 100 bytes found, expected" in text
        assert names[3] not in text
        assert len(report.errors) == 6 + deep  # deep also names the sample that the flipped bit has hit


@pytest.mark.parametrize(
    "name", ["samples.parquet", "rejects.csv", "train-000000.tar.zst", "train-000002.tar", "val-000000.tar"]
)
def test_one_bit_of_any_file_is_found(tmp_path: Path, name: str) -> None:
    """Without decoding anything: the XXH64 of the file is enough."""
    make_dataset(tmp_path, codec="raw" if name.endswith(".tar") else "zstd")
    path, sound = tmp_path / name, (tmp_path / name).read_bytes()
    for bit in np.linspace(0, 8 * len(sound) - 1, 25).astype(int).tolist():
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        report = verify(str(tmp_path), num_workers=1)
        assert not report.ok
        assert all(str(path) in error for error in report.errors)
    path.write_bytes(sound)
    assert verify(str(tmp_path), num_workers=1).ok


def test_a_folder_without_an_index_is_a_fault_and_no_traceback(tmp_path: Path) -> None:
    """``verify`` on a wrong path must say so, and not that nothing is wrong."""
    report = verify(str(tmp_path / "nowhere"))

    assert (report.ok, report.shards, report.samples) == (False, 0, 0)
    assert report.errors[0].startswith(f"{tmp_path}/nowhere: no index.json found")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.slice(1), "51 rows found, expected 52 as index.json says"),
        (
            lambda rows: rows.take([1, 0, *range(2, 52)]),
            "the rows 0 to 16 are not those of train-000000.tar.zst, sample by sample",
        ),
        (lambda rows: put(rows, "label", 20, 7), "samples per class in split 'train', expected"),
        (lambda rows: put(rows, "label", 20, 8), "labels 0 to 8 found, expected 0 to 7"),
        (lambda rows: put(rows, "label", 20, -1), "labels -1 to 7 found, expected 0 to 7"),
        (lambda rows: put(rows, "key", 20, expected_key(21)), "1 keys found twice, expected every key once"),
        (lambda rows: put(rows, "split", 45, "train"), "rows 40 to 52 of other splits found, expected all in 'val'"),
        (lambda rows: put(rows, "frame", 17, 0), "the rows 16 to 32 are not those of train-000001.tar.zst"),
        (lambda rows: put(rows, "shard", 17, 5), "the rows 16 to 32 are not those of train-000001.tar.zst"),
    ],
)
def test_rows_that_do_not_fit_the_index_are_found(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    """Checksums prove that bytes are as written; counts prove that what was written makes sense."""
    index = make_dataset(tmp_path)
    rewrite(tmp_path, index, change(read_samples(Store(str(tmp_path)), index)))

    errors = verify(str(tmp_path), num_workers=1).errors
    assert any(error.startswith(f"{tmp_path}/samples.parquet: ") and message in error for error in errors), errors


def put(rows: pa.Table, column: str, row: int, value: object) -> pa.Table:
    """Return the rows with one other value."""
    values = rows.column(column).to_pylist()
    values[row] = value
    place = rows.column_names.index(column)
    return rows.set_column(place, column, pa.array(values, rows.schema.field(column).type))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"counts": {"train": [40] + [0] * 7, "val": [13] + [0] * 7}},
            "counts.val: [13, 0, 0, 0, 0, 0, ...] found, expected a sum of 12, the samples of its shards",
        ),
        (
            {"counts": {"train": [40], "val": [12] + [0] * 7}},
            "counts.train: [40] found, expected 8 numbers, one per class",
        ),
        ({"mean": (1.0,)}, "mean: [1.0] found, expected 3 numbers, one per channel"),
    ],
)
def test_an_index_that_contradicts_itself_is_found(tmp_path: Path, changes: dict, message: str) -> None:
    """Whatever trains on the counts (class weights, progress) would be wrong in silence."""
    index = make_dataset(tmp_path)
    rewrite(tmp_path, index, **changes)

    assert any(f"{tmp_path}/index.json: {message}" in error for error in verify(str(tmp_path), num_workers=1).errors)


def test_shards_out_of_order_or_with_other_names_are_found(tmp_path: Path) -> None:
    """Reading order is the index's order; the names must not tell another."""
    index = make_dataset(tmp_path)
    for shards in (index.shards[::-1], (index.shards[1], index.shards[0], *index.shards[2:])):
        rewrite(tmp_path, index, shards=shards)
        assert "every shard once, in the order of numbers" in "".join(verify(str(tmp_path), num_workers=1).errors)
    os.rename(tmp_path / "val-000000.tar.zst", tmp_path / "val-000009.tar.zst")
    rewrite(
        tmp_path, index, shards=(*index.shards[:3], dataclasses.replace(index.shards[3], name="val-000009.tar.zst"))
    )
    assert verify(str(tmp_path), deep=True, num_workers=1).ok  # a number may be left out


def test_deep_finds_samples_that_are_not_the_table_s(tmp_path: Path) -> None:
    """Right checksums over wrong samples: two samples swapped, a label or a path changed before it was written."""
    index = make_dataset(tmp_path)
    sound = samples_of(tmp_path, index, 1)
    swapped = [sound[1], sound[0], *sound[2:]]
    relabelled = [(sound[0][0], 7, *sound[0][2:]), *sound[1:]]
    moved = [(*sound[0][:2], sound[0][2] | {"path": "elsewhere.jpg"}, sound[0][3]), *sound[1:]]
    for samples, message in (
        (swapped, "sample 0 has key 'face-000017', expected 'face-000016' as in samples.parquet"),
        (relabelled, "sample 0 has label 7, expected 1 as in samples.parquet"),
        (moved, "sample 0 has path 'elsewhere.jpg', expected 'images/16.jpg' as in samples.parquet"),
    ):
        rewrite_shard(tmp_path, index, 1, samples)
        assert verify(str(tmp_path), num_workers=1).ok
        errors = verify(str(tmp_path), deep=True, num_workers=1).errors
        assert f"{tmp_path}/train-000001.tar.zst: {message}; run 'shard --fresh'" in errors


def test_deep_finds_pixels_that_do_not_give_the_index_s_mean_and_deviation(tmp_path: Path) -> None:
    """One black picture among forty, or a mean of another data set, changes what every batch is normalised by."""
    index = make_dataset(tmp_path)
    sound = samples_of(tmp_path, index, 1)
    rewrite_shard(tmp_path, index, 1, [(*sound[0][:3], np.zeros((3, 16, 16), np.uint8)), *sound[1:]])
    errors = verify(str(tmp_path), deep=True, num_workers=1).errors
    assert len(errors) == 3
    assert (
        f"{tmp_path}/index.json: mean {index.mean[0]:.6f} and deviation {index.std[0]:.6f} of channel 0, expected "
        in errors[0]
    )

    train = np.stack([expected_pixels(number, 16) for number in range(40)]).transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(index.mean, train.mean(axis=1))
    np.testing.assert_allclose(index.std, train.std(axis=1))


def test_deep_names_every_damaged_sample_but_not_thousands_of_them(tmp_path: Path) -> None:
    """A stretch of a disk that is gone spoils many samples; the rest of the shard is still looked at."""
    index = make_dataset(tmp_path, samples={"train": 60}, samples_per_shard=60)
    path = tmp_path / index.shards[0].name
    data = bytearray(path.read_bytes())
    data[100:-2000] = bytes(len(data) - 2100)
    path.write_bytes(data)
    errors = verify(str(tmp_path), deep=True, num_workers=1).errors

    assert errors[0].startswith(f"{path}: XXH64 ")
    assert errors[1].startswith(f"{path}: head of sample 0: a zstd frame is damaged")
    assert errors[2].startswith(f"{path}: head of sample 1: a zstd frame is damaged")
    assert "more errors of this kind" in errors[-1]
    assert len(errors) == 22


@pytest.mark.parametrize("num_workers", [1, 3, None])
def test_progress_counts_every_shard_whatever_the_number_of_workers(tmp_path: Path, num_workers: int | None) -> None:
    """A bar that ends before its end looks like a fault."""
    make_dataset(tmp_path)
    calls: list[tuple[int, int]] = []
    report = verify(
        str(tmp_path), deep=True, num_workers=num_workers, progress=lambda done, total: calls.append((done, total))
    )

    assert report.ok
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_no_workers_at_all_is_refused(tmp_path: Path) -> None:
    """Zero threads would wait for ever."""
    make_dataset(tmp_path)
    with pytest.raises(OptionError, match="workers: 0 found, expected at least 1"):
        verify(str(tmp_path), num_workers=0)


def test_a_data_set_behind_a_url_is_verified_too(tmp_path: Path) -> None:
    """What was uploaded is what must be checked."""
    url = f"memory://{tmp_path}"
    index = make_dataset(url)
    assert verify(url, deep=True, num_workers=2).ok

    store = Store(url)
    data = bytearray(store.read(index.shards[2].name))
    data[-1] ^= 1
    with store.write_atomic(index.shards[2].name) as file:
        file.write(data)
    with store.write_atomic("val-000001.tar.zst") as file:
        file.write(data)
    errors = verify(url, num_workers=2).errors
    names = [error.partition(":///")[2].partition(": ")[0].rpartition("/")[2] for error in errors]
    assert names == ["val-000001.tar.zst", "train-000002.tar.zst"]
    store.remove("")
