"""Runs that are killed, stopped or repeated: what is finished stays, what is missing is written, nothing is mixed."""

import multiprocessing
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from ingest_sources import SMALL_SHARD_BYTES, contents, folder_scan, jpeg, options, samples, write_affectnet

from ferdata.errors import IngestError
from ferdata.ingest import IngestSummary, ingest, ingest_scan
from ferdata.ingest.select import selection
from ferdata.ingest.target import clear
from ferdata.ingest.write import shards
from ferdata.ingest.write.parts import PartRecord
from ferdata.ingest.write.task import ShardTask, TaskSettings, write_shard
from ferdata.parallel import Beat
from ferdata.sources.scan import Scan
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


def resume(scan: Scan, out: Path, **fields: object) -> IngestSummary:
    return ingest_scan(scan, options(scan.root, out, source="folder", **fields))


class Run:
    """An ingest with two workers in a process of its own, which a test may hurt; forked, so it starts in milliseconds.

    With ``shards`` given, it stands still after so many more of them: the next get no further than ``images`` images.
    """

    def __init__(
        self, scan: Scan, out: Path, *, shards: int | None = None, images: int = 0, max_file_bytes: int | None = None
    ) -> None:
        self.message = out.with_suffix(".message")
        self._stop = None if shards is None else (shards, images)
        self._process = multiprocessing.get_context("fork").Process(target=self._go, args=(scan, out, max_file_bytes))
        self._process.start()
        self.pid = self._process.pid

    def _go(self, scan: Scan, out: Path, max_file_bytes: int | None) -> None:
        os.setsid()
        if self._stop is not None:
            shards.write_shard = standing_still(
                *self._stop
            )  # this process's copy of the module, which its workers inherit
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
        self._process.join(120)
        assert self._process.exitcode is not None, "it hangs"
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL, and see that its workers go too."""
        workers = psutil.Process(self.pid).children(recursive=True)
        os.kill(self.pid, signal.SIGKILL)
        self.end()
        assert not psutil.wait_procs(workers, timeout=60)[1]


def standing_still(shards: int, images: int) -> Callable[[TaskSettings, ShardTask, Beat], PartRecord]:
    """Return a ``write_shard`` that does so many shards, and of later ones so many images, then waits for its end."""
    begun = multiprocessing.get_context("fork").Value("i", 0)

    def write_some(settings: TaskSettings, task: ShardTask, beat: Beat) -> PartRecord:
        with begun.get_lock():
            begun.value += 1
            is_last = begun.value > shards
        done = 0

        def beat_or_stand_still(*counts: int) -> None:
            nonlocal done
            beat(*counts)
            done += 1
            while is_last and done > images:
                beat(0, 0, 0)
                time.sleep(0.002)

        return write_shard(settings, task, beat_or_stand_still)

    return write_some


def wait_for_parts(run: Run, out: Path, count: int) -> None:
    """Wait until so many shards are recorded."""
    while len(list((out / ".parts").glob("*.tar*.json"))) < count:
        assert run.is_alive(), "it ended before"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, Path]:
    """A source whose ingest takes long enough to be killed, and its data set."""
    root = tmp_path_factory.mktemp("large")
    scan = folder_scan(
        root / "src",
        {f"{number}.jpg": jpeg(number) for number in range(600)},
        lambda n: "val" if n % 15 == 0 else "train",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)
        ingest_scan(scan, options(scan.root, root / "out", source="folder"))
    return scan, root / "out"


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """SIGKILL at any moment costs at most the shards in work, and leaves neither processes nor files behind."""
    scan, expected = large
    out = tmp_path / "out"
    for kills in range(5):
        run = Run(scan, out, shards=3, images=2 * kills)
        wait_for_parts(run, out, 3 * (kills + 1))
        time.sleep(0.002 * kills)
        run.kill()
    for kills in range(5):  # wherever they are, the end included
        run = Run(scan, out)
        time.sleep(0.02 * kills)
        run.kill()

    assert Run(scan, out).end() == 0
    assert contents(out) == contents(expected)


def test_a_killed_worker_is_an_error_and_the_next_run_goes_on(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """The out-of-memory killer takes a worker; finished shards stay."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out, shards=3)
    wait_for_parts(run, out, 3)
    psutil.Process(run.pid).children()[0].kill()

    assert run.end() == 1
    assert re.match(
        r"WorkerError: .*/out: a worker process was killed, expected it to live; "
        "if memory ran out, use a smaller num_workers=; finished",
        run.message.read_text(),
    )
    before = {
        path.name: path.stat().st_mtime_ns
        for path in out.glob("*.tar.zst")
        if (out / ".parts" / f"{path.name}.json").exists()
    }
    assert len(before) >= 3
    summary = resume(scan, out)
    assert summary.resumed_shards == len(before)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert contents(out) == contents(expected)


