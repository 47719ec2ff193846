"""Workers: processes or threads, on systems that lack what Linux has, and by public names alone."""

import ast
import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from streams import Truth, corrupt, first_error, make_truth, run_script, shard_of, wait_until, worker_pids

import ferdata
from ferdata.errors import OptionError, ShardCorruptError, StateError, WorkerError
from ferdata.format import ShardReader
from ferdata.stream import Loader
from ferdata.stream.pipeline import choose_sizes
from ferdata.stream.workers import workers as kinds

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}
ROOT = Path(ferdata.__file__).parent
LIBRARIES = {"torch", "numpy", "multiprocessing"}


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return make_truth(tmp_path / "set")


def worker_threads() -> int:
    return sum(thread.name == "ferdata-loader" for thread in threading.enumerate())


def private_names(tree: ast.AST) -> list[str]:
    """Return the names of the libraries that a file uses and that begin with an underscore."""
    modules = {
        (alias.asname or alias.name).split(".")[0]: alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in LIBRARIES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            path, base = [node.attr], node.value
            while isinstance(base, ast.Attribute):
                path, base = [base.attr, *path], base.value
            if isinstance(base, ast.Name) and modules.get(base.id) in LIBRARIES:
                found.append(".".join([modules[base.id], *path]))
    return [name for name in found if any(part[:1] == "_" and part[:2] != "__" for part in name.split("."))]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_of_another_library_is_used(path: Path) -> None:
    """A new release of torch may rename them, and a loader that then hangs is found by whoever trains with it."""
    assert not private_names(ast.parse(path.read_text()))


def test_private_names_would_be_found() -> None:
    code = "import torch as t, numpy.lib._x\nfrom multiprocessing.process import _children\nt.utils._y.z, t.__version__"
    names = {"numpy.lib._x", "multiprocessing.process._children", "torch.utils._y", "torch.utils._y.z"}
    assert set(private_names(ast.parse(code))) == names


@pytest.mark.parametrize("options", [{}, {"persistent": False}, {"drop_last": False, "window_samples": 4096}])
def test_threads_read_what_processes_read(truth: Truth, options: dict[str, Any]) -> None:
    orders = []
    for workers, num_workers in (("process", 0), ("process", 2), ("thread", 1), ("thread", 3)):
        with Loader(truth.root, num_workers=num_workers, workers=workers, **{**SMALL, **options}) as loader:
            epochs = [[number for batch in loader for number in truth.assert_true(batch)] for _ in range(3)]
            orders.append(epochs)
            assert (len(worker_pids()) > 0) == (num_workers > 0 and workers == "process" and loader_persists(options))
    assert orders[0] == orders[1] == orders[2] == orders[3]


def loader_persists(options: dict[str, Any]) -> bool:
    return bool(options.get("persistent", True))


@pytest.mark.parametrize("how", ["close", "forget", "abandon"])
def test_threads_end_with_their_loader(truth: Truth, how: str) -> None:
    """A notebook makes a loader per cell and closes none."""
    assert wait_until(lambda: worker_threads() == 0)
    loader = Loader(truth.root, num_workers=2, workers="thread", **SMALL)
    batches = iter(loader)
    batch = next(batches)
    assert worker_threads() == 2 and "2 threads" in loader.describe()
    if how == "close":
        loader.close()
        assert worker_threads() == 0
        with pytest.raises(WorkerError, match="it was closed, expected an open one"):
            next(iter(loader))
    elif how == "abandon":
        numbers = [number for each in loader for number in truth.assert_true(each)]
        assert len(set(numbers)) == 296 and worker_threads() == 2
    truth.assert_true(batch)
    del loader, batches, batch
    gc.collect()
    assert wait_until(lambda: worker_threads() == 0)


def test_an_error_in_a_thread_is_the_error_a_process_gives(tmp_path: Path) -> None:
    truth = make_truth(tmp_path, codec="raw")
    corrupt(shard_of(truth), 12)
    texts = set()
    for workers in kinds.KINDS:
        with Loader(truth.root, num_workers=2, workers=workers, **SMALL) as loader:
            error = first_error(loader)
            assert type(error) is ShardCorruptError
            texts.add(str(error))
    assert len(texts) == 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bug_in_a_thread_comes_home_as_it_is(truth: Truth, monkeypatch: pytest.MonkeyPatch, num_workers: int) -> None:
    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("a bug")

    with Loader(truth.root, num_workers=num_workers, workers="thread", **SMALL) as loader:
        with monkeypatch.context() as patch:
            patch.setattr(ShardReader, "read_rows", broken)
            with pytest.raises(ZeroDivisionError, match=r"^a bug$"):
                list(loader)
        assert len([number for batch in loader for number in truth.assert_true(batch)]) == 296


def test_the_kind_of_workers_is_chosen_by_what_there_is(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Loader(truth.root, **SMALL).workers == "process"
    with pytest.raises(OptionError, match="workers: 'fork' found, expected process or thread"):
        Loader(truth.root, workers="fork", **SMALL)
    monkeypatch.setattr(kinds, "CAN_SHARE", False)
    assert Loader(truth.root, **SMALL).workers == "thread"
    with pytest.raises(OptionError, match="they can't share memory on this system; use workers='thread'"):
        Loader(truth.root, workers="process", **SMALL)


READ = """
    from ferdata.stream import Loader
    options = dict(batch_size=8, window_samples=48, fields=("images", "labels", "indices"), seed=3, num_workers=2)
    with Loader(sys.argv[1], **options, **more) as loader:
        print(loader.workers, [number for _ in range(2) for batch in loader for number in batch.indices.tolist()])
"""
IN_A_DAEMON = f"""
import multiprocessing, sys

def read():
    more = {{}}
{READ}
    try:
        list(Loader(sys.argv[1], workers="process", **options))
    except Exception as error:
        print(type(error).__name__, error)

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=read, daemon=True)
    process.start()
    process.join()
"""
LESS_THAN_LINUX = f"""
import mmap, os, select, sys
if __name__ == "__main__":
    more = dict(start_method="fork")
    del os.memfd_create, select.poll, select.epoll, mmap.MADV_HUGEPAGE, mmap.MADV_NOHUGEPAGE
{READ}
"""


@pytest.mark.parametrize(("script", "kind"), [(IN_A_DAEMON, "thread"), (LESS_THAN_LINUX, "process")])
def test_the_run_is_the_same_where_there_is_less_than_linux_has(
    truth: Truth, tmp_path: Path, script: str, kind: str
) -> None:
    """macOS has no memfd, and a daemon may not start processes; of Windows see ``test_windows.py``."""
    done = run_script(tmp_path / "script.py", script, str(truth.root))
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        expected = [number for _ in range(2) for batch in loader for number in batch.indices.tolist()]
    lines = done.stdout.splitlines()
    assert lines and lines[0] == f"{kind} {expected}", done.stderr
    if script == IN_A_DAEMON:
        assert lines[1].startswith("WorkerError loader: this process is a daemon, which may not start others")


@pytest.mark.parametrize(
    ("window_batches", "size", "expected"),
    [(16, 224, (8, 4, 256)), (16, 100, (32, 16, 1024)), (16, 512, (2, 1, 64)), (1, 224, (2, 1, 64))],
)
def test_what_is_read_ahead_is_bounded_in_bytes(window_batches: int, size: int, expected: tuple[int, int, int]) -> None:
    """A window is an order, and needs no memory of its size."""
    sizes = choose_sizes(window_batches, batch_size=128, row_bytes=3 * size * size, num_workers=2)
    assert (sizes.ahead, sizes.portion, sizes.job_samples) == expected


@pytest.mark.parametrize(("workers", "num_workers"), [("thread", 0), ("thread", 2), ("process", 2)])
def test_a_loader_that_another_thread_closes_says_so(
    truth: Truth, monkeypatch: pytest.MonkeyPatch, workers: str, num_workers: int
) -> None:
    """Its iteration must get neither a batch that nobody filled nor the error of a closed pipe."""
    read_rows = ShardReader.read_rows
    reading = threading.Event()

    def slow(*args: Any, **options: Any) -> int:
        reading.set()
        time.sleep(0.2)
        return read_rows(*args, **options)

    monkeypatch.setattr(ShardReader, "read_rows", slow)
    loader = Loader(truth.root, num_workers=num_workers, workers=workers, **SMALL)
    errors: list[Exception] = []

    def iterate() -> None:
        try:
            for batch in loader:
                truth.assert_true(batch)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=iterate)
    thread.start()
    reading.wait(0.4)
    time.sleep(0.1)
    loader.close()
    thread.join(20)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [StateError] and "ended by a newer one or by close" in str(errors[0])


def test_an_interrupt_while_a_batch_is_made_loses_none(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``resume`` gives begins with the first batch that was not handed out."""
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        expected = [truth.assert_true(batch) for batch in loader]
    loader = Loader(truth.root, num_workers=0, **SMALL)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loader._source, "batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            next(iter(loader))
    assert [truth.assert_true(batch) for batch in loader.resume()] == expected


def test_an_iterator_that_a_forked_process_inherits_is_refused_there(truth: Truth) -> None:
    """There are no threads in it that could ever finish a job."""
    with Loader(truth.root, num_workers=2, workers="thread", **SMALL) as loader:
        batches = iter(loader)
        next(batches)
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                next(batches)
            except StateError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0


LEFT_OPEN = """
import sys
from ferdata.stream import Loader

loader = Loader(sys.argv[1], batch_size=8, num_workers=2, workers="thread", window_samples=48)
for batch in loader:
    pass
batches = iter(loader)
next(batches)
print("left")
"""


def test_threads_end_before_the_interpreter_goes(truth: Truth, tmp_path: Path) -> None:
    """They let go of their files while it freed its memory, and every fourth script ended with a corrupted heap."""
    for _ in range(5):
        done = run_script(tmp_path / "script.py", LEFT_OPEN, str(truth.root))
        assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr
