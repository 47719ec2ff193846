"""One writer to a folder at a time, whatever the folder lies on, and no lock outlives its owner."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import objects  # noqa: F401 - registers objects://
import pytest
from ingest_sources import folder_scan, jpeg, options
from make_dataset import make_dataset

from ferdata import lock
from ferdata.dataset.export import export
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import FerdataError, IngestError, OptionError
from ferdata.ingest import ingest_scan
from ferdata.lock import LOCK_NAME, check_vacant, hold_lock
from ferdata.store import Store
from ferdata.synth import write_synthetic

HOLD = """
import sys, time, fcntl
sys.path[:0] = {path!r}
import objects
if {no_system}:
    def refuse(*_): raise OSError(37, "No locks available")
    fcntl.flock = refuse
from ferdata.lock import hold_lock
from ferdata.store import Store
with hold_lock(Store({place!r})):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["disk", "share", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder on a disk, on a share without locks, and in an object store."""
    monkeypatch.setattr(lock, "_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(lock, "_SETTLE_SECONDS", 0.05)
    if request.param == "share":

        def refuse(*_: object) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return f"objects://{tmp_path}/out" if request.param == "bucket" else str(tmp_path / "out")


def holder(place: str, request: pytest.FixtureRequest) -> subprocess.Popen:
    """A process that holds the lock of a place."""
    here = Path(__file__).parent
    code = HOLD.format(path=[str(here.parent), str(here)], no_system="share" in request.node.name, place=place)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    request.addfinalizer(lambda: (process.kill(), process.wait(), process.stdout.close()))
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused_until_the_first_has_ended(place: str, request: pytest.FixtureRequest) -> None:
    """However it ends; a killed one leaves nothing that needs a hand."""
    first = holder(place, request)
    for _ in range(2):
        with (
            pytest.raises(IngestError, match=r"out: another run is writing here, expected none; wait for it,"),
            hold_lock(Store(place)),
        ):
            pass
    first.kill()
    first.wait()

    with (
        hold_lock(Store(place)),
        pytest.raises(IngestError, match="another run is writing here"),
        hold_lock(Store(place)),
    ):
        pass
    with hold_lock(Store(place)):
        pass
    assert not Store(place).list(missing_ok=True)


def test_every_verb_that_writes_a_folder_is_refused_while_another_does(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One rule for all: the files of two runs never mix."""
    make_dataset(tmp_path / "shards", samples={"train": 4})
    scan = folder_scan(tmp_path / "src", {"a.jpg": jpeg(1)})
    first = holder(place, request)
    writers = [
        lambda: ingest_scan(scan, options(scan.root, place, source="folder")),
        lambda: recode(str(tmp_path / "shards"), out=place, codec="raw"),
        lambda: export(str(tmp_path / "shards"), to="tar", out=place),
        lambda: write_synthetic("rafdb", place, count=8, size=32, num_workers=1),
    ]
    for write in writers:
        with pytest.raises(IngestError, match="another run is writing here"):
            write()
        assert {entry.name for entry in Store(place).list(missing_ok=True)} <= {LOCK_NAME}
    first.kill()
    first.wait()
    assert recode(str(tmp_path / "shards"), out=place, codec="raw").samples == 4
    assert verify(place).ok and LOCK_NAME not in {entry.name for entry in Store(place).list()}


def test_the_lock_of_another_machine_holds_as_long_as_it_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was taken away renews nothing; its successor goes on by itself."""
    monkeypatch.setattr(lock, "_SETTLE_SECONDS", 0.05)
    store = Store(f"objects://{tmp_path}/out")
    note = {"run": "x", "machine": "elsewhere", "pid": os.getpid(), "started": 1.0}
    ended = threading.Event()

    def renew() -> None:
        for number in range(10_000):
            store.write(LOCK_NAME, json.dumps(note | {"renewed": number}).encode())
            if ended.wait(0.05):
                return

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        time.sleep(0.1)
        with pytest.raises(IngestError, match="another run is writing here"), hold_lock(store):
            pass
    finally:
        ended.set()
        renewing.join()
    monkeypatch.setattr(lock, "_STALE_SECONDS", 0.2)
    with hold_lock(store):
        assert json.loads(store.read(LOCK_NAME))["run"] != "x"
    assert not store.exists(LOCK_NAME)


def test_a_lock_file_that_is_none_does_not_hold_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short, or somebody's joke."""
    monkeypatch.setattr(lock, "_STALE_SECONDS", 0.1)
    monkeypatch.setattr(lock, "_SETTLE_SECONDS", 0.05)
    for data in (
        b"",
        b"\xff\xfe",
        b"[1]",
        b'{"machine": 3, "pid": "x"}',
        json.dumps({"machine": lock._machine(), "pid": -5}).encode(),
    ):
        store = Store(f"objects://{tmp_path}/out")
        store.write(LOCK_NAME, data)
        with hold_lock(store):
            pass
        assert not store.exists(LOCK_NAME)


def test_a_lock_that_was_lost_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that slept while another machine took over must not say done."""
    monkeypatch.setattr(lock, "_RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lock, "_SETTLE_SECONDS", 0.05)
    store = Store(f"objects://{tmp_path}/out")
    with pytest.raises(IngestError, match="another run took this folder over"), hold_lock(store):
        store.write(LOCK_NAME, b'{"run": "other"}')
        time.sleep(0.5)
    assert store.read(LOCK_NAME) == b'{"run": "other"}'


def test_a_folder_is_vacant_but_for_its_lock(tmp_path: Path) -> None:
    """Any other file is somebody's."""
    check_vacant(Store(tmp_path / "none"))
    (tmp_path / LOCK_NAME).write_text("{}")
    check_vacant(Store(tmp_path))
    (tmp_path / "x").symlink_to("nowhere")
    with pytest.raises(OptionError, match="a folder that is not empty found") as caught:
        check_vacant(Store(tmp_path))
    assert isinstance(caught.value, FerdataError)
