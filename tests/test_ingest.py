"""The write half: real trees, real processes, real kills; every row accounted for, every byte reproducible."""

import csv
import io
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ferdata.errors import IngestError, OptionError, SourceError, WorkerError
from ferdata.format.index import read_index
from ferdata.ingest import IngestOptions, IngestProgress, IngestSummary, ingest, ingest_scan, select
from ferdata.ingest.identity import scan_hash
from ferdata.ingest.leaks import shared_between_splits
from ferdata.ingest.parts import clear
from ferdata.ingest.pool import run_tasks
from ferdata.ingest.records import longest_record, make_record
from ferdata.ingest.tasks import _moments, read_sources
from ferdata.sample import ItemTable
from ferdata.sources.scan import Reject, Scan, ScanBuilder
from ferdata.store import Store
from ferdata.transform import Transformed

SIZE = 24
SMALL_SHARD_BYTES = 50_000
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny images would all fit one shard; workers are forked, so they see this too."""
    monkeypatch.setattr(select, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)


def picture(number: int, size: int = SIZE) -> Image.Image:
    """A picture that is a formula of its number."""
    y, x = np.mgrid[:size, :size]
    return Image.fromarray(
        np.stack([(x * 7 + number * 13) % 256, (y * 5 + number) % 256, (x * y + number * 3) % 256], axis=2).astype(np.uint8)
    )


def jpeg(number: int, size: int = SIZE) -> bytes:
    file = io.BytesIO()
    picture(number, size).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_affectnet(root: Path, train: int = 60, val: int = 12) -> Path:
    """AN-npy in its true layout: the class of image i is i % 8; landmark k of image i is (k + i / 8, k / 2)."""
    for folder, count, offset in (("train_set", train, 0), ("val_set", val, 10_000)):
        (root / folder / "images").mkdir(parents=True)
        (root / folder / "annotations").mkdir()
        for number in range(count):
            (root / folder / "images" / f"{number}.jpg").write_bytes(jpeg(number + offset))
            for kind, value in (("exp", number % 8), ("val", number / 1000), ("aro", -number / 1000)):
                np.save(root / folder / "annotations" / f"{number}_{kind}.npy", np.array(str(value)))
            points = np.stack([np.arange(68) + number / 8, np.arange(68) / 2], axis=1).ravel()
            np.save(root / folder / "annotations" / f"{number}_lnd.npy", points)
    return root


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_affectnet(tmp_path_factory.mktemp("source") / "affectnet")


def options(src: Path | str, out: Path | str, **fields: object) -> IngestOptions:
    return IngestOptions(**({"source": "affectnet", "src": str(src), "out": str(out), "size": SIZE, "num_workers": 1} | fields))


def members(out: Path) -> Iterator[tuple[str, str, bytes]]:
    """(split, member name, content) of every shard, read with nothing of ours."""
    for path in sorted(out.glob("*.tar*")):
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if member.name != "__table__":
                    yield path.name.split("-")[0], member.name, tar.extractfile(member).read()


def samples(out: Path) -> dict[str, dict[str, object]]:
    """Key -> split, label, record, tensor; fails on a key that occurs twice."""
    found: dict[str, dict[str, object]] = {}
    for split, name, content in members(out):
        key, kind = name.split(".")
        sample = found.setdefault(key, {"split": split})
        assert sample["split"] == split and kind not in sample
        sample[kind] = np.load(io.BytesIO(content)) if kind == "npy" else json.loads(content)
    return found


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a data set, hidden ones too."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rejects(out: Path) -> list[dict[str, str]]:
    with open(out / "rejects.csv", newline="") as file:
        return list(csv.DictReader(file))


def folder_scan(root: Path, files: dict[str, bytes], splits: Callable[[int], str] = lambda number: "train") -> Scan:
    """A scan of files in which the class of number i is i % 3."""
    builder = ScanBuilder()
    for number, (path, data) in enumerate(files.items()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        builder.accept(key=f"item_{number}", path=path, split=splits(number), label=number % 3, source_label=str(number % 3))
    return builder.build(source="folder", layout="folder", root=str(root), classes=("a", "b", "c"))


# What comes out


@pytest.fixture(scope="module")
def finished(affectnet: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IngestSummary]:
    out = tmp_path_factory.mktemp("out") / "shards"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)
        return out, ingest(options(affectnet, out))


def test_every_image_arrives_once_with_its_pixels_and_label(affectnet: Path, finished: tuple[Path, IngestSummary]) -> None:
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
            assert sample["json"]["landmarks"][2:4] == [round(1 + number / 8, 2), 0.5] and len(sample["json"]["landmarks"]) == 136


def test_the_index_and_the_table_tell_what_the_shards_hold(affectnet: Path, finished: tuple[Path, IngestSummary]) -> None:
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
    numbers = [int(row["path"].split("/")[-1][:-4]) for row in pq.read_table(finished[0] / "samples.parquet").to_pylist()[:60]]

    assert sorted(numbers) == list(range(60))
    assert np.abs(np.diff(numbers)).mean() > 12


def test_the_summary_accounts_for_every_row(finished: tuple[Path, IngestSummary]) -> None:
    """And writes at least the keys the command line promises."""
    out, summary = finished
    text = json.loads(json.dumps(summary.to_json()))

    assert {"accepted", "skipped", "rejected", "images_per_second", "bytes_in", "bytes_out", "samples", "codec"} <= set(text)
    assert (text["accepted"], text["skipped"], text["rejected"], text["rows"]) == (72, {}, {}, 72)
    assert text["samples"] == {"train": 60, "val": 12} and text["class_counts"]["val"]["Contempt"] == 1
    assert text["bytes_out"] == sum(path.stat().st_size for path in out.glob("*.tar.zst"))
    assert text["images_per_second"] > 0 and text["is_new"] and text["codec"] == "zstd"
    assert any("not of 224 x 224 pixels" in note for note in summary.notes) and summary.repairs["unusual_size"] == 72


def test_a_summary_that_loses_a_row_is_an_error() -> None:
    """Arithmetic is checked, not hoped for."""
    counts = {"skipped": {}, "rejected": {"x": 1}, "repairs": {}, "class_counts": {"train": {"a": 3}}, "bytes_in": 0, "bytes_out": 0}

    with pytest.raises(IngestError, match=r"o: 3 accepted, 0 skipped and 1 rejected of 5 rows, expected each row exactly once"):
        IngestSummary(out="o", source="folder", layout="folder", codec="zstd", rows=5, accepted=3, num_shards=1, leaked_images=0, **counts)


def test_bad_images_are_rejected_with_their_reasons(tmp_path: Path) -> None:
    """Missing, empty, cut, foreign, and one that is fine under a wrong name; the run goes on and the rest is whole."""
    good = {f"faces/{number}.jpg": jpeg(number) for number in range(30)}
    bad = {"empty.jpg": b"", "cut.jpg": jpeg(1)[:300], "page.jpg": b"<html>404</html>", "gone.jpg": b"x", "folder.jpg": b"x"}
    png = io.BytesIO()
    picture(99).save(png, "PNG")
    scan = folder_scan(tmp_path / "src", good | bad | {"png.JPG": png.getvalue()})
    (tmp_path / "src" / "gone.jpg").unlink()
    (tmp_path / "src" / "folder.jpg").unlink()
    (tmp_path / "src" / "folder.jpg").mkdir()
    scan.rejects.append(Reject(path="training.csv", reason="bad_row", detail="NULL in face_x", split="train", row=315_313))

    summary = ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder"))

    assert summary.accepted == 31 and summary.rejected == {"image_corrupt": 3, "image_missing": 2, "bad_row": 1}
    assert summary.rows == 37
    listed = {(row["path"], row["reason"]) for row in rejects(tmp_path / "out")}
    assert listed == {
        ("empty.jpg", "image_corrupt"),
        ("cut.jpg", "image_corrupt"),
        ("page.jpg", "image_corrupt"),
        ("gone.jpg", "image_missing"),
        ("folder.jpg", "image_missing"),
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
    """No empty data set, nothing left behind, and the reasons are said."""
    scan = folder_scan(tmp_path / "src", {f"{number}.jpg": b"broken" for number in range(9)})

    with pytest.raises(SourceError, match=r"src: not one image could be used \(image_corrupt 9\), expected some; check the folder"):
        ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder"))

    assert contents(tmp_path / "out") == {}


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
    assert (record["valence"], record["arousal"], record["landmarks"], record["extra"]) == (None, 0.5, None, {"soft": [None, 1]})


def test_sums_of_pixels_are_exact_at_every_size() -> None:
    """White images have the largest sums; they must not wrap around."""
    for side in (1, 7, 256, 257, 300):
        pixels = np.full((3, side, side), 255, np.uint8)
        pixels[1] = np.arange(side * side).reshape(side, side) % 256
        exact = pixels.astype(object)

        sums, squares = _moments(pixels)

        assert sums.tolist() == [exact[channel].sum() for channel in range(3)]
        assert squares.tolist() == [(exact[channel] ** 2).sum() for channel in range(3)]


# The same bytes


def test_any_number_of_workers_gives_the_same_files(affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path) -> None:
    """Names and bytes, hidden files too, whatever the order in which shards are finished."""
    assert len(read_index(Store(finished[0])).shards) >= 4

    for workers in (2, 3):
        ingest(options(affectnet, tmp_path / str(workers), num_workers=workers))

        assert contents(tmp_path / str(workers)) == contents(finished[0])


def test_a_copy_of_the_tree_in_another_place_gives_the_same_files(finished: tuple[Path, IngestSummary], tmp_path: Path) -> None:
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


def test_the_codec_changes_neither_samples_nor_their_order(affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path) -> None:
    """Loader states carry over from one codec to the other."""
    ingest(options(affectnet, tmp_path / "out", codec="raw"))

    assert list(samples(tmp_path / "out")) == list(samples(finished[0]))
    assert read_index(Store(tmp_path / "out")).fingerprint == read_index(Store(finished[0])).fingerprint


def resume(scan: Scan, out: Path, **fields: object) -> IngestSummary:
    return ingest_scan(scan, options(scan.root, out, source="folder", **fields))


class Run:
    """An ingest with two workers in a process of its own, which a test may hurt; forked, so that it starts in milliseconds."""

    def __init__(self, scan: Scan, out: Path, *, max_file_bytes: int | None = None) -> None:
        self.message = out.with_suffix(".message")
        self._process = multiprocessing.get_context("fork").Process(target=self._go, args=(scan, out, max_file_bytes))
        self._process.start()
        self.pid = self._process.pid

    def _go(self, scan: Scan, out: Path, max_file_bytes: int | None) -> None:
        os.setsid()
        if max_file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
        try:
            resume(scan, out, num_workers=2)
        except Exception as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.message.write_text(f"{type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def end(self) -> int:
        """Wait for it and return its code; minus the signal that killed it."""
        self._process.join(30)
        assert self._process.exitcode is not None, "it hangs"
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL, and see that its workers go too."""
        workers = psutil.Process(self.pid).children(recursive=True)
        os.kill(self.pid, signal.SIGKILL)
        self.end()
        assert not psutil.wait_procs(workers, timeout=5)[1]


