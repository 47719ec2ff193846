"""Two real processes under torchrun train as one: the same losses, exact figures, no hang at the end of an epoch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from train_helpers import small_dataset, small_options, step_losses, timeless_metrics, weights

from ferdata.errors import TrainError
from ferdata.training import TrainOptions, train

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {
        "optimizer": "sgd",
        "lr": 0.05,
        "dropout": 0.3,
        "class_weights": True,
        "label_smoothing": 0.1,
        "valence_arousal": True,
    },
    "adam": {"accumulate": 2, "loss": "sum", "lr": 1e-4, "valence_arousal": True},
    "windows": {"assign": "windows", "sampling": "uniform", "limit": 32},
}
SCRIPT = """
import json, os, sys
sys.path[:0] = {paths!r}
from train_helpers import interrupt_at, launch_two
from ferdata.errors import FerdataError
from ferdata.training import TrainOptions, train

def work(records):
    for number, record in enumerate(records):
        name = record["name"] or record["resume"]
        try:
            progress = interrupt_at(record.pop("interrupt", -1))
            result = train(TrainOptions.from_json(record, name), progress=progress).to_json()
        except FerdataError as error:
            result = {{"error": type(error).__name__, "text": str(error)}}
        rank = int(os.environ["RANK"])
        with open(f"{{number}}-{{rank}}.result", "w") as file:  # two processes that print at once mix their lines
            json.dump([name, rank, result], file)

launch_two(work, json.loads(sys.argv[1]))
"""


def _on_two_ranks(tmp_path: Path, records: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Run trainings one after the other in two processes; return each rank's results by (name, rank)."""
    tests = Path(__file__).parents[1]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=[str(tests), str(tests.parent)]))
    command = [sys.executable, str(script), json.dumps(records)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(path.read_text()) for path in tmp_path.glob("*.result")]
    return {(name, rank): result for name, rank, result in found}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


def mix_of(shards: str) -> dict[str, float]:
    """Return two sets: the one of the other tests, and one that is drawn half as often, which is made where needed."""
    other = f"{shards}-other"
    if not Path(other).exists():
        small_dataset(Path(other), train=40, val=11)
    return {shards: 2, other: 1}


