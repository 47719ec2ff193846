"""Failures of the machine that look like failures of the images: they stop a run, and a resume tries again."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import objects  # noqa: F401 - registers objects://
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_sources import SMALL_SHARD_BYTES, contents, folder_scan, jpeg, options, rejects, write_affectnet

from ferdata.errors import FerdataError, IngestError, SourceError
from ferdata.ingest import ingest, ingest_scan
from ferdata.ingest.select import selection
from ferdata.ingest.write import shards
from ferdata.ingest.write.doubt import MAX_IN_A_ROW
from ferdata.ingest.write.parts import PartRecord
from ferdata.ingest.write.task import ShardTask, TaskSettings, write_shard
from ferdata.parallel import Beat
from ferdata.sources.scan import Scan
from ferdata.store import Store


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny images would all fit one shard; workers are forked, so they see this too."""
    monkeypatch.setattr(selection, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)


def source(root: Path, count: int = 300) -> Scan:
    return folder_scan(root / "src", {f"faces/{number}.jpg": jpeg(number) for number in range(count)})


def after(
    images: int, action: Callable[[], object], marker: Path
) -> Callable[[TaskSettings, ShardTask, Beat], PartRecord]:
    """Return a ``write_shard`` that does something to the files when so many images are done; for one worker."""
    done = 0

    def write_some(settings: TaskSettings, task: ShardTask, beat: Beat) -> PartRecord:
        def count(*counts: int) -> None:
            nonlocal done
            beat(*counts)
            done += 1
            if done == images and not marker.exists():
                marker.touch()
                action()

        return write_shard(settings, task, count)

    return write_some