def wait_for_parts(run: Run, out: Path, count: int) -> bool:
    """Wait until so many shards are recorded; False if the run ended before."""
    while run.is_alive():
        if len(list((out / ".parts").glob("*.tar*.json"))) >= count:
            return True
        time.sleep(0.001)
    return False


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, Path]:
    """A source whose ingest takes long enough to be killed, and its data set."""
    root = tmp_path_factory.mktemp("large")
    scan = folder_scan(root / "src", {f"{number}.jpg": jpeg(number) for number in range(600)}, lambda n: "val" if n % 15 == 0 else "train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)
        ingest_scan(scan, options(scan.root, root / "out", source="folder"))
    return scan, root / "out"


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """SIGKILL at any moment costs at most the shards in work, and leaves neither processes nor files behind."""
    scan, expected = large
    out = tmp_path / "out"
    kills = 0
    while (run := Run(scan, out)) and wait_for_parts(run, out, 1 + 3 * kills):
        time.sleep(0.002 * (kills % 5))
        run.kill()
        kills += 1

    assert run.end() == 0 and kills >= 5
    assert contents(out) == contents(expected)


def test_a_killed_worker_is_an_error_and_the_next_run_goes_on(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """The out-of-memory killer takes a worker; finished shards stay."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out)
    assert wait_for_parts(run, out, 3)
    psutil.Process(run.pid).children()[0].kill()

    assert run.end() == 1
    assert re.match(
        r"WorkerError: .*/out: a worker process was killed, expected it to live; if memory ran out, use fewer --workers; finished",
        run.message.read_text(),
    )
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar.zst") if (out / ".parts" / f"{path.name}.json").exists()}
    assert len(before) >= 3
    summary = resume(scan, out)
    assert summary.resumed_shards == len(before)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert contents(out) == contents(expected)


def test_ctrl_c_ends_the_run_with_one_line(large: tuple[Scan, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """To the whole process group, as a terminal sends it; workers print nothing."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out)
    assert wait_for_parts(run, out, 2)
    workers = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)

    assert run.end() == 1
    expected_text = f"IngestError: {out}: stopped by Ctrl-C; finished shards are kept: run the same command again to go on"
    assert run.message.read_text() == expected_text and capfd.readouterr() == ("", "")
    assert not psutil.wait_procs(workers, timeout=5)[1]
    resume(scan, out)
    assert contents(out) == contents(expected)


def test_a_full_disk_is_an_error_and_the_next_run_goes_on(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """Never a reject: the image is not at fault."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out, max_file_bytes=30_000)

    assert run.end() == 1
    text = f"IngestError: {out}: File too large, expected room and permission to write; finished shards are kept: put it right"
    assert run.message.read_text().startswith(text)
    resume(scan, out)
    assert contents(out) == contents(expected)


def test_a_shard_that_was_cut_after_its_record_is_written_again(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """A power failure can lose data that was not on the disk yet."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out)
    assert wait_for_parts(run, out, 3)
    run.kill()
    recorded = sorted((out / ".parts").glob("*.tar*.json"))
    shard = out / recorded[0].name.removesuffix(".json")
    shard.write_bytes(shard.read_bytes()[:100])
    recorded[1].write_bytes(recorded[1].read_bytes()[:50])

    summary = resume(scan, out)

    assert summary.resumed_shards == len(recorded) - 2 and contents(out) == contents(expected)


# What is there already


def test_a_finished_data_set_is_left_alone(affectnet: Path, tmp_path: Path) -> None:
    """The same command again finishes at once and tells the same counts."""
    first = ingest(options(affectnet, tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}

    again = ingest(options(affectnet, tmp_path / "out", num_workers=2))

    assert not again.is_new and first.is_new
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    same = ("rows", "accepted", "skipped", "rejected", "repairs", "samples", "class_counts", "bytes_in", "bytes_out")
    assert {name: again.to_json()[name] for name in same} == {name: first.to_json()[name] for name in same}


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"size": 20}, {"codec": "raw"}, {"level": 3}, {"limit": 10}, {"classes": 7}, {"holdout": 0.2}]
)
def test_a_finished_data_set_of_other_settings_is_not_touched(
    affectnet: Path, finished: tuple[Path, IngestSummary], change: dict[str, object]
) -> None:
    """The error names what differs and the ways out."""
    before = contents(finished[0])

    with pytest.raises(
        IngestError, match=r"a finished data set with other settings found: .*; expected the same; choose another --out, .*--fresh"
    ):
        ingest(options(affectnet, finished[0], **change))

    assert contents(finished[0]) == before


