"""The write half: every image of a real tree arrives once, in files whose bytes depend on source and settings alone."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from ingest_sources import (
    SIZE,
    SMALL_SHARD_BYTES,
    contents,
    folder_scan,
    jpeg,
    options,
    picture,
    rejects,
    samples,
    write_affectnet,
)
from PIL import Image
from trees_rafdb import put

from ferdata.errors import SourceError
from ferdata.format.index import read_index
from ferdata.ingest import IngestSummary, ingest, ingest_scan
from ferdata.ingest.reading import read_sources
from ferdata.ingest.select import selection
from ferdata.sources.scan import Reject, ScanBuilder
from ferdata.store import Store


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny images would all fit one shard; workers are forked, so they see this too."""
    monkeypatch.setattr(selection, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_affectnet(tmp_path_factory.mktemp("source") / "affectnet")


@pytest.fixture(scope="module")
def finished(affectnet: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IngestSummary]:
    out = tmp_path_factory.mktemp("out") / "shards"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)
        return out, ingest(options(affectnet, out))


def test_every_image_arrives_once_with_its_pixels_and_label(
    affectnet: Path, finished: tuple[Path, IngestSummary]
) -> None:
    """The promise of the whole write half, checked with zstandard, tarfile and Pillow alone."""
    found = samples(finished[0])

    assert len(found) == 72
    for split, folder, count in (("train", "train_set", 60), ("val", "val_set", 12)):
        for number in range(count):
            sample = found[next(k for k in found if found[k]["json"]["path"] == f"{folder}/images/{number}.jpg")]
            pixels = np.asarray(Image.open(affectnet / folder / "images" / f"{number}.jpg")).transpose(2, 0, 1)
            assert np.array_equal(sample["npy"], pixels)
            assert sample["split"] == split and sample["cls"] == number % 8
            assert sample["json"]["valence"] == number / 1000 and sample["json"]["arousal"] == -number / 1000
            assert sample["json"]["source_label"] == str(number % 8) and sample["json"]["source_size"] == [SIZE, SIZE]
            assert (
                sample["json"]["landmarks"][2:4] == [round(1 + number / 8, 2), 0.5]
                and len(sample["json"]["landmarks"]) == 136
            )


def test_the_index_and_the_table_tell_what_the_shards_hold(
    affectnet: Path, finished: tuple[Path, IngestSummary]
) -> None:
    """Counts, hashes, statistics and reading order, each recomputed from the files."""
    out = finished[0]
    index = read_index(Store(out))
    found = samples(out)
    rows = pq.read_table(out / "samples.parquet").to_pylist()

    assert index.counts == {"train": [8, 8, 8, 8, 7, 7, 7, 7], "val": [2, 2, 2, 2, 1, 1, 1, 1]}
    assert [row["key"] for row in rows] == list(found)
    train = np.stack([sample["npy"] for sample in found.values() if sample["split"] == "train"]).astype(float)
    assert index.mean == pytest.approx(train.mean(axis=(0, 2, 3)), abs=1e-9)
    assert index.std == pytest.approx(train.std(axis=(0, 2, 3)), abs=1e-9)
    for info in index.shards:
        data = (out / info.name).read_bytes()
        mine = [row for row in rows if row["split"] == info.split and row["shard"] == int(info.name[-14:-8])]
        assert (info.num_bytes, info.xxh64, info.samples) == (len(data), xxhash.xxh64_hexdigest(data), len(mine))
        assert [row["position"] for row in mine] == list(range(len(mine)))
        assert all(row["frame"] == 2 * row["position"] + 1 for row in mine)
    for row in rows:
        data = (affectnet / row["path"]).read_bytes()
        assert (row["source_bytes"], row["source_xxh64"]) == (len(data), xxhash.xxh64_intdigest(data))
        assert (row["split"], row["label"]) == (found[row["key"]]["split"], found[row["key"]]["cls"])