def spoiled_run(
    scan: Scan, out: Path, images: int, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Run an ingest whose files change in the middle, and return its error; empty if it has none."""
    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_shard", after(images, action, out.with_suffix(".done")))
        try:
            ingest_scan(scan, options(scan.root, out, source="folder"))
        except FerdataError as error:
            return f"{type(error).__name__}: {error}"
    return ""


def take_away(root: Path) -> None:
    root.rename(root.with_name("away"))


def mount_nothing(root: Path) -> None:
    """What an unmounted disk leaves: the empty folder it was mounted on."""
    take_away(root)
    root.mkdir()


def bring_back(root: Path) -> None:
    if root.exists():
        root.rmdir()
    root.with_name("away").rename(root)


@pytest.mark.parametrize("go", [take_away, mount_nothing])
@pytest.mark.parametrize("images", [100, 260])
def test_a_source_that_goes_away_stops_the_run_and_the_same_command_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go: Callable[[Path], None], images: int
) -> None:
    """Else a pulled cable gives a finished data set of half the images, whether hundreds were to come or a few."""
    scan = source(tmp_path)
    ingest_scan(scan, options(scan.root, tmp_path / "expected", source="folder"))

    text = spoiled_run(scan, tmp_path / "out", images, lambda: go(Path(scan.root)), monkeypatch)

    assert text.startswith(f"SourceError: {scan.root}: ") and "run the same command again" in text and "image" in text
    assert not (tmp_path / "out" / "index.json").exists()
    bring_back(Path(scan.root))
    summary = ingest_scan(scan, options(scan.root, tmp_path / "out", source="folder"))
    assert summary.accepted == 300 and not summary.rejected and summary.resumed_shards > 0
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def test_a_source_that_is_away_for_a_moment_costs_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read is tried once more at the end."""
    scan = source(tmp_path)
    ingest_scan(scan, options(scan.root, tmp_path / "expected", source="folder"))
    hidden = [path for path in sorted(Path(scan.root, "faces").iterdir()) if path.stem.endswith("7")]
    (tmp_path / "kept").mkdir()
    for path in hidden:
        path.rename(tmp_path / "kept" / path.name)

    def come_back() -> None:
        for path in hidden:
            (tmp_path / "kept" / path.name).rename(path)

    assert not spoiled_run(scan, tmp_path / "out", 250, come_back, monkeypatch)
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_permission_that_is_lost_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share whose ticket has run out answers so for every file."""
    scan = source(tmp_path)
    text = spoiled_run(scan, tmp_path / "out", 100, lambda: Path(scan.root, "faces").chmod(0), monkeypatch)
    Path(scan.root, "faces").chmod(0o755)

    assert (
        "image_unreadable" in text
        and ingest_scan(scan, options(scan.root, tmp_path / "out", source="folder")).accepted == 300
    )


def test_images_that_all_turn_bad_stop_the_run_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dying disk gives zeros and no error; once it is replaced, the same command must not keep what it said."""
    scan = source(tmp_path)
    ingest_scan(scan, options(scan.root, tmp_path / "expected", source="folder"))
    whole = {path: path.read_bytes() for path in Path(scan.root, "faces").iterdir()}

    text = spoiled_run(
        scan, tmp_path / "out", 90, lambda: [path.write_bytes(bytes(500)) for path in whole], monkeypatch
    )

    assert f"{MAX_IN_A_ROW} images in a row could not be used (image_corrupt; the first: " in text
    for path, data in whole.items():
        path.write_bytes(data)
    ingest_scan(scan, options(scan.root, tmp_path / "out", source="folder"))
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def test_bad_images_among_good_ones_are_rejected_however_many(tmp_path: Path) -> None:
    """Shards are in random order: even if every second image is bad, they are never bad for long."""
    scan = folder_scan(
        tmp_path / "src", {f"{number}.jpg": jpeg(number) if number < 200 else b"bad" for number in range(400)}
    )

    summary = ingest_scan(scan, options(scan.root, tmp_path / "out", source="folder"))

    assert summary.accepted == 200 and summary.rejected == {"image_corrupt": 200}


def test_a_parquet_file_that_goes_away_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are not missing images."""
    (tmp_path / "src").mkdir()
    for name in ("train-0", "train-1"):
        table = pa.table(
            {"image": [{"bytes": jpeg(number), "path": None} for number in range(100)], "label": ["happy", "sad"] * 50}
        )
        pq.write_table(table, tmp_path / "src" / f"{name}.parquet")
    chosen = options(tmp_path / "src", tmp_path / "out", source="affectnet")
    whole = (tmp_path / "src/train-1.parquet").read_bytes()

    with monkeypatch.context() as patch:
        original = shards.write_shard

        def without_it(settings: TaskSettings, task: ShardTask, beat: Beat) -> PartRecord:
            (tmp_path / "src/train-1.parquet").unlink(missing_ok=True)
            return original(settings, task, beat)

        patch.setattr(shards, "write_shard", without_it)
        with pytest.raises(SourceError, match=r"src: .*train-1\.parquet.*run the same command again"):
            ingest(chosen)
    (tmp_path / "src/train-1.parquet").write_bytes(whole)
    assert ingest(chosen).accepted == 200


@pytest.mark.parametrize("reason", ["image_missing", "image_corrupt"])
def test_an_image_that_is_back_is_told_of_a_finished_data_set(tmp_path: Path, reason: str) -> None:
    """Read again or copied again: the same command says so, and what it says to type works."""
    scan = source(tmp_path, 60)
    gone = Path(scan.root, "faces/7.jpg")
    data = gone.read_bytes()
    if reason == "image_missing":
        gone.unlink()
    else:
        gone.write_bytes(data[: len(data) // 2])
    chosen = options(scan.root, tmp_path / "out", source="folder")
    assert ingest_scan(scan, chosen).rejected == {reason: 1} and not ingest_scan(scan, chosen).is_new

    gone.write_bytes(data)

    with pytest.raises(
        IngestError,
        match=r"out: a finished data set found without 1 image that was rejected .* such as faces/7\.jpg, .*; write it",
    ):
        ingest_scan(scan, chosen)
    assert ingest_scan(scan, replace(chosen, resume=False)).accepted == 60 and not rejects(tmp_path / "out")


@pytest.mark.parametrize("place", ["middle", "end", "table"])
def test_a_shard_damaged_between_kill_and_resume_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """One flipped bit of a finished shard, its size and time kept; on a disk and in an object store alike."""
    scan = source(tmp_path)
    ingest_scan(scan, options(scan.root, tmp_path / "expected", source="folder"))

    for out, codec in ((str(tmp_path / "out"), "zstd"), (f"objects://{tmp_path}/bucket/out", "raw")):
        store = Store(out)

        def stop(
            store: Store, part: PartRecord, commit: Callable[[Store, PartRecord], None] = shards.commit_part
        ) -> None:
            if len(store.list(".parts")) > 4:
                raise KeyboardInterrupt
            commit(store, part)

        with monkeypatch.context() as patch, pytest.raises(IngestError, match="stopped by Ctrl-C"):
            patch.setattr(shards, "commit_part", stop)
            ingest_scan(scan, options(scan.root, out, source="folder", codec=codec))
        name = next(
            entry.name[:-5] for entry in store.list(".parts") if ".tar" in entry.name and entry.name.endswith(".json")
        )
        data = bytearray(store.read(name))
        data[{"middle": len(data) // 2, "end": -3, "table": 700}[place]] ^= 4
        store.write(name, bytes(data))

        assert ingest_scan(scan, options(scan.root, out, source="folder", codec=codec)).accepted == 300
        assert store.read(name) != data

    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


@pytest.mark.parametrize("name", ["train-000001.tar.zst", "samples.parquet", "rejects.csv"])
@pytest.mark.parametrize("damage", ["gone", "cut", "end"])
def test_a_finished_data_set_with_a_damaged_file_is_not_called_finished(tmp_path: Path, name: str, damage: str) -> None:
    """Sizes, tails and tables are looked at, which costs nothing; the error's advice works."""
    affectnet = write_affectnet(tmp_path / "src", train=60, val=8)
    chosen = options(affectnet, tmp_path / "out")
    ingest(chosen)
    expected = contents(tmp_path / "out")
    data = expected[name]
    path = tmp_path / "out" / name
    path.unlink() if damage == "gone" else path.write_bytes(
        data[:-7] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1])
    )

    with pytest.raises(
        IngestError, match=rf"{name}.*without resume=False, nothing of a finished data set is written again"
    ):
        ingest(chosen)
    assert ingest(replace(chosen, resume=False)).is_new and contents(tmp_path / "out") == expected


def test_another_source_is_no_other_run_as_long_as_no_shard_is_finished(tmp_path: Path) -> None:
    """There is nothing yet that could be mixed, so nothing stands in the way of what was put right."""
    scan = source(tmp_path, 200)
    shutil.move(f"{scan.root}/faces", tmp_path / "faces")
    with pytest.raises(SourceError, match="images in a row could not be used"):
        ingest_scan(scan, options(scan.root, tmp_path / "out", source="folder"))
    shutil.move(tmp_path / "faces", f"{scan.root}/faces")

    assert ingest_scan(scan, options(scan.root, tmp_path / "out", source="folder", seed=3)).accepted == 200
