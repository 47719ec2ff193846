"""Sweeps: which runs they are made of, that a killed one goes on, and what they leave."""

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from train_helpers import small_dataset
from verbs import refusal, run_verb

from ferdata.errors import OptionError, TrainError
from ferdata.training.sweep.process import least_used
from ferdata.training.sweep.search import importance, next_settings
from ferdata.training.sweep.spec import REPORT_SPECS, Range, read_spec
from ferdata.training.sweep.sweep import sweep
from ferdata.training.sweep.trials import grid, trials_of

FIXED = ("--model", "basic1", "--epochs", 1, "--workers", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("data") / "s", train=40, val=16)


def settings(shards: str, **more: object) -> dict[str, object]:
    return {"shards": shards, "model": "basic1", "epochs": 1, "num_workers": 0, "device": "cpu", **more}


def test_values_have_the_type_of_their_setting() -> None:
    """Typed, or in a file, where a list of augmentations is one value."""
    spec = read_spec(
        None,
        vary=["batch-size=16,32", "lr=1e-3,1e-4", "class-weights=yes,no", "augment=flip+crop,none", "dropout=none,0.5"],
    )

    assert spec.vary == {
        "batch_size": (16, 32), "lr": (1e-3, 1e-4), "class_weights": (True, False), "augment": (("flip", "crop"), ()),
        "dropout": (None, 0.5),
    }  # fmt: skip
    assert len(grid(spec)) == 32 and grid(spec)[1]["dropout"] == 0.5
    found = read_spec(None, vary=["lr=1e-5..1e-2:log", "limit=100..1000"], trials=3)
    assert found.vary["lr"] == Range(low=1e-5, high=1e-2, is_log=True)
    assert found.vary["limit"] == Range(low=100, high=1000, is_whole=True)


def test_what_is_typed_of_the_run_before_counts_before_what_the_file_says() -> None:
    """One value is a fixed setting, several are varied; a folder may lie above this one."""
    spec = read_spec("report-pretraining", vary=["pretrain.shards=../rafdb", "pretrain.lr=1e-3,1e-4"])

    assert spec.pretrain["shards"] == "../rafdb" and "lr" not in spec.pretrain
    assert [*spec.vary] == ["pretrain.epochs", "pretrain.lr"]
    assert read_spec(None, vary=["pretrain.epochs=5"]).vary == {"pretrain.epochs": (5,)}


@pytest.mark.parametrize(
    ("vary", "text"),
    [
        (["lerning-rate=1"], "'lerning_rate' found, expected one of .*lr"),
        (["batch-size=1.5"], "batch_size=1.5 found, expected a whole number"),
        (["class-weights=maybe"], "expected yes or no"),
        (["lr=1e-2..1e-3"], "expected a range of numbers such as"),
        (["lr=0..1:log"], "expected a range above 0"),
        (["lr"], "expected a setting and its values"),
        (["seed=1,2"], "seed found, which the sweep decides itself"),
        (["lr=1e-4..1e-3"], "trials: none found"),
        ([], "vary: nothing found"),
    ],
)
def test_what_cannot_be_varied_is_refused(vary: list[str], text: str) -> None:
    """Before anything is trained, with what would do."""
    with pytest.raises(OptionError, match=text):
        read_spec(None, vary=vary)


@pytest.mark.parametrize("name", sorted(path.stem for path in REPORT_SPECS.glob("*.toml")))
def test_each_sweep_of_the_report_is_one_the_trainer_takes(name: str, tmp_path: Path) -> None:
    """With names of their own for all runs; given settings count before those of the file."""
    spec = read_spec(name, train={"shards": "s", "epochs": 3})

    trials = [trial for each in grid(spec) for trial in trials_of(spec, each, tmp_path)]
    assert len({trial.name for trial in trials}) == len(trials) >= 3
    assert all(trial.options.epochs == 3 and trial.options.shards == "s" for trial in trials)


