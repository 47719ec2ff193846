"""Runs that go on although nobody names their folder: by a restarted torchrun, and by a command that is repeated."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_helpers import (
    Recorder,
    interrupt_at,
    same_weights,
    small_dataset,
    small_options,
    step_losses,
    timeless_metrics,
)

from ferdata.errors import OptionError, TrainError
from ferdata.training import TrainOptions, train
from ferdata.training.run.attempts import find_attempt

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
sys.path[:0] = {paths!r}
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from train_helpers import kill_at, launch_two, small_options
from ferdata.training import train

def work(case, name, who, step):
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        kill_at(who, step)
    train(small_options("s", case, name=name, **{settings!r}))

for case, (name, who, step) in {cases!r}.items():
    try:
        launch_two(work, case, name, who, step, run_id="job", max_restarts=int(case != "left"))
        print(case, "ended")
    except ChildFailedError:
        print(case, "failed")
"""

SETTINGS = {"epochs": 3, "checkpoint_steps": 3, "optimizer": "sgd", "lr": 0.05, "dropout": 0.3}

CASES = {
    "whole": ("r", "nobody", 0),
    "first": ("r", 0, 7),
    "second": (None, 1, 6),
    "write": ("r", "write", 8),
    "early": ("r", 0, 2),
    "left": ("r", 1, 6),
}
"""The run's name, who is killed in the first attempt, and at which of 12 steps; ``left`` has no second attempt."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def restarted(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of each case, each of two ranks under a launch of the same name."""
    root = tmp_path_factory.mktemp("restarted")
    (root / "s").symlink_to(shards)
    script = root / "script.py"
    script.write_text(SCRIPT.format(paths=[str(Path(__file__).parents[1]), str(ROOT)], cases=CASES, settings=SETTINGS))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)
    expected = [f"{case} {'failed' if case == 'left' else 'ended'}" for case in CASES]
    assert done.stdout.splitlines() == expected, done.stderr[-3000:]
    return root


@pytest.mark.parametrize("case", ["first", "second", "write", "early"])
def test_a_restarted_torchrun_ends_where_an_undisturbed_one_does(case: str, restarted: Path) -> None:
    """The next attempt neither refuses the name, nor begins another run, nor waits for the dead: bit for bit."""
    (run,) = (restarted / case).iterdir()

    assert timeless_metrics(run) == timeless_metrics(restarted / "whole" / "r")
    assert same_weights(run, restarted / "whole" / "r")
    assert not list(run.glob("*.partial-*"))


def test_a_run_goes_on_by_its_name_on_another_number_of_ranks(restarted: Path) -> None:
    """The same samples in every step, so the same curve; gradients are added up in another order."""
    run = restarted / "left" / "r"
    assert not (run / "result.json").exists()

    recorder = Recorder()
    train(
        small_options(str(restarted / "s"), restarted / "left", name="r", resume="auto", **SETTINGS), progress=recorder
    )

    assert f"{run}: goes on at step 6 of 12, 1 rank" in recorder.notes
    assert step_losses(run) == pytest.approx(step_losses(restarted / "whole" / "r"), rel=2e-5)
    assert [line["step"] for line in timeless_metrics(run) if line["kind"] == "step"] == list(range(12))


def test_windows_of_ranks_need_as_many_as_before(restarted: Path) -> None:
    """Where ranks read windows of their own, another number of them would be another order."""
    settings = SETTINGS | {"assign": "windows", "checkpoint_steps": 1}
    with pytest.raises(TrainError, match="stopped on request"):
        train(
            small_options(str(restarted / "s"), restarted / "windows", name="w", **settings), progress=interrupt_at(1)
        )
    last = restarted / "windows" / "w" / "last.pt"
    record = torch.load(last, weights_only=True)
    record["loader"]["world_size"] = 2
    torch.save(record, last)

    with pytest.raises(
        TrainError, match=r"last.pt: a run of 2 ranks that read windows .*, expected one of 1, .* with 2"
    ):
        train(TrainOptions(resume=str(last.parent)))


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

    assert find_attempt(TrainOptions(out=str(tmp_path), name="a", resume="auto")).begun == tmp_path / "a"
    assert find_attempt(TrainOptions(out=str(tmp_path), name="c", resume="auto")).begun is None
    with pytest.raises(OptionError, match=r"lr=0.5 found, expected lr=0.001; a resumed run keeps its settings"):
        train(small_options(shards, tmp_path, name="a", resume="auto", lr=0.5))

    (tmp_path / "a" / "last.pt").unlink()
    assert train(small_options(shards, tmp_path, name="a", resume="auto")).run == str(tmp_path / "a")