def test_ctrl_c_ends_the_run_with_one_line(
    large: tuple[Scan, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """To the whole process group, as a terminal sends it; workers print nothing."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out, shards=2)
    wait_for_parts(run, out, 2)
    workers = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)

    assert run.end() == 1
    expected_text = (
        f"IngestError: {out}: stopped by Ctrl-C; finished shards are kept: run the same command again to go on"
    )
    assert run.message.read_text() == expected_text and capfd.readouterr() == ("", "")
    assert not psutil.wait_procs(workers, timeout=60)[1]
    resume(scan, out)
    assert contents(out) == contents(expected)


def test_a_full_disk_is_an_error_and_the_next_run_goes_on(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """Never a reject: the image is not at fault."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out, max_file_bytes=30_000)

    assert run.end() == 1
    text = f"IngestError: {out}: File too large, expected room and permission to write; finished shards are kept"
    assert run.message.read_text().startswith(f"{text}: put it right")
    resume(scan, out)
    assert contents(out) == contents(expected)


def test_a_shard_that_was_cut_after_its_record_is_written_again(large: tuple[Scan, Path], tmp_path: Path) -> None:
    """A power failure can lose data that was not on the disk yet."""
    scan, expected = large
    out = tmp_path / "out"
    run = Run(scan, out, shards=3)
    wait_for_parts(run, out, 3)
    run.kill()
    recorded = sorted((out / ".parts").glob("*.tar*.json"))
    shard = out / recorded[0].name.removesuffix(".json")
    shard.write_bytes(shard.read_bytes()[:100])
    recorded[1].write_bytes(recorded[1].read_bytes()[:50])

    summary = resume(scan, out)

    assert summary.resumed_shards == len(recorded) - 2 and contents(out) == contents(expected)


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
    "change", [{"seed": 5}, {"size": 20}, {"codec": "raw"}, {"level": 3}, {"limit": 10}, {"classes": 7}, {"val": 0.2}]
)
def test_a_finished_data_set_of_other_settings_is_not_touched(
    affectnet: Path, finished: tuple[Path, IngestSummary], change: dict[str, object]
) -> None:
    """The error names what differs and the ways out."""
    before = contents(finished[0])

    with pytest.raises(
        IngestError,
        match=r"a finished data set with other settings found: .*; expected the same; choose another out=, "
        r".*resume=False",
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
    run = Run(scan, out, shards=1)
    wait_for_parts(run, out, 1)
    run.kill()

    with pytest.raises(
        IngestError, match=r"unfinished shards with other settings found: seed=0 \(now 4\); expected the same; repeat"
    ):
        resume(scan, out, seed=4)
    changed = replace(scan, items=scan.items.take(np.arange(1, len(scan.items))))
    with pytest.raises(
        IngestError, match=r"unfinished shards with other settings found: other images or labels in the source \(they"
    ):
        resume(changed, out)


def test_shards_without_an_index_are_not_overwritten(affectnet: Path, tmp_path: Path) -> None:
    """They may be someone's only copy."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "train-000000.tar.zst").write_bytes(b"precious")

    with pytest.raises(
        IngestError, match=r"1 file such as train-000000.tar.zst found that no run of ferdata is known to have"
    ):
        ingest(options(affectnet, out))

    assert contents(out) == {"train-000000.tar.zst": b"precious"}


def test_two_runs_do_not_write_to_one_folder(affectnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is told so."""
    import fcntl

    monkeypatch.setattr("ferdata.lock._WAIT_SECONDS", 0.1)
    (tmp_path / "out").mkdir()
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(
            IngestError, match=r"out: another run is writing here, expected none; wait for it, or choose another out="
        ):
            ingest(options(affectnet, tmp_path / "out"))
    finally:
        os.close(descriptor)
