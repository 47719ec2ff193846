"""Launches of torchrun as the docs have them: ranks are killed, machines come and go, the run ends all the same."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from train_helpers import same_weights, small_dataset, step_losses, timeless_metrics

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys, time
sys.path[:0] = {paths!r}
from train_helpers import kill_at
from ferdata.training.step import Stepper

kills = {kills!r}
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if attempt < len(kills):
    kill_at(*kills[attempt])
take = Stepper.step

def slowly(self, *arguments):
    time.sleep({seconds})
    return take(self, *arguments)

Stepper.step = slowly
from ferdata.console import main
main()
"""

TRAIN = ["train", "--model", "basic1", "--batch-size", "16", "--workers", "0", "--name", "r"]

KILLS = [(0, 0), (1, 2), ("write", 4), (1, 5), (0, 7), ("write", 8), (0, 9), (1, 14), ("write", 16), (0, 19)]
"""Who is killed in each attempt, and at which of 20 steps: before any checkpoint, after one, while one is written."""


def script(folder: Path, *, kills: list[tuple[int | str, int]], seconds: float = 0) -> str:
    path = folder / "script.py"
    path.write_text(SCRIPT.format(paths=[str(Path(__file__).parents[1]), str(ROOT)], kills=kills, seconds=seconds))
    return str(path)


def torchrun(*arguments: str, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """Start torchrun."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def is_open(port: int) -> bool:
    """Tell whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that has to come."""
    deadline = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ranks_of(started: "subprocess.Popen[str]") -> list[int]:
    """Return the processes it has started, each in a session of its own."""
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text()
    return [int(child) for child in children.split()]


def ended(started: "subprocess.Popen[str]") -> str:
    """Return what it said; it has to end well."""
    said = started.communicate(timeout=1800)[1]
    assert started.returncode == 0, said[-3000:]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_ten_kills_of_ten_end_in_the_bits_of_an_undisturbed_run(num_ranks: int, tmp_path: Path) -> None:
    """Either rank, at any moment, each time in another attempt of one launch; four ranks add up in some order."""
    train = [*TRAIN, "--epochs", "5", "--shards", small_dataset(tmp_path / "shards")]
    alone = ["--standalone", "--nproc-per-node", str(num_ranks)]
    ended(torchrun(*alone, script(tmp_path, kills=[]), *train, "--out", "whole", folder=tmp_path))

    said = ended(torchrun(*alone, "--max-restarts", "10", script(tmp_path, kills=KILLS), *train, folder=tmp_path))

    assert said.count("runs/r: goes on at step ") == len(KILLS) - 3
    assert said.count("runs/r: begins again: no checkpoint") == 3
    assert timeless_metrics(tmp_path / "runs" / "r") == timeless_metrics(tmp_path / "whole" / "r")
    assert same_weights(tmp_path / "runs" / "r", tmp_path / "whole" / "r")


@pytest.mark.slow
def test_machines_may_go_and_come(tmp_path: Path) -> None:
    """Two agents of one rank each: one goes down and another comes, the run goes on with what is there."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    where = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "job", "--nnodes", "1:2"]
    where += ["--nproc-per-node", "1", "--max-restarts", "3"]
    where += ["--rdzv-conf", "last_call_timeout=5,keep_alive_interval=1"]
    train = [script(tmp_path, kills=[], seconds=0.3), *TRAIN, "--epochs", "25", "--resume", "auto"]
    train += ["--shards", small_dataset(tmp_path / "shards")]

    def machine(address: str) -> "subprocess.Popen[str]":
        again = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        return torchrun(*where, "--local-addr", address, *train, folder=tmp_path, **again)

    def has_done(step: int) -> bool:
        return metrics.exists() and f'"step": {step},' in metrics.read_text()

    metrics = tmp_path / "runs" / "r" / "metrics.jsonl"
    machines = [stays := machine("127.0.0.2")]
    try:
        wait_until(lambda: is_open(port))  # it is to be the one where the others meet
        machines.append(goes := machine("127.0.0.3"))
        wait_until(lambda: has_done(8))
        for process in (goes.pid, *ranks_of(goes)):
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: has_done(20))
        machines.append(comes := machine("127.0.0.1"))  # whose rank is 0, by its address
        said = ended(stays) + ended(comes)
    finally:
        for each in machines:
            each.kill()
            each.communicate()

    assert "1 rank" in said and "2 ranks" in said
    assert [line["step"] for line in timeless_metrics(metrics.parent) if line["kind"] == "step"] == list(range(100))
    assert step_losses(metrics.parent)[-1] < step_losses(metrics.parent)[0]
