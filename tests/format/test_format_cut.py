"""Files that are cut while they are read, and what is no file at all: an error that names it, no signal and no wait."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import CODECS, expected_pixels, make_dataset
from streams import ENVIRONMENT, run_script

from ferdata import Loader, ShardDataset
from ferdata.dataset.export import export
from ferdata.dataset.preview import preview
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import FerdataError, ShardCorruptError
from ferdata.format import ShardReader
from ferdata.format.kernels.native import load
from ferdata.store import Store

READ_AFTER_A_CUT = """
import json, os, sys
import numpy as np
import torch
from ferdata.format import ShardReader, read_index
from ferdata.errors import ShardCorruptError
from ferdata.store import Store

torch._C._set_worker_signal_handlers()  # as in a DataLoader worker: it ends the process, and blames shared memory
for root in sys.argv[1:]:
    store = Store(root)
    index = read_index(store)
    info = index.shards[0]
    path = os.path.join(root, info.name)
    status = os.stat(path)
    out = np.ones((info.samples, index.spec.num_bytes), np.uint8)
    every = np.arange(info.samples)
    reader = ShardReader(store, info, index)
    kept = [reader._file.view(at, 100) for at in range(0, info.num_bytes - 100, 100)]
    os.truncate(path, 0)
    alive = len(b"".join(kept))
    if root.endswith("restored"):
        os.truncate(path, status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    reads = [lambda: reader.read_rows(every, out, every)]
    reads += [lambda: reader.read_head(1), lambda: reader.read_body(1), lambda: reader.read(1)]
    errors = []
    for read in reads:
        try:
            read()
        except ShardCorruptError as error:
            errors.append(str(error))
    print(json.dumps([root, alive, errors]))
"""
CHANGES = ["cut", "restored"]


@pytest.fixture(scope="module")
def after_a_cut(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, list[str]]]:
    """What one process met in the shards of each codec and change: the shard, bytes it could touch, and its errors."""
    folder = tmp_path_factory.mktemp("cut")
    names = [f"{codec}-{change}" for codec in CODECS for change in CHANGES]
    shards = {
        name: make_dataset(folder / name, codec=name.partition("-")[0], samples={"train": 12}, size=64).shards[0].name
        for name in names
    }
    ended = run_script(folder / "child.py", READ_AFTER_A_CUT, *(str(folder / name) for name in names))
    said = [line for line in ended.stderr.splitlines() if "kernels are missing" not in line]
    assert (ended.returncode, said) == (0, [])
    found = {Path(root).name: (alive, errors) for root, alive, errors in map(json.loads, ended.stdout.splitlines())}
    return {name: (folder / name / shards[name], *found[name]) for name in names}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("codec", CODECS)
def test_bytes_that_go_while_they_are_read_are_an_error_and_not_a_signal(
    after_a_cut: dict[str, tuple[Path, int, list[str]]], codec: str, change: str
) -> None:
    """Whatever touches a mapped page that is gone (a copy, libzstd, a hash) would be killed by SIGBUS without a word.

    A file that looks whole again afterwards stands for a disk that could not give a page.
    """
    if change == "restored" and load() is None:
        pytest.skip("without kernels no file is mapped, and the zeros that are read have a wrong checksum")
    path, alive, errors = after_a_cut[f"{codec}-{change}"]

    assert alive > 4096 and len(errors) == 4
    reason = "the file was changed while it was being read" if change == "cut" else "bytes of it could not be read"
    assert all(error.startswith(f"{path}: {reason}") for error in errors)


ENDLESS = """
import sys
from ferdata import Loader
from ferdata.errors import FerdataError
if __name__ == "__main__":
    try:
        with Loader(sys.argv[1], batch_size=16, num_workers=int(sys.argv[2])) as loader:
            while True:
                for batch in loader:
                    pass
                print(loader.epoch, flush=True)
    except FerdataError as error:
        sys.exit(str(error))
"""


@pytest.mark.parametrize(("codec", "num_workers"), [("raw", 2), ("zstd", 0)])
def test_a_shard_cut_under_a_running_loader_ends_it_with_the_shard_s_name(
    tmp_path: Path, codec: str, num_workers: int
) -> None:
    """A full disk, or a copy begun anew over the data of a running training, wherever the readers stand just then."""
    index = make_dataset(tmp_path / "set", codec=codec, samples={"train": 400}, samples_per_shard=400, size=96)
    path = tmp_path / "set" / index.shards[0].name
    (tmp_path / "child.py").write_text(ENDLESS)
    command = [sys.executable, str(tmp_path / "child.py"), str(tmp_path / "set"), str(num_workers)]
    child = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    os.truncate(path, path.stat().st_size // 2)
    _, said = child.communicate(timeout=100)
    assert child.returncode == 1
    assert said.startswith(f"{path}: ") and len(said.splitlines()) == 1


FOREIGN = """
import faulthandler, mmap, os, signal, sys
from ferdata.format import ShardReader, read_index
from ferdata.store import Store

root, how, when = sys.argv[1:]
if when == "before":
    faulthandler.enable()
store = Store(root)
index = read_index(store)
reader = ShardReader(store, index.shards[0], index)
if when == "after":
    faulthandler.enable()
    other = ShardReader(store, index.shards[0], index)
if how == "sent":
    os.kill(os.getpid(), signal.SIGBUS)
else:
    with open(os.path.join(root, "other"), "wb+") as file:
        file.write(bytes(8192))
        file.flush()
        mapped = mmap.mmap(file.fileno(), 8192)
        os.truncate(file.fileno(), 0)
        mapped[5000]
print("alive")
"""


@pytest.mark.parametrize("when", ["before", "after", "never"])
@pytest.mark.parametrize("how", ["sent", "fault"])
def test_bus_errors_of_others_are_left_to_others(tmp_path: Path, how: str, when: str) -> None:
    """A process that should die of a signal must, and Python's fault handler have its say, wherever in the chain."""
    make_dataset(tmp_path / "set", codec="raw", samples={"train": 3})

    ended = run_script(tmp_path / "child.py", FOREIGN, str(tmp_path / "set"), how, when)

    assert ended.returncode == -signal.SIGBUS
    assert "alive" not in ended.stdout
    assert ("Fatal Python error: Bus error" in ended.stderr) == (when != "never")


@pytest.mark.parametrize("codec", CODECS)
def test_without_the_guard_files_are_read_and_not_mapped(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler, nobody catches the signal: no page may be mapped, and every sample must be the same."""
    monkeypatch.setattr("ferdata.format.container.shard_file.load", lambda: None)
    index = make_dataset(tmp_path, codec=codec, samples={"train": 12}, size=64)
    path, store = tmp_path / index.shards[0].name, Store(str(tmp_path))
    out, every = np.empty((12, index.spec.num_bytes), np.uint8), np.arange(12)
    with ShardReader(store, index.shards[0], index) as reader:
        reader.read_rows(every, out, every)
        assert str(path) not in Path("/proc/self/maps").read_text()
        assert all(np.array_equal(out[number], expected_pixels(number, 64).ravel()) for number in every)
        os.truncate(path, 4096)
        with pytest.raises(ShardCorruptError, match=f"{path}: the file was changed while it was being read"):
            reader.read_rows(every, out, every)


# No files


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


NO_FILES = {"pipe": fifo, "socket": bound_socket, "device": device, "folder": Path.mkdir, "link to itself": loop}


def read_verified(root: Path, out: Path) -> None:
    report = verify(str(root), num_workers=1)
    assert not report.ok
    raise ShardCorruptError(" ".join(report.errors))


def read_batches(root: Path, *, num_workers: int) -> None:
    with Loader(root, batch_size=2, num_workers=num_workers) as loader:
        list(loader)


READERS: dict[str, Callable[[Path, Path], Any]] = {
    "loader": lambda root, out: read_batches(root, num_workers=0),
    "workers": lambda root, out: read_batches(root, num_workers=1),
    "dataset": lambda root, out: ShardDataset(root)[0],
    "verify": read_verified,
    "export": lambda root, out: export(str(root), to="folder", out=str(out), num_workers=1),
    "recode": lambda root, out: recode(str(root), out=str(out), codec="raw", num_workers=1),
    "preview": lambda root, out: preview(str(root), str(out)),
}


@pytest.fixture
def no_wait() -> Iterator[None]:
    """End a test that waits for ever, as a reader of a pipe would."""

    def ring(*_: object) -> None:
        raise TimeoutError("a reader waits")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", ["train-000000.tar.zst", "samples.parquet", "index.json"])
def test_what_is_no_file_is_refused_at_once_by_every_reader(tmp_path: Path, name: str, kind: str) -> None:
    """A pipe that nobody writes to is waited for until somebody kills the run, its workers and what they left."""
    root = tmp_path / "set"
    make_dataset(root, samples={"train": 4})
    (root / name).unlink()
    NO_FILES[kind](root / name)

    for number, read in enumerate(READERS.values()):
        with pytest.raises(FerdataError, match=str(root / name)):
            read(root, tmp_path / f"{number}.png")


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("kind", NO_FILES)
def test_rejects_that_are_no_file_are_refused_by_those_that_read_them(tmp_path: Path, kind: str) -> None:
    """The small file that nobody thinks of is copied by recode and hashed by verify."""
    root = tmp_path / "set"
    make_dataset(root, samples={"train": 4})
    (root / "rejects.csv").unlink()
    NO_FILES[kind](root / "rejects.csv")

    for name in ("verify", "recode"):
        with pytest.raises(FerdataError, match=str(root / "rejects.csv")):
            READERS[name](root, tmp_path / name)


@pytest.mark.skipif(load() is None, reason="files are mapped, and guarded, for the kernels alone")
def test_a_guard_is_free_again_once_its_file_is_closed(tmp_path: Path) -> None:
    """There are only so many: one that stays taken for every shard ever opened would end mapping in a long run."""
    index = make_dataset(tmp_path, codec="raw", samples={"train": 2})
    found = set()
    for _ in range(3):
        with ShardReader(Store(str(tmp_path)), index.shards[0], index) as reader:
            found.add(reader._file._map._guard)
    assert len(found) == 1 and None not in found