def table(out: Path) -> list[dict[str, str]]:
    lines = csv.DictReader((out / "runs.csv").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


TWO, TWELVE = ("lr=1e-2,1e-3",), ("lr=1e-2,1e-3", "batch-size=8,16,20")


@pytest.mark.parametrize(
    ("vary", "kills", "engine"),
    [
        (TWO, (signal.SIGKILL,), "local"),
        pytest.param(TWELVE, (signal.SIGINT, signal.SIGKILL), "local", marks=pytest.mark.slow, id="12"),
        pytest.param(TWO, (signal.SIGINT, signal.SIGKILL), "ray", marks=pytest.mark.slow, id="ray"),
    ],
)
def test_a_sweep_that_was_killed_ends_in_the_table_of_an_undisturbed_one(
    vary: tuple[str, ...], kills: tuple[int, ...], engine: str, shards: str, tmp_path: Path
) -> None:
    """Its runs notice, save and stop, so that nobody trains beside the next attempt; a finished one is not repeated."""
    if engine == "ray":
        pytest.importorskip("ray")
    varied = [part for each in vary for part in ("--vary", each)]
    arguments = ["sweep", "--shards", shards, *map(str, FIXED), *varied, "--seeds", "2", "--jobs", "2"]
    run_verb(*arguments, "--out", tmp_path / "whole")

    for number, how in enumerate(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "ferdata", *arguments, "--engine", engine, "--out", str(tmp_path / "cut")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 200
        while len(list((tmp_path / "cut").glob("runs/*/result.json"))) < 3 * number + 1 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait(60) != 0
    run_verb(*arguments, "--engine", engine, "--out", tmp_path / "cut")

    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    groups = json.loads((tmp_path / "cut" / "result.json").read_text())["groups"]
    means = [group["mean"] for group in groups]
    assert means == sorted(means, reverse=True) and sum(len(group["runs"]) for group in groups) in (4, 12)
    for group in groups:
        assert group["mean"] == pytest.approx(sum(run["result"]["accuracy"]["val"] for run in group["runs"]) / 2)
    assert "What each setting does" in (tmp_path / "cut" / "sweep.html").read_text()
    assert list((tmp_path / "cut" / "tensorboard").glob("*/events.out.tfevents.*"))


def test_on_ray_the_runs_are_those_of_this_machine(shards: str, tmp_path: Path) -> None:
    """A cluster is a way to be faster, not another sweep; a run that fails there is told as here."""
    pytest.importorskip("ray")

    on_ray = sweep(read_spec(None, vary=["lr=1e-3,1e30"], train=settings(shards)), tmp_path / "r", jobs=2, engine="ray")

    here = sweep(read_spec(None, vary=["lr=1e-3"], train=settings(shards)), tmp_path / "here")
    assert on_ray.groups[0].mean == here.groups[0].mean
    assert "loss" in on_ray.failed[0].problem and on_ray.groups[1].mean is None


def test_without_ray_a_sweep_says_how_to_get_it(shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_spec(None, vary=["lr=1e-3"], train=settings(shards))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"pip install 'ferdata\[ray\]', or use engine=local"):
        sweep(spec, tmp_path, engine="ray")
    with pytest.raises(OptionError, match="engine: 'spark' found, expected local or ray"):
        sweep(spec, tmp_path, engine="spark")


def test_runs_take_the_device_with_the_fewest() -> None:
    """In turns at first; later the one that a short run has left."""
    gpus = ["cuda:0", "cuda:1", "cuda:2"]
    used: list[str | None] = []
    for _ in range(6):
        used.append(least_used(gpus, used))

    assert used == gpus * 2
    assert least_used(gpus, ["cuda:0", "cuda:0", "cuda:2", "cuda:2", "cuda:1"]) == "cuda:1"
    assert least_used([None], [None, None]) is None


def test_a_grid_is_extended_and_another_sweep_is_refused(shards: str, tmp_path: Path) -> None:
    """Runs that are there are not trained again; a run that fails is told, and the others go on."""
    out = tmp_path / "s"
    first = sweep(read_spec(None, vary=["lr=1e-3"], train=settings(shards)), out)
    trained = (out / "runs" / first.groups[0].runs[0].name / "result.json").stat().st_mtime_ns

    wider = sweep(read_spec(None, vary=["lr=1e-3,1e30"], train=settings(shards)), out)

    assert (out / "runs" / first.groups[0].runs[0].name / "result.json").stat().st_mtime_ns == trained
    assert [group.mean is None for group in wider.groups] == [False, True]
    assert "loss" in wider.failed[0].problem and "1e+30" in wider.failed[0].name
    with pytest.raises(OptionError, match=r"another sweep found .*train"):
        sweep(read_spec(None, vary=["lr=1e-3"], train=settings(shards, epochs=2)), out)
    with pytest.raises(OptionError, match=r"another sweep found .*train"):
        sweep(read_spec(None, vary=["lr=1e-3"], train=settings(f"{shards}-of-others")), out)
    with pytest.raises(TrainError, match=r"all 1 runs failed, .*the first one said: .*loss nan"):
        sweep(read_spec(None, vary=["lr=1e30"], train=settings(shards)), tmp_path / "t")


def test_shards_that_were_written_anew_are_another_data_set(tmp_path: Path) -> None:
    """Under the same path: finished runs are of the images that were there before, and no table may mix the two."""
    place = tmp_path / "s"
    small_dataset(place, train=40, val=8)
    spec = read_spec(None, vary=["lr=1e-3"], train=settings(str(place)))
    sweep(spec, tmp_path / "out")
    shutil.rmtree(place)
    small_dataset(place, train=40, val=8)
    again = sweep(spec, tmp_path / "out")  # the very same images

    shutil.rmtree(place)
    small_dataset(place, train=48, val=8)
    with pytest.raises(
        OptionError, match=r"s holds another data set than the sweep began with \(fingerprint \w+ found"
    ):
        sweep(spec, tmp_path / "out")

    assert again.groups[0].mean is not None


def test_runs_start_from_a_run_that_is_varied_too(shards: str, tmp_path: Path) -> None:
    """The first run is trained once for all that start from it; without epochs there is none."""
    spec = read_spec(
        None, vary=["pretrain.epochs=0,1"], train=settings(shards), seeds=2,
    )  # fmt: skip
    found = sweep(
        read_spec(None, vary=["pretrain.epochs=0,1", f"pretrain.shards={shards}"], train=settings(shards), seeds=2),
        tmp_path,
    )

    assert len(grid(spec)) == 2
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert sum(name.startswith("pretrain-") for name in runs) == 1 and len(runs) == 5
    begun = {
        run.name: json.loads((tmp_path / "runs" / run.name / "config.json").read_text())["init_from"]
        for group in found.groups
        for run in group.runs
    }
    assert sorted(start is None for start in begun.values()) == [False, False, True, True]


def test_a_search_is_a_function_of_what_was_tried() -> None:
    """So that one that was killed goes on as if it had not been; it finds where values are better."""
    spec = read_spec(None, vary=["lr=1e-5..1e-1:log", "optimizer=adam,sgd"], trials=30)
    tried: list[tuple[dict[str, object], float | None]] = []
    for _ in range(30):
        chosen = next_settings(spec, tried)
        assert chosen == next_settings(spec, tried)
        value = 1.0 - abs(math.log10(chosen["lr"]) + 3) / 4 if chosen["lr"] < 0.05 else None
        tried.append((chosen, value))

    late = [abs(math.log10(each["lr"]) + 3) for each, _ in tried[20:]]
    early = [abs(math.log10(each["lr"]) + 3) for each, _ in tried[:10]]
    assert sum(late) < sum(early)
    shares = importance(spec, tried)
    assert next(iter(shares)) == "lr" and sum(shares.values()) == pytest.approx(1)


def test_the_verb_searches(shards: str, tmp_path: Path) -> None:
    """And says what it found best, and where the page is."""
    said = run_verb("sweep", "--shards", shards, *FIXED, "--vary", "lr=1e-4..1e-2:log", "--trials", 2,
                    "--out", tmp_path)  # fmt: skip

    assert "2/2 lr" in said and "best: lr" in said and "sweep.html" in said
    assert "expected a TOML file or one of report-batch-sizes" in refusal("sweep", "x", "--shards", shards)