@pytest.fixture(scope="module")
def two(shards: str, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    """What two processes made of the settings above, of a run that is stopped, and of one whose name is taken."""
    root = tmp_path_factory.mktemp("two")
    records = [small_options(shards, root, name=name, **settings).to_json() for name, settings in SETTINGS.items()]
    records.append(small_options(shards, root, name="stopped", **SETTINGS["sgd"]).to_json() | {"interrupt": 4})
    records.append(small_options(mix_of(shards), root, name="mixed", **SETTINGS["sgd"]).to_json())
    (root / "taken").mkdir()
    (root / "taken" / "config.json").write_text("{}")
    records.append(small_options(shards, root, name="taken").to_json())
    return _on_two_ranks(root, records) | {("root", 0): {"path": str(root)}}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_two_processes_take_the_steps_of_one(
    name: str, two: dict[tuple[str, int], dict[str, Any]], shards: str, tmp_path: Path
) -> None:
    """Loss by loss, weight by weight, but for rounding: dropout, augmentation, weighted classes, heads, micro-batches.

    A concordance is that of a micro-batch, so number k of both ranks together must hold the samples of number k of one
    process.
    """
    one = train(small_options(shards, tmp_path, name=name, **SETTINGS[name]))
    run = Path(two["root", 0]["path"]) / name

    assert step_losses(run) == pytest.approx(step_losses(one.run), rel=2e-5)
    for ours, theirs in zip(weights(one.run).values(), weights(run).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)
    first, second = timeless_metrics(one.run), timeless_metrics(run)
    assert [line.get("train_accuracy") for line in first] == [line.get("train_accuracy") for line in second]


def test_two_processes_take_the_steps_of_one_on_a_mix(
    two: dict[tuple[str, int], dict[str, Any]], shards: str, tmp_path: Path
) -> None:
    """Loss by loss, and the figures of each set to the sample, though its val is read by both in parts."""
    one = train(small_options(mix_of(shards), tmp_path, name="mixed", **SETTINGS["sgd"]))

    assert step_losses(Path(two["root", 0]["path"]) / "mixed") == pytest.approx(step_losses(one.run), rel=2e-5)
    theirs = two["mixed", 0]["set_scores"]
    assert theirs == two["mixed", 1]["set_scores"]
    assert [scores["samples"] for scores in theirs["val"].values()] == [21, 11]
    assert {name: scores["support"] for name, scores in theirs["train"].items()} == {
        name: scores.support for name, scores in one.set_scores["train"].items()
    }


def test_both_ranks_know_the_same_exact_figures(two: dict[tuple[str, int], dict[str, Any]]) -> None:
    """21 val samples in batches of 8 on two ranks: 11 on the one, 10 and padding on the other, each counted once."""
    for name in ("sgd", "windows"):
        first, second = two[name, 0], two[name, 1]
        assert first["scores"] == second["scores"]
    assert sum(map(sum, two["sgd", 0]["scores"]["val"]["confusion"])) == 21
    assert sum(map(sum, two["sgd", 0]["scores"]["train"]["confusion"])) == 70


def test_figures_over_ranks_are_those_of_one_process(two: dict[tuple[str, int], dict[str, Any]]) -> None:
    """The weights two processes trained are measured again by one."""
    again = train(TrainOptions(resume=two["sgd", 0]["run"]))

    theirs = two["sgd", 0]["scores"]["val"]
    assert again.scores["val"].confusion == theirs["confusion"]
    assert again.scores["val"].loss == pytest.approx(theirs["loss"], rel=1e-6)
    assert again.scores["val"].ccc["valence"] == pytest.approx(theirs["ccc"]["valence"], abs=1e-6)


def test_a_limit_measures_the_same_samples_on_any_number_of_ranks(
    two: dict[tuple[str, int], dict[str, Any]], shards: str, tmp_path: Path
) -> None:
    """32 of 70, assigned to two ranks or read by one; val is whole."""
    one = train(small_options(shards, tmp_path, limit=32, epochs=1))

    theirs = two["windows", 0]["scores"]
    assert one.scores["train"].support == theirs["train"]["support"]
    assert one.scores["val"].support == theirs["val"]["support"]
    assert (one.scores["train"].samples, one.scores["val"].samples) == (32, 21)


def test_assigning_windows_trains_as_many_samples(two: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Each rank reads its own samples; steps and ends of epochs agree all the same."""
    assert two["windows", 0]["steps"] == two["windows", 1]["steps"] == 2 * 2


def test_a_stop_on_one_rank_stops_both_at_the_same_step(
    two: dict[tuple[str, int], dict[str, Any]], shards: str, tmp_path: Path
) -> None:
    """And one process goes on from there to where two would have come."""
    for rank in (0, 1):
        assert two["stopped", rank]["error"] == ["TrainError", "FollowingError"][rank]
        assert "stopped on request after step 6 of 8" in two["stopped", rank]["text"]
        assert "go on with: train(TrainOptions(resume=" in two["stopped", rank]["text"]
    root = Path(two["root", 0]["path"])

    train(TrainOptions(resume=str(root / "stopped")))

    assert step_losses(root / "stopped") == pytest.approx(step_losses(root / "sgd"), rel=2e-5)


def test_what_fails_on_the_first_rank_fails_on_all(two: dict[tuple[str, int], dict[str, Any]]) -> None:
    """The run's folder is the first rank's business; the other must not wait for it for ever."""
    for rank in (0, 1):
        assert two["taken", rank]["error"] == ["TrainError", "FollowingError"][rank]
        assert "a run of this name is there already" in two["taken", rank]["text"]


COMMANDS = """
import os, signal, sys
sys.path[:0] = {paths!r}
import ferdata.training.first_run as first_run
from functools import partial
from ferdata.console import main
from ferdata.training.step import Stepper
first_run.builtin_shards = partial(first_run.builtin_shards, count=80, size=32)
step = Stepper.step

def killed(self, batch, number):
    if number == 6 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, number)

def run(*arguments):
    sys.argv = ["cli.py", "train", "--workers", "0", "--batch-size", "16", "--out", "runs", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code

run("--epochs", "1", "--name", "built", "--json", f"{{os.environ['RANK']}}/built.json")
Stepper.step = killed
with open(os.environ["RANK"] + ".code", "w") as file:
    file.write(str(run("--epochs", "4", "--name", "killed")))
"""


def test_the_command_draws_the_built_in_faces_once_and_outlives_a_killed_rank(tmp_path: Path) -> None:
    """Under torchrun with a fresh cache folder: one rank draws, shows, writes. One dies; the other says what to do."""
    script = tmp_path / "script.py"
    script.write_text(COMMANDS.format(paths=[str(Path(__file__).parents[2])]))
    for rank in ("0", "1"):
        (tmp_path / rank).mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        capture_output=True, text=True, timeout=240, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip

    assert done.stdout.count("building 80 synthetic faces") == 1, done.stderr[-3000:]
    assert len(list((tmp_path / "cache" / "ferdata").iterdir())) == 1
    assert done.stdout.count("report: runs/built/report.html") == 1
    assert done.stderr.count("epoch   1/1  loss") == 1
    assert (tmp_path / "0" / "built.json").exists()
    assert not (tmp_path / "1" / "built.json").exists()
    assert (tmp_path / "0.code").read_text() == "1"
    found = re.findall(r"^error: .*", done.stderr, re.MULTILINE)
    assert len(found) == 1
    assert re.search(
        r"rank 0 of 2: another rank of this run ended without a word .*torchrun --nproc-per-node 2 .*runs/killed",
        found[0],
    )


def test_a_batch_that_does_not_divide_is_refused_in_one_process_too(shards: str, tmp_path: Path) -> None:
    """The batch is the step's, over all ranks and micro-batches."""
    with pytest.raises((TrainError, ValueError), match=r"expected a multiple of 1 ranks x 3 micro-batches"):
        train(small_options(shards, tmp_path, accumulate=3))
