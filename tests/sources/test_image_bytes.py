"""One image's bytes, from a file or a parquet row."""

import faulthandler
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trees_rafdb import jpeg_bytes, parquet_file, put

from ferdata.errors import StoreError
from ferdata.sources import read_image
from ferdata.sources.files import image_bytes
from ferdata.sources.files.image_bytes import read_apart
from ferdata.store import Store


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    """Nothing is decoded; a name with ``#`` or an upper-case extension is a name."""
    for name in ("a/b.JPG", "c#3.jpg", "d.parquet#x"):
        put(tmp_path / name, name)

        assert read_image(str(tmp_path), name) == name.encode()


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "socket", "folder"])
def test_what_is_no_regular_file_is_an_error_at_once(tmp_path: Path, kind: str) -> None:
    """A pipe with an image's name would hold up the whole run for ever; it becomes one reject."""
    path = tmp_path / "x.jpg"
    if kind.endswith("pipe"):
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe") if "link" in kind else (tmp_path / "pipe").rename(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.relpath(path))
    errors: list[str] = []

    def read() -> None:
        with pytest.raises(StoreError) as caught:
            read_image(str(tmp_path), "x.jpg")
        errors.append(str(caught.value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)

    assert len(errors) == 1 and "x.jpg" in errors[0]


def test_a_file_that_is_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    """A disk image or a video under an image's name would be read into memory as a whole."""
    with open(tmp_path / "x.png", "wb") as file:
        file.truncate(40 << 30)

    with pytest.raises(
        StoreError, match=r"x\.png: 42,949,672,960 bytes found, expected at most 536,870,912; remove it"
    ):
        read_image(str(tmp_path), "x.png")


@pytest.mark.parametrize(
    "rows", [[bytes(3 << 20)], [bytes(range(256)) * 1024] * 40], ids=["one cell", "one value many times"]
)
def test_a_row_group_that_inflates_without_end_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[bytes]
) -> None:
    """Images are compressed already: kilobytes that become gigabytes hold none."""
    monkeypatch.setattr(image_bytes, "_MAX_FILE_BYTES", 1 << 20)
    pq.write_table(pa.table({"image": pa.array(rows, pa.binary())}), tmp_path / "x.parquet", compression="zstd")
    assert os.path.getsize(tmp_path / "x.parquet") < 1 << 19

    with pytest.raises(StoreError, match=r"x\.parquet#0: [\d,]+ bytes in [\d,]+ found, expected images"):
        read_image(str(tmp_path), "x.parquet#0")


@pytest.mark.parametrize("binary", [True, False])
def test_a_parquet_row_is_the_image_stored_there(tmp_path: Path, binary: bool) -> None:
    """Rows come in any order, from groups of four and from more than one file."""
    for name in ("one", "two"):
        parquet_file(tmp_path / f"data/{name}.parquet", [0] * 18, binary=binary)

    for row in np.random.default_rng(7).permutation(36).tolist():
        path = f"data/{'one' if row % 2 else 'two'}.parquet#{row // 2}"

        assert read_image(str(tmp_path), path) == jpeg_bytes(row // 2)


def test_threads_share_the_row_groups(tmp_path: Path) -> None:
    """A thread never gets another thread's row."""
    parquet_file(tmp_path / "x.parquet", [0] * 50)
    rows = np.random.default_rng(7).integers(0, 50, 400).tolist()

    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda row: read_image(str(tmp_path), f"x.parquet#{row}"), rows))

    assert found == [jpeg_bytes(row) for row in rows]


def test_the_row_groups_in_memory_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file must not end up in memory as a whole; what was dropped is read again."""
    parquet_file(tmp_path / "x.parquet", [0] * 40)
    monkeypatch.setattr(image_bytes, "_CACHE_BYTES", 3 * 4 * len(jpeg_bytes(0)))
    cache = image_bytes._RowGroups()
    monkeypatch.setattr(image_bytes, "_ROW_GROUPS", cache)

    for row in (*range(40), 0, 39):
        assert read_image(str(tmp_path), f"x.parquet#{row}") == jpeg_bytes(row)

        assert cache._num_bytes == sum(group.nbytes for group in cache._groups.values())
        assert 1 <= len(cache._groups) <= 3


def test_a_parquet_file_behind_a_url_is_read_by_ranges(tmp_path: Path) -> None:
    """Remote tables need not be downloaded first."""
    parquet_file(tmp_path / "x.parquet", [0] * 9)
    memory = fsspec.filesystem("memory")
    memory.pipe("/images-test/x.parquet", (tmp_path / "x.parquet").read_bytes())
    memory.pipe("/images-test/y.jpg", b"y")
    try:
        assert [read_image("memory://images-test", f"x.parquet#{row}") for row in (8, 0, 5)] == [
            jpeg_bytes(row) for row in (8, 0, 5)
        ]
        assert read_image("memory://images-test", "y.jpg") == b"y"
    finally:
        memory.rm("/images-test", recursive=True)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("nowhere.jpg", r"nowhere.jpg: .*No such file.*, expected an? .*file that can be read"),
        ("folder", r"folder: .*, expected a regular file"),
        ("x.parquet#9", r"x.parquet#9: 9 rows found, expected more; scan the source again"),
        ("y.parquet#0", r"y.parquet: .*expected a parquet file"),
        ("z.parquet#0", "z.parquet: .*"),
        ("null.parquet#0", r"null.parquet#0: no image bytes found in column 'image'"),
    ],
)
def test_an_image_that_is_not_there_is_one_error(tmp_path: Path, path: str, match: str) -> None:
    """Ingest turns it into a reject that names the image."""
    (tmp_path / "folder").mkdir()
    parquet_file(tmp_path / "x.parquet", [0] * 9)
    put(tmp_path / "y.parquet", "no parquet")
    pq.write_table(pa.table({"image": pa.array([None], pa.binary()), "label": [0]}), tmp_path / "null.parquet")

    with pytest.raises(StoreError, match=match):
        read_image(str(tmp_path), path)


def _abort_on_b(store: Store, path: str) -> str:
    if path == "b.parquet":
        faulthandler.disable()  # pytest's would fill the screen
        os.abort()
    return path


def test_a_file_on_which_the_reader_aborts_is_named(tmp_path: Path) -> None:
    """pyarrow ends its process on about one of 300 flipped bits of a small footer; that must not be this one."""
    found = read_apart(_abort_on_b, Store(tmp_path), ["a.parquet", "b.parquet", "c.parquet"])

    assert next(found) == "a.parquet"
    with pytest.raises(StoreError, match=r"b\.parquet: a file found that ends the process which reads it, expected"):
        next(found)
