"""Training on several data sets: one order, one network of all classes, and the figures of each set."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from train_helpers import Recorder, same_weights, small_options, timeless_metrics, train_until_killed
from verbs import refusal, run_verb

import ferdata
from ferdata.errors import OptionError
from ferdata.synth import write_synthetic
from ferdata.training import TrainOptions, train
from ferdata.training.run.resumption import resumed_options

SETTINGS: dict[str, Any] = {"dropout": 0.3, "checkpoint_steps": 2, "batch_size": 16}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees of AffectNet and RAF-DB as synth draws them, and their shards: 8 and 7 classes, each with train and val."""
    folder = tmp_path_factory.mktemp("sets")
    for name, count in (("affectnet", 100), ("rafdb", 60)):
        write_synthetic(name, str(folder / name), count=count, size=32, num_workers=1)
        out, val = folder / "shards" / name, 0.2 if name == "rafdb" else None
        options = {"src": folder / name, "out": out, "size": 32, "num_workers": 1}
        ferdata.shard(ferdata.IngestOptions(source=name, **options, **({} if val is None else {"val": val})))
    return folder


def sets_of(folder: Path) -> dict[str, float]:
    return {str(folder / "shards" / "affectnet"): 0.7, str(folder / "shards" / "rafdb"): 0.3}


def test_two_epochs_with_a_kill_in_between_are_those_of_an_undisturbed_run(folder: Path, tmp_path: Path) -> None:
    """Which sample of which set comes when follows from the settings, so nothing of it can be lost with the process."""
    whole = train(small_options(sets_of(folder), tmp_path, name="whole", **SETTINGS))
    options = small_options(sets_of(folder), tmp_path, name="killed", **SETTINGS)
    train_until_killed(options, tmp_path, step=5)

    progress = Recorder()
    result = train(TrainOptions(resume=str(tmp_path / "killed")), progress=progress)

    assert progress.steps[0].step == 4 and len(progress.epochs) == 2
    assert same_weights(whole.run, result.run) and timeless_metrics(whole.run) == timeless_metrics(result.run)
    assert result.classes == whole.classes and "Contempt" in result.classes


def test_every_set_is_measured_by_itself_and_with_the_others(folder: Path, tmp_path: Path) -> None:
    """A mean over two sets hides that one of them is not learned."""
    progress = Recorder()
    result = train(small_options(sets_of(folder), tmp_path, name="r", **SETTINGS), progress=progress)

    of_sets, val = result.set_scores["val"], result.scores["val"]
    assert list(of_sets) == ["affectnet", "rafdb"]
    assert sum(one.samples for one in of_sets.values()) == val.samples
    for row, sums in enumerate(val.confusion):
        assert sums == [sum(cells) for cells in zip(*(one.confusion[row] for one in of_sets.values()), strict=True)]
    assert of_sets["rafdb"].support[result.classes.index("Contempt")] == 0
    status = progress.epochs[result.best_epoch]
    assert {name: one.accuracy for name, one in status.val_sets.items()} == {
        name: one.accuracy for name, one in of_sets.items()
    }
    assert f"val by data set: affectnet {of_sets['affectnet'].accuracy:.1%}, rafdb" in result.describe()
    page = (tmp_path / "r" / "report.html").read_text()
    assert "val accuracy on rafdb" in page and ">val: affectnet<" in page
    lines = timeless_metrics(result.run)
    assert [*next(line for line in lines if line["kind"] == "epoch")["val_sets"]] == ["affectnet", "rafdb"]
    written = json.loads((tmp_path / "r" / "result.json").read_text())
    assert written["set_scores"]["val"]["rafdb"]["samples"] == of_sets["rafdb"].samples
    assert any("70% of affectnet, 30% of rafdb" in note for note in result.notes)


