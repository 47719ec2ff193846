"""Files wherever they live: what object stores, plain web servers and full disks do differently; errors name it."""

import functools
import http.server
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import objects
import pytest
from make_dataset import make_dataset

from ferdata.dataset.verify import verify
from ferdata.errors import FerdataError, StoreError
from ferdata.place import check_file
from ferdata.store import Store, write_file_at


def test_a_folder_of_an_object_store_that_was_made_holds_nothing_and_can_be_listed(tmp_path: Path) -> None:
    """Making one does nothing there: a prefix exists as long as an object does, yet a data set begins by listing it."""
    store = Store(f"objects://{tmp_path}/new")
    store.make_dir()

    assert store.list(missing_ok=True) == [] and not store.exists()
    with pytest.raises(StoreError, match=f"^objects://{tmp_path}/new: no such folder; check the path$"):
        store.list()
    with store.write_atomic("a/b") as file:
        file.write(b"b")
    assert [entry.name for entry in store.list()] == ["a"] and store.read("a/b") == b"b"
    store.remove("a")
    assert not store.exists("a")


def test_what_another_process_wrote_is_seen_after_a_listing(tmp_path: Path) -> None:
    """fsspec remembers listings; workers upload while the parent keeps one."""
    store = Store(f"objects://{tmp_path}/set")
    store.write("a", b"a")
    assert [entry.name for entry in store.list()] == ["a"]
    (tmp_path / "set/b").write_bytes(b"bb")

    assert store.exists("b") and store.num_bytes("b") == 2
    assert [entry.name for entry in store.list()] == ["a", "b"]


class _Whole(http.server.SimpleHTTPRequestHandler):
    """Python's own server: it ignores ranges."""

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of ``tmp_path``."""
    with socketserver.ThreadingTCPServer(
        ("127.0.0.1", 0), functools.partial(_Whole, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_sound_shards_are_sound_behind_a_server_that_ignores_ranges(tmp_path: Path, served: str) -> None:
    """``python -m http.server`` answers a range with the whole file, whose first bytes are not those asked for."""
    index = make_dataset(tmp_path / "shards", samples={"train": 12})
    name = index.shards[0].name

    with pytest.warns(UserWarning, match=f"^{served}/shards: this server sends whole files instead of parts"):
        assert Store(f"{served}/shards").read_range(name, 5, 9) == (tmp_path / "shards" / name).read_bytes()[5:9]
    with pytest.warns(UserWarning, match="sends whole files"):
        assert verify(f"{served}/shards", num_workers=1).ok


def test_a_web_address_cannot_be_written(served: str) -> None:
    """Before the work, not by an upload that the server refuses after it."""
    text = f"{served}.*: an HTTP address found, which cannot be written"
    for refused in (
        lambda: Store(f"{served}/out").make_dir(),
        lambda: Store(f"{served}/out").write_atomic("x").__enter__(),
        lambda: write_file_at(f"{served}/out.json", b""),
        lambda: check_file(f"{served}/out.json", option="--json"),
    ):
        with pytest.raises(StoreError, match=text):
            refused()


def test_a_file_that_cannot_be_written_is_one_error_of_ours(tmp_path: Path) -> None:
    """A folder of its name, a parent that is a file, and a disk that is full; nothing is left behind."""
    (tmp_path / "folder/x").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for root, name in ((tmp_path, "folder"), (tmp_path / "file", "x"), (tmp_path, "gone/x")):
        text = f"^{root}/{name}: .*, expected a place with room that can be written"
        with pytest.raises(StoreError, match=text), Store(root).write_atomic(name) as file:
            file.write(b"x")
    with (
        pytest.raises(StoreError, match="x: No space left on device, expected a place with room"),
        Store(tmp_path).write_atomic("x"),
    ):
        raise OSError(28, "No space left on device")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("scheme", ["", "objects://"])
def test_an_error_of_the_block_that_writes_stays_what_it_is(tmp_path: Path, scheme: str) -> None:
    """A file that cannot be read is not a file that cannot be written."""
    for error in (FerdataError("ours"), ValueError("a bug"), FileNotFoundError(2, "No such file", "elsewhere")):
        with pytest.raises(type(error)) as caught, Store(f"{scheme}{tmp_path}").write_atomic("x"):
            raise error
        assert caught.value is error
    assert not any(tmp_path.iterdir())


def test_errors_of_a_remote_library_are_errors_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials and no such host are the first things that go wrong, and no library derives them from OSError."""

    def refuse(*arguments: object, **options: object) -> None:
        raise LookupError("Unable to locate credentials\nand more")

    for name in ("ls", "exists", "put_file", "cat_file"):
        monkeypatch.setattr(objects.ObjectStore, name, refuse)
    store = Store(f"objects://{tmp_path}")
    for asked in (
        store.list,
        store.exists,
        lambda: store.read("x"),
        lambda: write_file_at(f"objects://{tmp_path}/x", b""),
    ):
        with pytest.raises(
            StoreError, match=f"^objects://{tmp_path}.*: Unable to locate credentials, expected a .*; .*$"
        ):
            asked()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "--json '': no file name found, expected the name of a file to write; choose another"),
        ("{}/folder", "--json {}/folder: a folder found"),
        ("{}/folder/", "--json {}/folder/: no file name found"),
        ("{}/file/x.json", "--json {}/file/x.json: {}/file found, which is no folder"),
        ("{}/locked/a/b.json", "--json {}/locked/a/b.json: {}/locked found, which cannot be written"),
    ],
)
def test_a_name_that_cannot_be_written_is_known_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    """After it, an hour's figures would be lost."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place).name != "locked")  # root may write anywhere

    with pytest.raises(StoreError) as caught:
        check_file(path.format(tmp_path), option="--json")

    assert str(caught.value).startswith(text.format(tmp_path, tmp_path))
    for good in (f"{tmp_path}/file", f"{tmp_path}/new/a.json", "a.json", "memory://x/a.json"):
        check_file(good, option="--json")