def test_fresh_replaces_what_an_ingest_has_written_and_nothing_else(affectnet: Path, tmp_path: Path) -> None:
    """A README beside the shards is the user's."""
    out = tmp_path / "out"
    ingest(options(affectnet, out, seed=9))
    (out / "README.txt").write_text("mine")
    (out / "notes-12.tar").write_text("mine too")

    ingest(options(affectnet, out, codec="raw", resume=False))

    assert (out / "README.txt").read_text() == "mine" and (out / "notes-12.tar").read_text() == "mine too"
    assert {path.suffix for path in out.iterdir()} == {".tar", ".json", ".csv", ".parquet", ".txt"}
    assert len(samples(out)) == 72 if not (out / "notes-12.tar").unlink() else False
    clear(Store(out))
    assert [path.name for path in out.iterdir()] == ["README.txt"]


def test_an_unfinished_run_is_not_continued_with_other_settings(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """Mixed shards would be silently wrong."""
    scan, _ = large
    out = tmp_path / "out"
    run = Run(scan, out)
    assert wait_for_parts(run, out, 1)
    run.kill()

    with pytest.raises(IngestError, match=r"out: unfinished shards with other settings found: seed 0 \(now 4\); expected the same; repeat"):
        resume(scan, out, seed=4)
    changed = replace(scan, items=scan.items.take(np.arange(1, len(scan.items))))
    with pytest.raises(IngestError, match=r"unfinished shards with other settings found: scan [0-9a-f]{32} \(now [0-9a-f]{32}\)"):
        resume(changed, out)


def test_shards_without_an_index_are_not_overwritten(affectnet: Path, tmp_path: Path) -> None:
    """They may be someone's only copy."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "train-000000.tar.zst").write_bytes(b"precious")

    with pytest.raises(IngestError, match=r"1 shards such as train-000000.tar.zst found without an index, expected an empty folder"):
        ingest(options(affectnet, out))

    assert contents(out) == {"train-000000.tar.zst": b"precious"}


def test_two_runs_do_not_write_to_one_folder(affectnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is told so."""
    import fcntl

    monkeypatch.setattr("ferdata.ingest.parts._LOCK_SECONDS", 0.1)
    (tmp_path / "out").mkdir()
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(IngestError, match=r"out: another run is writing here, expected none; wait for it, or choose another --out"):
            ingest(options(affectnet, tmp_path / "out"))
    finally:
        os.close(descriptor)


# Choosing


def test_a_limit_and_a_holdout_are_counted(affectnet: Path, tmp_path: Path) -> None:
    """Rows that are left out are skipped, not lost; the new split is called test."""
    summary = ingest(options(affectnet, tmp_path / "out", limit=40, holdout=0.25))

    assert summary.accepted == 40 and summary.skipped == {"limit": 32}
    assert sum(summary.samples.values()) == 40 and set(summary.samples) == {"train", "val", "test"}
    assert all(count >= 1 for split in summary.class_counts.values() for count in split.values())
    found = samples(tmp_path / "out")
    assert all(s["json"]["path"].startswith("val_set" if s["split"] == "val" else "train_set") for s in found.values())


def leaky_scan(root: Path) -> Scan:
    """24 train and 12 val images; val 3 and val 7 are copies of train 3 and (twice) train 7; train 8 and 9 are twins."""
    files = {f"train/{number}.jpg": jpeg(number) for number in range(24)} | {
        f"val/{number}.jpg": jpeg(500 + number) for number in range(12)
    }
    files |= {"val/3.jpg": jpeg(3), "val/7.jpg": jpeg(7), "train/17.jpg": jpeg(7), "train/9.jpg": jpeg(8)}
    return folder_scan(root, files, splits=lambda number: "train" if number < 24 else "val")


def test_leaks_are_reported_and_on_request_left_out_of_train(tmp_path: Path) -> None:
    """Identical bytes in train and val; twins inside train are no leak."""
    scan = leaky_scan(tmp_path / "src")

    kept = ingest_scan(scan, options(tmp_path / "src", tmp_path / "kept", source="folder"))
    dropped = ingest_scan(scan, options(tmp_path / "src", tmp_path / "dropped", source="folder", drop_leaks=True, num_workers=2))

    assert kept.leaked_images == 2 and kept.accepted == 36
    assert {tuple(name.split("/")[0] for name in pair) for pair in kept.leak_examples} == {("train", "val")}
    assert any("2 images are, byte for byte, in more than one split" in note and "--drop-leaks" in note for note in kept.notes)
    assert dropped.leaked_images == 0 and dropped.accepted == 33 and dropped.skipped == {"leak": 3}
    gone = set(samples(tmp_path / "kept")) - set(samples(tmp_path / "dropped"))
    assert gone == {"item_3", "item_7", "item_17"}


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 2)), max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_sharing_between_splits_is_what_a_dictionary_says(rows: list[tuple[int, int, int]]) -> None:
    """The sorted search against the obvious one."""
    codes, first, second = (np.array(column, np.int64) for column in zip(*rows, strict=True)) if rows else (np.zeros(0, np.int64),) * 3
    seen: dict[tuple[int, int], set[int]] = {}
    for code, *identity in rows:
        seen.setdefault(tuple(identity), set()).add(code)

    assert shared_between_splits(codes, first, second).tolist() == [len(seen[a, b]) > 1 for _, a, b in rows]