def test_a_set_without_val_is_trained_on_and_others_are_measured(folder: Path, tmp_path: Path) -> None:
    """RAF-DB comes with train and test alone; its images of 40 px are resized as they are read."""
    sets = {str(folder / "shards" / "affectnet"): 1.0, larger(folder): 1.0}
    result = train(small_options(sets, tmp_path, name="r", size=32, mix="smallest", epochs=1))

    assert [*result.set_scores["val"]] == ["affectnet"] and [*result.set_scores["test"]] == ["larger"]
    assert [*result.set_scores["train"]] == ["affectnet", "larger"]
    assert "Contempt" in result.classes and len(result.scores["test"].support) == len(result.classes) == 8
    assert any("50% of affectnet, 50% of larger; val is measured without larger" in note for note in result.notes)


def larger(folder: Path) -> str:
    """Return RAF-DB's shards at another size, which are made where needed."""
    out = folder / "shards" / "larger"
    if not out.exists():
        ferdata.shard(ferdata.IngestOptions(source="rafdb", src=folder / "rafdb", out=out, size=40, num_workers=1))
    return str(out)


def commands() -> list[list[str]]:
    """Return the commands on the page that train on several sets, as words."""
    page = (ROOT / "docs" / "training.md").read_text().partition("## Several data sets")[2].partition("\n## ")[0]
    lines = re.findall(r"^python cli.py (train .*?)(?:   .*)?$", page, re.MULTILINE)
    return [line.split() for line in lines]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_of_the_page_run(
    words: list[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are copied as they stand."""
    monkeypatch.chdir(folder)
    small = ("--model", "basic1", "--epochs", 1, "--batch-size", 32, "--workers", 0, "--out", tmp_path, "--name", "r")

    said = run_verb(*words, *small)

    assert "val by data set: affectnet" in said
    saved = json.loads((tmp_path / "r" / "config.json").read_text())
    assert saved["shards"] == [str(folder / "shards" / name) for name in ("affectnet", "rafdb")]


def test_what_makes_no_sense_is_refused_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    """With the option that helps."""
    affectnet, rafdb = (folder / "shards" / name for name in ("affectnet", "rafdb"))
    out = ("--out", tmp_path, "--workers", 0)

    assert "expected one size; resize=40 brings all to 40 x 40 as they are read (train: --size 40)" in refusal(
        "train", "--shards", affectnet, "--shards", larger(folder), *out
    )
    assert "weights [0.0, 1.0] found, expected numbers above 0" in refusal(
        "train", "--shards", f"{affectnet}:0", "--shards", rafdb, *out
    )
    assert "found twice, expected each set once" in refusal("train", "--shards", rafdb, "--shards", f"{rafdb}:2", *out)
    assert "--mix: 'often' found, expected concat, weights, smallest or largest" in refusal(
        "train", "--shards", affectnet, "--shards", rafdb, "--mix", "often", *out
    )
    assert "mix: concat found with weights" in refusal(
        "train", "--shards", f"{affectnet}:2", "--shards", rafdb, "--mix", "concat", *out
    ).replace("--mix", "mix")
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_keeps_its_sets_and_weights() -> None:
    """Where they lie may change, how often each is drawn may not."""
    saved = TrainOptions(shards={"a": 7, "b": 3})
    assert saved.set_weights == (7.0, 3.0) and saved.sets == {"a": 7.0, "b": 3.0}
    assert TrainOptions.from_json(json.loads(json.dumps(saved.to_json())), "config.json") == saved

    moved = resumed_options(TrainOptions(resume="r", shards=["x/a", "x/b"]), saved, "r")
    assert moved.sets == {"x/a": 7.0, "x/b": 3.0}
    with pytest.raises(OptionError, match=r"set_weights=\(1.0, 1.0\) found, expected set_weights=\(7.0, 3.0\)"):
        resumed_options(TrainOptions(resume="r", shards={"a": 1, "b": 1}), saved, "r")
    with pytest.raises(OptionError, match="1 sets and 2 weights found, expected one for each"):
        resumed_options(TrainOptions(resume="r", shards="a"), saved, "r")
