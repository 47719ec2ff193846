"""Stopping anywhere and going on: the resumed run is the uninterrupted one, to the last bit."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
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
    train_until_killed,
)

from ferdata.errors import OptionError, StateError, TrainError
from ferdata.training import TrainOptions, train
from ferdata.training.run.checkpoint import Checkpoint

SETTINGS = {"epochs": 3, "dropout": 0.3, "valence_arousal": True, "augment": ("flip", "crop", "color")}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole_run(shards: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return train(small_options(shards, tmp_path_factory.mktemp("runs"), name="whole", **SETTINGS)).run


@pytest.mark.parametrize("stopped_after", [0, 5, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stopped_by_ctrl_c_goes_on_to_the_same_bits(
    stopped_after: int, workers: int, whole_run: str, shards: str, tmp_path: Path
) -> None:
    """After the first step, inside an epoch, and at an epoch's end; with as many workers as before or more."""
    with pytest.raises(TrainError, match=rf"stopped on request after step {stopped_after + 1} of 12.*resume=.*stopped"):
        train(small_options(shards, tmp_path, name="stopped", **SETTINGS), progress=interrupt_at(stopped_after))

    progress = Recorder()
    result = train(TrainOptions(resume=str(tmp_path / "stopped"), num_workers=workers), progress=progress)

    assert [status.step for status in progress.steps] == list(range(stopped_after + 1, 12))
    assert same_weights(whole_run, result.run)
    assert same_weights(whole_run, result.run, "best.pt")
    assert timeless_metrics(whole_run) == timeless_metrics(result.run)


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(whole_run: str, shards: str, tmp_path: Path) -> None:
    """No handler runs at SIGKILL: what was written after the checkpoint is dropped and computed again, to the bit."""
    options = small_options(shards, tmp_path, name="killed", checkpoint_steps=2, **SETTINGS)
    train_until_killed(options, tmp_path, step=6)
    assert len(step_losses(tmp_path / "killed")) == 7
    assert Checkpoint.read(tmp_path / "killed" / "last.pt").state.step == 6

    result = train(TrainOptions(resume=str(tmp_path / "killed")))

    assert same_weights(whole_run, result.run)
    assert timeless_metrics(whole_run) == timeless_metrics(result.run)


def test_a_signal_from_outside_stops_the_run_within_a_step(shards: str, tmp_path: Path) -> None:
    """As a scheduler does it: SIGTERM to a process with loader workers; the exit is clean and says how to go on."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]!r}\n"
        "from pathlib import Path\n"
        "from train_helpers import small_options\n"
        "from ferdata.errors import TrainError\n"
        "from ferdata.training import train\n"
        "try:\n"
        f"    train(small_options({shards!r}, Path({str(tmp_path)!r}), name='long', epochs=100000, num_workers=2))\n"
        "except TrainError as error:\n"
        "    print(error)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    checkpoint = tmp_path / "long" / "last.pt"
    deadline = time.monotonic() + 100
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    text = process.communicate(timeout=60)[0]

    assert process.returncode == 0
    assert "stopped on request" in text
    assert "resume=" in text
    assert Checkpoint.read(checkpoint).state.step > 0


def test_a_run_of_the_last_checkpoint_version_goes_on(whole_run: str, shards: str, tmp_path: Path) -> None:
    """Its files say ``standing`` and ``deal``, and keep the notes beside where the run stands."""
    with pytest.raises(TrainError, match="stopped on request"):
        train(small_options(shards, tmp_path, name="old", **SETTINGS), progress=interrupt_at(5))
    old = tmp_path / "old"
    for path in old.glob("*.pt"):
        record = torch.load(path, weights_only=True)
        standing = record.pop("state")
        record |= {
            "version": 2,
            "notes": standing.pop("notes"),
            "advised": standing.pop("advised"),
            "standing": standing,
        }
        torch.save(record, path)
    (old / "config.json").write_text((old / "config.json").read_text().replace('"assign"', '"deal"'))

    train(TrainOptions(resume=str(old)))

    assert same_weights(whole_run, old)


def test_a_finished_run_resumes_to_its_figures(whole_run: str) -> None:
    """Nothing is left to train; the report can be drawn again."""
    progress = Recorder()
    before = json.loads((Path(whole_run) / "result.json").read_text())

    again = train(TrainOptions(resume=whole_run), progress=progress).to_json()

    assert progress.steps == []
    assert again == before


def test_a_note_of_the_last_epoch_is_in_its_checkpoint(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that waited in its last epoch says so in the report that is drawn again, and once if it is made longer."""
    monkeypatch.setattr("ferdata.training.report.waiting.WAIT_LIMIT", -1.0)
    first = train(small_options(shards, tmp_path, name="waiting", epochs=1))

    again = train(TrainOptions(resume=first.run))
    longer = train(TrainOptions(resume=first.run, epochs=2))

    assert sum("waiting for data" in note for note in first.notes) == 1
    assert again.to_json() == first.to_json()
    assert [note for note in longer.notes if "waiting" in note] == list(first.notes)


def test_more_epochs_may_be_asked_for(shards: str, tmp_path: Path) -> None:
    """A run can be made longer; with a constant rate it is the longer run from the start."""
    settings = {"schedule": "constant", "warmup": 0.0}
    longer = train(small_options(shards, tmp_path, name="longer", epochs=2, **settings)).run
    short = train(small_options(shards, tmp_path, name="short", epochs=1, **settings)).run

    result = train(TrainOptions(resume=short, epochs=2))

    assert same_weights(longer, result.run)


def test_another_data_set_s_run_is_refused(whole_run: str, tmp_path: Path) -> None:
    """The order of other samples means nothing here."""
    other = small_dataset(tmp_path / "other", train=64)

    with pytest.raises(StateError, match=r"fingerprint .* found, expected .*another data set"):
        train(TrainOptions(resume=whole_run, shards=other))


def test_settings_that_would_change_the_run_are_refused(whole_run: str) -> None:
    """Rather than ignored."""
    with pytest.raises(OptionError, match=r"dropout=0.1 found, expected dropout=0.3.*init_from="):
        train(dataclasses.replace(TrainOptions(resume=whole_run), dropout=0.1))


@pytest.mark.parametrize(
    ("spoil", "text"), [("last.pt", "no such checkpoint"), ("config.json", "no config.json found")]
)
def test_a_folder_that_is_no_run_is_refused(spoil: str, text: str, shards: str, tmp_path: Path) -> None:
    """With what is missing, so that the path can be corrected."""
    run = Path(train(small_options(shards, tmp_path, epochs=1)).run)
    (run / spoil).unlink()

    with pytest.raises(TrainError, match=text):
        train(TrainOptions(resume=str(run)))
