"""Files and folders a person names: what stands there is written to as it is, or refused before the work."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from make_dataset import make_dataset

from ferdata import Loader
from ferdata.dataset.preview import preview
from ferdata.errors import StoreError
from ferdata.ingest import IngestOptions
from ferdata.place import check_file, check_folder, expand, find_obstacle
from ferdata.store import Store, write_file_at
from ferdata.training import TrainOptions

ROOT = Path(__file__).parent.parent


def test_a_link_is_kept_and_its_target_written(tmp_path: Path) -> None:
    """A link is how someone says where the file shall be, also where it is not there yet."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/target").write_text("old")
    for link, target in (("link", "deep/target"), ("chain", "link"), ("dangling", "deep/new")):
        (tmp_path / link).symlink_to(target)
        write_file_at(check_file(str(tmp_path / link), option="--json"), link.encode())
        assert (tmp_path / link).is_symlink() and (tmp_path / target).read_text() == link
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["new", "target"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """Replaced by a file, its reader would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()

    write_file_at(check_file(str(tmp_path / "pipe"), option="--json"), b"x" * 200_000)
    reader.join(20)

    assert read == [b"x" * 200_000] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """As root, /dev/null itself would become a file, for everybody."""
    device = Path("/dev/null")
    if os.getuid() == 0:
        device = tmp_path / "null"
        try:
            os.mknod(device, 0o020666, os.makedev(1, 3))
            device.open("wb").close()
        except OSError:
            device = Path("/dev/null")
            pytest.skip("this file system takes no devices")

    write_file_at(check_file(str(device), option="--json"), b"{}")

    assert stat.S_ISCHR(device.stat().st_mode)


def test_what_takes_no_file_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of links, a socket, names that no file system takes, a folder that is none."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes
        server.bind("socket")
    for name, text in (
        ("loop", "too many levels of symbolic links"),
        ("socket", "a socket found"),
        ("x" * 300, "file name too long"),
        ("x" * 245, "a name of over 239 bytes found"),
        ("a\0b", "zero byte"),
        ("file/x", "which is no folder"),
        ("", "a folder found"),
    ):
        with pytest.raises(StoreError, match=text):
            check_file(f"{tmp_path}{'/' * bool(name)}{name}", option="--json")
    with pytest.raises(StoreError, match="no file name found"):
        check_file(f"{tmp_path}/new/", option="--json")
    assert find_obstacle("/proc/ferdata.json", is_folder=False)  # may be written by its mode, and takes no files


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_file_in_a_locked_folder_is_written_where_it_is(tmp_path: Path) -> None:
    """No file can be made beside it first."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked/file").write_text("old")
    (tmp_path / "locked").chmod(0o500)
    try:
        write_file_at(check_file(str(tmp_path / "locked/file"), option="--json"), b"new")
        with pytest.raises(StoreError, match="cannot be written"):
            check_file(str(tmp_path / "locked/other"), option="--json")
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert (tmp_path / "locked/file").read_text() == "new"


def test_a_dash_is_the_standard_output_and_people_read_standard_error(tmp_path: Path) -> None:
    """Another program reads what comes out; a table in it would be no JSON."""
    make_dataset(tmp_path / "set", samples={"train": 12})
    for out in ("-", "/dev/stdout"):
        done = subprocess.run(
            [sys.executable, ROOT / "cli.py", "info", "set", "--json", out],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["samples"] == {"train": 12} and "fingerprint" in done.stderr
    picture = subprocess.run(
        [sys.executable, ROOT / "cli.py", "preview", "set", "--out", "-"], cwd=tmp_path, capture_output=True
    )
    assert picture.stdout.startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_tilde_is_the_home_folder_everywhere_and_a_folder_called_so_is_dot_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell leaves ``--out=~/x`` alone; one half of a run would go here and the other there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    make_dataset(tmp_path / "home/set", samples={"train": 8})

    assert expand("~") == str(tmp_path / "home") and expand("~/a") == str(tmp_path / "home/a")
    assert expand("./~/a") == expand("x/../~/a") == str(tmp_path / "work/~/a")
    assert expand("a/~") == "a/~" and expand("") == ""
    assert (
        Loader("~/set", batch_size=2, num_workers=0).num_samples
        == Loader(Path("~/set"), batch_size=2, num_workers=0).num_samples
        == 8
    )
    assert check_folder("~/out", option="--out") == str(tmp_path / "home/out")
    assert check_file("file://~/out.json", option="--json") == str(tmp_path / "home/out.json")
    asked = IngestOptions(source="folder", src="~/src", out="./~/out")
    assert (asked.src, asked.out) == (str(tmp_path / "home/src"), str(tmp_path / "work/~/out"))
    train = TrainOptions(shards="~/set", out="./~/runs", init_from="~/a", resume="~/b")
    assert (train.shards, train.out) == (str(tmp_path / "home/set"), str(tmp_path / "work/~/runs"))
    assert (train.init_from, train.resume) == (str(tmp_path / "home/a"), str(tmp_path / "home/b"))
    write_file_at("~/new/x.json", b"{}")
    assert (tmp_path / "home/new/x.json").exists()
    assert (
        preview("~/set", "~/sheet.png") == str(tmp_path / "home/sheet.png") and (tmp_path / "home/sheet.png").exists()
    )
    store = Store("~/set")
    store.remove("index.json")
    store.remove("")
    assert not (tmp_path / "home/set").exists() and list((tmp_path / "work").iterdir()) == []