def test_the_jpeg_codec_refuses_images_that_the_transform_changes(tmp_path: Path) -> None:
    """Before anything is written, with every reason and its count."""
    png = io.BytesIO()
    picture(1).save(png, "PNG")
    scan = folder_scan(tmp_path / "src", {"a.jpg": jpeg(1), "b.jpg": jpeg(2, 40), "c.png": png.getvalue(), "d.jpg": b"broken"})

    with pytest.raises(
        IngestError, match=r"of 4 images looked at, 1 (not a JPEG|resized or cropped), 1 .*, expected JPEGs of 24 x 24 pixels"
    ):
        ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder", codec="jpeg"))


# Elsewhere than on a local disk


def test_a_data_set_behind_a_url_is_the_same(affectnet: Path, finished: tuple[Path, IngestSummary], tmp_path: Path) -> None:
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


# Pieces


def test_progress_ends_where_the_summary_does(affectnet: Path, tmp_path: Path) -> None:
    """Phases in order, counts that only grow."""
    seen: list[IngestProgress] = []

    summary = ingest(options(affectnet, tmp_path / "out", num_workers=2), progress=seen.append)

    assert list(dict.fromkeys(step.phase for step in seen)) == ["scan", "write", "finish"]
    written = [step for step in seen if step.phase == "write"]
    assert [step.done for step in written] == sorted(step.done for step in written)
    assert (written[-1].done, written[-1].total, written[-1].accepted) == (72, 72, 72)
    assert written[-1].bytes_in == summary.bytes_in and written[-1].images_per_second > 0