def test_neighbours_in_the_shards_are_strangers_in_the_source(finished: tuple[Path, IngestSummary]) -> None:
    """The order is a seeded permutation of the whole split."""
    numbers = [
        int(row["path"].split("/")[-1][:-4]) for row in pq.read_table(finished[0] / "samples.parquet").to_pylist()[:60]
    ]

    assert sorted(numbers) == list(range(60))
    assert np.abs(np.diff(numbers)).mean() > 12


def test_the_summary_accounts_for_every_row(finished: tuple[Path, IngestSummary]) -> None:
    """And writes at least the keys the command line promises."""
    out, summary = finished
    text = json.loads(json.dumps(summary.to_json()))

    assert {"accepted", "skipped", "rejected", "images_per_second", "bytes_in", "bytes_out", "samples", "codec"} <= set(
        text
    )
    assert (text["accepted"], text["skipped"], text["rejected"], text["rows"]) == (72, {}, {}, 72)
    assert text["samples"] == {"train": 60, "val": 12} and text["class_counts"]["val"]["Contempt"] == 1
    assert text["bytes_out"] == sum(path.stat().st_size for path in out.glob("*.tar.zst"))
    assert text["images_per_second"] > 0 and text["is_new"] and text["codec"] == "zstd"
    assert any("not of 224 x 224 pixels" in note for note in summary.notes) and summary.repairs["unusual_size"] == 72


def test_bad_images_are_rejected_with_their_reasons(tmp_path: Path) -> None:
    """Missing, empty, cut, foreign, and one that is fine under a wrong name; the run goes on and the rest is whole."""
    good = {f"faces/{number}.jpg": jpeg(number) for number in range(30)}
    bad = {
        "empty.jpg": b"",
        "cut.jpg": jpeg(1)[:300],
        "page.jpg": b"<html>404</html>",
        "gone.jpg": b"x",
        "folder.jpg": b"x",
    }
    png = io.BytesIO()
    picture(99).save(png, "PNG")
    scan = folder_scan(tmp_path / "src", good | bad | {"png.JPG": png.getvalue()})
    (tmp_path / "src" / "gone.jpg").unlink()
    (tmp_path / "src" / "folder.jpg").unlink()
    (tmp_path / "src" / "folder.jpg").mkdir()
    scan.rejects.append(
        Reject(path="training.csv", reason="bad_row", detail="NULL in face_x", split="train", row=315_313)
    )

    summary = ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder"))

    assert summary.accepted == 31 and summary.rejected == {
        "image_corrupt": 3,
        "image_missing": 1,
        "image_unreadable": 1,
        "bad_row": 1,
    }
    assert summary.rows == 37
    listed = {(row["path"], row["reason"]) for row in rejects(tmp_path / "out")}
    assert listed == {
        ("empty.jpg", "image_corrupt"),
        ("cut.jpg", "image_corrupt"),
        ("page.jpg", "image_corrupt"),
        ("gone.jpg", "image_missing"),
        ("folder.jpg", "image_unreadable"),
        ("training.csv", "bad_row"),
    }
    rows = rejects(tmp_path / "out")
    assert rows[0]["row"] == "315313" and rows[0]["detail"] == "NULL in face_x"
    assert all(row["split"] == "train" and row["detail"] and str(tmp_path) not in row["detail"] for row in rows)
    assert {row["key"] for row in rows[1:]} == {f"item_{number}" for number in range(30, 35)}
    found = samples(tmp_path / "out")
    assert set(found) == {f"item_{number}" for number in [*range(30), 35]}
    assert np.array_equal(found["item_35"]["npy"], np.asarray(picture(99)).transpose(2, 0, 1))


def test_a_shard_of_nothing_but_rejects_is_not_written(tmp_path: Path) -> None:
    """The others keep their names, the table counts only shards that exist, and the reader finds every sample."""
    scan = folder_scan(tmp_path / "src", {f"{number}.jpg": jpeg(number) for number in range(60)})
    plan_shards = {}
    summary = ingest_scan(scan, options(tmp_path / "src", tmp_path / "all", source="folder"))
    for row in pq.read_table(tmp_path / "all" / "samples.parquet").to_pylist():
        plan_shards.setdefault(row["shard"], []).append(row["path"])
    assert summary.num_shards > 2
    for path in plan_shards[1]:
        (tmp_path / "src" / path).write_bytes(b"broken")

    summary = ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder", num_workers=2))

    index = read_index(Store(tmp_path / "out"))
    rows = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    assert summary.rejected == {"image_corrupt": len(plan_shards[1])}
    assert [info.name for info in index.shards] == sorted(p.name for p in (tmp_path / "out").glob("*.zst"))
    assert "train-000001.tar.zst" not in {info.name for info in index.shards}
    assert sorted({row["shard"] for row in rows}) == list(range(len(index.shards)))
    assert [row["key"] for row in rows] == list(samples(tmp_path / "out"))


def test_a_source_without_one_usable_image_is_an_error(tmp_path: Path) -> None:
    """No empty data set; the reasons are said, with the first file, and listed; the run can be repeated there."""
    scan = folder_scan(tmp_path / "src", {f"{number}.jpg": b"broken" for number in range(9)})

    for fields in ({}, {}, {"resume": False}):
        with pytest.raises(
            SourceError,
            match=r"src: not one image could be used \(image_corrupt 9\), expected some; "
            r"check the folder and src=; the first is "
            r"\d\.jpg: 6 bytes that start with .*out/rejects\.csv lists every one\)$",
        ):
            ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder", **fields))

        assert list(contents(tmp_path / "out")) == ["rejects.csv"] and len(rejects(tmp_path / "out")) == 9


def test_boxes_and_landmarks_go_through_the_crop(tmp_path: Path) -> None:
    """AffectNet's CSV gives both in pixels of the photograph."""
    (tmp_path / "src").mkdir()
    picture(5, 80).save(tmp_path / "src" / "a.png")
    builder = ScanBuilder()
    builder.accept(
        key="a",
        path="a.png",
        split="train",
        label=0,
        source_label="1",
        box=[10, 20, SIZE, SIZE],
        landmarks=[10, 20, 33, 43.5],
        extra={"age": 3},
    )
    builder.accept(key="b", path="a.png", split="train", label=0, source_label="1", box=[-4, -4, 50, 50])
    builder.accept(key="c", path="a.png", split="train", label=0, source_label="1", box=[99, 0, 5, 5])
    scan = builder.build(source="folder", layout="folder", root=str(tmp_path / "src"), classes=("a",))

    summary = ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder"))

    found = samples(tmp_path / "out")
    assert np.array_equal(found["a"]["npy"], np.asarray(picture(5, 80))[20:44, 10:34].transpose(2, 0, 1))
    record = {
        "path": "a.png",
        "source_label": "1",
        "valence": None,
        "arousal": None,
        "box": [10.0, 20.0, 24.0, 24.0],
        "source_size": [80, 80],
    }
    assert found["a"]["json"] == record | {"landmarks": [0.0, 0.0, 23.0, 23.5], "extra": {"age": 3}}
    assert summary.repairs == {"box_clamped": 1} and summary.rejected == {"box_invalid": 1}

    whole = ingest_scan(scan, options(tmp_path / "src", tmp_path / "whole", source="folder", crop="none"))
    assert [sample["json"]["box"] for _, sample in sorted(samples(tmp_path / "whole").items())] == [
        record["box"],
        [-4, -4, 50, 50],
        None,
    ]
    assert whole.repairs == {"box_invalid": 1} and whole.rejected == {}


def test_a_pipe_with_the_name_of_an_image_is_rejected(tmp_path: Path) -> None:
    """The other images of its shard are written as ever."""
    put(tmp_path / "src/train/Happy/a.jpg", jpeg(1))
    put(tmp_path / "src/train/Sad/b.jpg", jpeg(2))
    os.mkfifo(tmp_path / "src/train/Sad/c.jpg")

    summary = ingest(options(tmp_path / "src", tmp_path / "out"))

    assert (summary.samples, summary.rejected) == ({"train": 2}, {"image_unreadable": 1})
    assert "a pipe or device found, expected a regular file" in rejects(tmp_path / "out")[0]["detail"]


