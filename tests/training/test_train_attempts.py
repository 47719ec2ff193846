"""Runs that go on although nobody names their folder: by a restarted torchrun, and by a command that is repeated."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from train_helpers import interrupt_at, same_weights, small_dataset, small_options, timeless_metrics

from ferdata.errors import OptionError, TrainError
from ferdata.training import TrainOptions, train
from ferdata.training.run.attempts import find_begun

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
sys.path[:0] = {paths!r}
from train_helpers import Recorder, launch_two, small_options
from ferdata.training import train

def work(case, name, step):
    os.write(1, (case + "\\n").encode())
    def end(done):
        if done == step and os.environ["RANK"] == "0" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), 9)
    train(small_options("s", case, epochs=3, name=name), progress=Recorder(end))

for case, (name, step) in {cases!r}.items():
    launch_two(work, case, name, step, run_id=case, max_restarts=1)
"""

CASES = {"named": ("r", 6), "unnamed": (None, 6), "before a checkpoint": ("r", 1)}
"""The run's name, and the step after which a rank is killed in the first attempt."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def restarted(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of each case."""
    root = tmp_path_factory.mktemp("restarted")
    (root / "s").symlink_to(shards)
    script = root / "script.py"
    script.write_text(SCRIPT.format(paths=[str(Path(__file__).parents[1]), str(ROOT)], cases=CASES))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == sorted(
        case for case in CASES for _ in range(4)
    )  # two ranks, two attempts
    return root


@pytest.mark.parametrize("case", CASES)
def test_a_restarted_torchrun_goes_on_with_its_own_run(case: str, restarted: Path) -> None:
    """The second attempt neither refuses the name, nor begins another run, nor waits for the dead."""
    (run,) = (restarted / case).iterdir()
    assert [line["step"] for line in timeless_metrics(run) if line["kind"] == "step"] == list(range(12))
    assert (run / "result.json").is_file()


def test_a_new_torchrun_begins_a_run_of_its_own(shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an attempt of the same torchrun goes on unasked: a name that another command has used stays taken."""
    train(small_options(shards, tmp_path, name="r", epochs=1))
    for restarts, launch in (("0", "none"), ("1", "another")):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", launch)
        with pytest.raises(TrainError, match="a run of this name is there already"):
            train(small_options(shards, tmp_path, name="r", epochs=1))


def test_a_repeated_command_ends_where_an_unbroken_one_does(shards: str, tmp_path: Path) -> None:
    """Begins, is stopped, goes on, begins another one only once that is finished: what a scheduler's script does."""
    settings = {"resume": "auto", "seed": 3}
    with pytest.raises(TrainError, match="stopped on request after step 3"):
        train(small_options(shards, tmp_path, **settings), progress=interrupt_at(2))
    first = train(small_options(shards, tmp_path, **settings))
    whole = train(small_options(shards, tmp_path / "whole", seed=3))

    assert len(list(tmp_path.glob("basic1-*"))) == 1
    assert same_weights(first.run, whole.run) and timeless_metrics(first.run) == timeless_metrics(whole.run)

    second = train(small_options(shards, tmp_path, **settings))
    assert second.run != first.run


def test_auto_looks_at_the_run_of_that_name_only(shards: str, tmp_path: Path) -> None:
    """And refuses what would make it another run, as any resume does; a folder without a checkpoint is begun again."""
    for name in ("a", "b"):
        with pytest.raises(TrainError, match="stopped on request"):
            train(small_options(shards, tmp_path, name=name), progress=interrupt_at(2))

    assert find_begun(TrainOptions(out=str(tmp_path), name="a", resume="auto"))[0] == tmp_path / "a"
    assert find_begun(TrainOptions(out=str(tmp_path), name="c", resume="auto")) == (None, False)
    with pytest.raises(OptionError, match=r"lr=0.5 found, expected lr=0.001; a resumed run keeps its settings"):
        train(small_options(shards, tmp_path, name="a", resume="auto", lr=0.5))

    (tmp_path / "a" / "last.pt").unlink()
    assert train(small_options(shards, tmp_path, name="a", resume="auto")).run == str(tmp_path / "a")