def _echo(task: int, beat: Callable[[int, int, int], None]) -> int:
    beat(1, 0, task)
    return task


def test_the_pool_takes_tasks_only_as_it_needs_them() -> None:
    """A million items must not be sliced at once."""
    ahead: list[int] = []
    started = iter(range(60))
    finished: list[int] = []

    def tasks() -> Iterator[int]:
        for number in started:
            ahead.append(number - len(finished))
            yield number

    run_tasks(_echo, tasks(), num_workers=2, on_result=finished.append, on_tick=lambda *sums: None, where="here")

    assert sorted(finished) == list(range(60)) and max(ahead) <= 2 * 2


def _exit(task: int, beat: Callable[[int, int, int], None]) -> int:
    os._exit(3)


def test_a_worker_that_dies_does_not_hang_the_pool() -> None:
    """Whatever took it."""
    with pytest.raises(WorkerError, match=r"^here: a worker process was killed, expected it to live"):
        run_tasks(_exit, range(5), num_workers=2, on_result=print, on_tick=lambda *sums: None, where="here")


finite = st.floats(-1e7, 1e7, allow_nan=False)


@given(
    path=st.text(max_size=40),
    source_label=st.text(max_size=5),
    valence=st.none() | st.floats(-1, 1),
    box=st.none() | st.tuples(finite, finite, st.floats(-(2.0**90), 2.0**90, width=32), finite),
    landmarks=st.none()
    | st.lists(st.floats(-20_000, 20_000, width=32) | st.just(float("nan")), max_size=8).filter(lambda v: len(v) % 2 == 0),
    extra=st.none()
    | st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.floats(allow_nan=False) | st.lists(st.integers()), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_no_record_is_longer_than_the_bound(
    path: str, source_label: str, valence: object, box: object, landmarks: object, extra: object
) -> None:
    """Every json member has one size, fixed before the first image is read; and what is in it can be read by any JSON parser."""
    builder = ScanBuilder()
    path, source_label = (text.encode("utf-8", "replace").decode() for text in (path, source_label))
    builder.accept(
        key="a",
        path=path,
        split="train",
        label=0,
        source_label=source_label,
        valence=valence,
        arousal=valence,
        box=box,
        landmarks=landmarks,
        extra=extra,
    )
    items = builder.build(source="folder", layout="folder", root="r", classes=("a",)).items
    result = Transformed(
        pixels=np.zeros((3, 1, 1), np.uint8),
        landmarks=None if landmarks is None else np.array(landmarks, np.float64),
        source_size=(99_999, 99_999),
        repairs=(),
        unchanged=True,
    )

    text = json.dumps(make_record(items[0], result), separators=(",", ":"), sort_keys=True)

    assert len(text) <= longest_record(items)
    assert "NaN" not in text.split('"landmarks"')[-1].split("]")[0]


def item_columns(count: int = 50) -> list[dict[str, object]]:
    return [
        {
            "key": f"k{n}",
            "path": f"p{n}.jpg",
            "split": "train" if n % 3 else "val",
            "label": n % 4,
            "source_label": str(n % 4),
            "valence": n / 100,
        }
        | ({"box": [n, n, 5, 5], "landmarks": [n, n + 0.5]} if n % 2 else {"extra": {"n": n}})
        for n in range(count)
    ]


def scan_of(rows: list[dict[str, object]]) -> Scan:
    builder = ScanBuilder()
    for row in rows:
        builder.accept(**row)
    return builder.build(source="folder", layout="folder", root="r", classes=("a", "b", "c", "d"))


def test_the_scan_hash_sees_every_value_and_nothing_else() -> None:
    """Neither how the table is cut nor where the tree lies."""
    base = scan_of(item_columns())
    table = base.items.table
    cut = replace(base, items=ItemTable(pa.concat_tables([table.slice(0, 7), table.slice(7)])), root="elsewhere")
    changes = [
        ("path", "other.jpg"), ("split", "test"), ("label", 1), ("source_label", "x"), ("valence", None),
        ("box", [1, 2, 3, 4.5]), ("box", None), ("landmarks", [1, 1.5]), ("extra", {"n": 1}), ("key", "z"),
    ]  # fmt: skip
    hashes = {scan_hash(base)}
    for name, value in changes:
        rows = item_columns()
        rows[31][name] = value
        hashes.add(scan_hash(scan_of(rows)))

    assert scan_hash(cut) == scan_hash(base)
    assert len(hashes) == 1 + len(changes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_workers": 0}, "workers: 0 found, expected at least 1"),
        ({"limit": 0}, "limit: 0 found, expected at least 1"),
        ({"seed": -1}, "seed: -1 found, expected 0 or more"),
        ({"holdout": 1.0}, "holdout: 1.0 found, expected a share between 0 and 1"),
        ({"size": 0}, "size: 0 found"),
        ({"codec": "gzip"}, "codec: 'gzip' found, expected one of"),
        ({"classes": 6}, "classes: 6 found, expected 8 or 7"),
        ({"crop": "face"}, "crop: 'face' found, expected box or none"),
    ],
)
def test_options_are_checked_when_they_are_made(change: dict[str, object], text: str) -> None:
    """Before a scan that takes minutes."""
    with pytest.raises(OptionError, match=text):
        options("src", "out", **change)


def test_two_items_with_one_key_are_an_error(tmp_path: Path) -> None:
    """One would overwrite the other when the tar is unpacked."""
    scan = scan_of([row | {"key": "same"} for row in item_columns(2)])

    with pytest.raises(SourceError, match="r: two items with one key found, expected each key once"):
        ingest_scan(scan, options("r", tmp_path / "out", source="folder"))


def test_converting_never_waits_for_torch() -> None:
    """Its import takes longer than a small ingest."""
    code = "import ferdata.ingest, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