def test_values_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    """One NaN in an annotation must neither end the run nor get into a member that other parsers stop at."""
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    builder = ScanBuilder()
    nan, infinite = float("nan"), float("inf")
    builder.accept(
        key="a",
        path="a.jpg",
        split="train",
        label=0,
        source_label="0",
        valence=nan,
        arousal=0.5,
        landmarks=[nan, 1.0],
        extra={"soft": [infinite, 1]},
    )
    scan = builder.build(source="folder", layout="folder", root=str(tmp_path), classes=("a",))

    ingest_scan(scan, options(tmp_path, tmp_path / "out", source="folder"))

    record = samples(tmp_path / "out")["a"]["json"]
    assert (record["valence"], record["arousal"], record["landmarks"], record["extra"]) == (
        None,
        0.5,
        None,
        {"soft": [None, 1]},
    )


def test_any_number_of_workers_gives_the_same_files(
    affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path
) -> None:
    """Names and bytes, hidden files too, whatever the order in which shards are finished."""
    assert len(read_index(Store(finished[0])).shards) >= 4

    for workers in (2, 3):
        ingest(options(affectnet, tmp_path / str(workers), num_workers=workers))

        assert contents(tmp_path / str(workers)) == contents(finished[0])


def test_a_copy_of_the_tree_in_another_place_gives_the_same_files(
    finished: tuple[Path, IngestSummary], tmp_path: Path
) -> None:
    """No path of this machine gets into a data set."""
    ingest(options(write_affectnet(tmp_path / "elsewhere"), tmp_path / "out"))

    assert contents(tmp_path / "out") == contents(finished[0])


def test_another_seed_gives_the_same_samples_in_another_order(
    affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path
) -> None:
    """Nothing but the order depends on it."""
    ingest(options(affectnet, tmp_path / "out", seed=1))

    ours, theirs = samples(tmp_path / "out"), samples(finished[0])
    assert set(ours) == set(theirs) and list(ours) != list(theirs)
    assert all(np.array_equal(ours[key]["npy"], theirs[key]["npy"]) for key in ours)


def test_the_codec_changes_neither_samples_nor_their_order(
    affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path
) -> None:
    """Loader states carry over from one codec to the other."""
    ingest(options(affectnet, tmp_path / "out", codec="raw"))

    assert list(samples(tmp_path / "out")) == list(samples(finished[0]))
    assert read_index(Store(tmp_path / "out")).fingerprint == read_index(Store(finished[0])).fingerprint


def test_a_data_set_behind_a_url_is_the_same(
    affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path
) -> None:
    """Through fsspec, part records included; the folder is one that fsspec alone knows to be local."""
    summary = ingest(options(affectnet, f"local://{tmp_path}/out", num_workers=2))

    assert summary.accepted == 72 and contents(tmp_path / "out") == contents(finished[0])
    assert not ingest(options(affectnet, f"local://{tmp_path}/out")).is_new


def test_rows_of_parquet_files_are_read_in_the_order_they_lie(tmp_path: Path) -> None:
    """And come out in the order they are asked for, beside the error for one that is not there."""
    images = [{"bytes": jpeg(number), "path": None} for number in range(20)]
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", row_group_size=4)
    builder = ScanBuilder()
    order = [int(number) for number in np.random.default_rng(0).permutation(20)] + [77]
    for number in order:
        builder.accept(key=f"k{number}", path=f"a.parquet#{number}", split="train", label=0, source_label="0")
    items = builder.build(source="folder", layout="folder", root=str(tmp_path), classes=("a",)).items

    *found, error = read_sources(str(tmp_path), items)

    assert found == [jpeg(number) for number in order[:-1]]
    assert isinstance(error, Exception) and "a.parquet#77" in str(error)
