"""What Windows' Python lacks: everything imports without it, and a data set is streamed."""

import json
from pathlib import Path

from make_dataset import expected_label, make_dataset
from streams import run_script

from ferdata import Loader

AS_WINDOWS = """
import json, sys
# What ferdata stands on has ways of its own there, and is imported before anything goes.
import asyncio, concurrent.futures.process, multiprocessing.managers, multiprocessing.reduction
import fsspec, jinja2, matplotlib.backends.backend_agg, numpy.random, pyarrow.parquet, PIL.Image, psutil, rich.progress
import simplejpeg, torch._dynamo, torch.distributed, torch.utils.tensorboard, torchmetrics, torchvision.transforms.v2
import typer, xxhash, zstandard
import importlib, mmap, os, pkgutil, select, signal

def remove():
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        sys.modules[name] = None
    for module, names in (
        (os, "fork register_at_fork pread preadv posix_fadvise memfd_create sched_getaffinity getuid geteuid killpg"),
        (os, "statvfs O_DIRECTORY O_NONBLOCK O_CLOEXEC O_NOFOLLOW mkfifo uname"),
        (signal, "SIGKILL SIGBUS SIGHUP SIGUSR1 SIGUSR2 pthread_sigmask SIG_BLOCK SIG_SETMASK"),
        (mmap, "MADV_HUGEPAGE MADV_NOHUGEPAGE MAP_PRIVATE MAP_SHARED MAP_ANONYMOUS PROT_READ"),
        (select, "poll epoll"),
        (multiprocessing.reduction, "DupFd"),
    ):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)

def main():
    import ferdata, ferdata.format.kernels.native as native

    native._load = lambda: (None, "they are not built")  # nor is there a compiler
    import ferdata.stream.workers.workers as workers

    workers.CAN_SHARE = False
    # Its processes are of POSIX alone, and its kernels are no Python module.
    left_out = {"ferdata.__main__", "ferdata.stream.workers.processes", "ferdata.format.kernels._native"}
    failed = {}
    for info in pkgutil.walk_packages(ferdata.__path__, "ferdata."):
        if info.name not in left_out:
            try:
                importlib.import_module(info.name)
            except Exception as error:
                if "is not installed, expected it; pip install" not in str(error):  # an extra that tests do without
                    failed[info.name] = repr(error)
    from ferdata.lock import hold_lock
    from ferdata.store import Store

    with ferdata.Loader(sys.argv[1], batch_size=8, num_workers=2, fields=("images", "indices")) as loader:
        first = [number for batch in loader for number in batch.indices.tolist()]
        kind = loader.workers
    with hold_lock(Store(sys.argv[2])):
        held = sorted(os.listdir(sys.argv[2]))
    data = ferdata.ShardDataset(sys.argv[1])
    print(json.dumps([failed, kind, first, len(data), int(data[0][1]), held, os.listdir(sys.argv[2])]))

if __name__ == "__main__":
    remove()
    main()
"""


def test_it_runs_where_python_is_as_on_windows(tmp_path: Path) -> None:
    """The students this project began with had Windows: one name too many at the head of a file ends it all there."""
    make_dataset(tmp_path / "set", codec="raw", samples={"train": 64})
    done = run_script(tmp_path / "script.py", AS_WINDOWS, str(tmp_path / "set"), str(tmp_path / "locked"))

    assert done.returncode == 0, done.stderr
    failed, kind, streamed, samples, label, held, left = json.loads(done.stdout.splitlines()[-1])
    assert not failed
    with Loader(tmp_path / "set", batch_size=8, num_workers=0, fields=("images", "indices")) as loader:
        assert streamed == [number for batch in loader for number in batch.indices.tolist()]
    assert (kind, samples, label) == ("thread", 64, expected_label(0))
    assert (held, left) == ([".ferdata-lock"], [])
