"""What can go wrong in a run: each ends in one sentence that says what to do, and leaves the last good checkpoint."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_helpers import Recorder, small_dataset, small_options, step_losses, weights

from ferdata.errors import ShardCorruptError, TrainError
from ferdata.training import train
from ferdata.training.run.disk import json_line, write_json


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(shards: str, tmp_path: Path) -> None:
    """A rate of 1e18 does it in a step or two; the checkpoint of the first step is good and is named."""
    settings = {"optimizer": "sgd", "lr": 1e18, "warmup": 0.0, "epochs": 50, "augment": ()}

    with pytest.raises(
        TrainError,
        match=r"loss (nan|inf) at step \d+ found, expected finite ones; no checkpoint was written yet; .*lower lr=",
    ):
        train(small_options(shards, tmp_path, name="diverged", **settings))

    assert torch.tensor(step_losses(tmp_path / "diverged")).isfinite().all()


def test_the_last_good_checkpoint_is_kept_and_named_when_a_run_diverges(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One written just before the bad loss holds the weights that gave it, and is not offered; an earlier one is."""
    monkeypatch.setattr("ferdata.training.step.learning_rate", lambda options, step, total: 1e30 if step == 6 else 1e-3)
    settings = {"optimizer": "sgd", "augment": (), "sampling": "uniform", "epochs": 3}
    for name, every, good in (("each", 1, "best.pt"), ("second", 6, "last.pt"), ("epoch", 0, "last.pt")):
        text = (
            rf"{name}: loss (nan|inf) at step 7 found, expected finite ones; "
            rf"the last good checkpoint is .*{name}/{good}; .*init_from="
        )
        with pytest.raises(TrainError, match=text):
            train(small_options(shards, tmp_path, name=name, checkpoint_steps=every, **settings))
    with pytest.raises(TrainError, match=r"none: .*none/last.pt holds the weights that gave it, and no other was kept"):
        monkeypatch.setattr(
            "ferdata.training.step.learning_rate", lambda options, step, total: 1e30 if step == 2 else 1e-3
        )
        train(small_options(shards, tmp_path, name="none", checkpoint_steps=1, **settings))

    for name in ("each", "second", "epoch", "none"):
        assert all(value.isfinite().all() for value in weights(tmp_path / name).values())


def test_weights_that_fail_on_val_end_the_run_before_they_are_kept(shards: str, tmp_path: Path) -> None:
    """Weights and training losses may be finite while outputs overflow: such a run once ended well, NaN in its JSON."""
    settings = {"lr": 1e12, "warmup": 0.0, "epochs": 1, "limit": 16, "optimizer": "adamw", "weight_decay": 0.0}

    with pytest.raises(
        TrainError,
        match=r"over: loss (nan|inf) on val after step 1 found, expected finite ones; no checkpoint was written",
    ):
        train(small_options(shards, tmp_path, name="over", **settings))

    assert not (tmp_path / "over" / "best.pt").exists()
    assert not (tmp_path / "over" / "last.pt").exists()


def test_json_is_valid_where_a_number_is_undefined(tmp_path: Path) -> None:
    """NaN and Infinity are no JSON: other programs' readers refuse the whole file."""
    write_json(tmp_path / "a.json", {"loss": math.nan, "parts": {"ccc": [1.0, -math.inf], "name": "nan"}})

    def refuse(text: str) -> None:
        raise AssertionError(text)

    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert found == {"loss": None, "parts": {"ccc": [1.0, None], "name": "nan"}}
    assert json.loads(json_line({"loss": math.inf}), parse_constant=refuse) == {"loss": None}


@pytest.mark.slow
def test_full_memory_is_answered_with_the_batch_size_that_fits(tmp_path: Path) -> None:
    """The data a real process may hold is limited, so that torch's allocator fails; what is advised then works."""
    shards = small_dataset(tmp_path / "shards", train=600, val=0)
    script = tmp_path / "script.py"
    script.write_text(
        "import gc, re, resource, sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]!r}\n"
        "from pathlib import Path\n"
        "from train_helpers import small_options\n"
        "from ferdata.errors import TrainError\n"
        "from ferdata.training import train\n"
        "def run(name, batch_size, accumulate=1):\n"
        f"    return train(small_options({shards!r}, Path({str(tmp_path)!r}), name=name, model='new1', size=64,\n"
        "        epochs=1, limit=batch_size, batch_size=batch_size, accumulate=accumulate, augment=()))\n"
        "run('warm', 1)\n"
        "used = int(re.search(r'VmData:\\s*(\\d+) kB', Path('/proc/self/status').read_text()).group(1)) << 10\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + (180 << 20), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    run('full', 512)\n"
        "except TrainError as error:\n"
        "    text = str(error)\n"
        "print(text, flush=True)\n"
        "gc.collect()\n"
        "fits = int(re.search(r'expected at most (\\d+)', text).group(1))\n"
        "print('then', run('fits', fits).steps)\n"
    )

    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(
        r"memory is full with 512 images at a time.*expected at most (\d+), "
        r".*batch_size=(\d+), or accumulate=(\d+)",
        done.stdout,
    )
    assert found, done.stdout
    fits, batch_size, parts = map(int, found.groups())
    assert 1 <= fits <= 256
    assert batch_size == fits
    assert 512 % parts == 0 and 512 // parts <= fits
    assert "then 1" in done.stdout


def test_a_damaged_shard_stops_the_run_and_is_named(tmp_path: Path) -> None:
    """Nothing is trained on bytes that are not what was written."""
    shards = Path(small_dataset(tmp_path / "shards"))
    shard = shards / "train-000001.tar.zst"
    data = bytearray(shard.read_bytes())
    for place in range(200, len(data) - 400, 97):
        data[place] ^= 0x10
    shard.write_bytes(data)

    with pytest.raises(ShardCorruptError, match="train-000001"):
        train(small_options(str(shards), tmp_path))


def test_waiting_for_data_is_said_with_what_to_do(shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice names settings of this very run."""
    monkeypatch.setattr("ferdata.training.report.waiting.WAIT_LIMIT", -1.0)
    progress = Recorder()
    result = train(
        small_options(shards, tmp_path, batch_size=2, sampling="uniform", augment=(), epochs=1, num_workers=2),
        progress=progress,
    )

    note = next(note for note in progress.notes if "waiting for data" in note)
    assert re.search(r"epoch 1: waiting for data: [\d.]+% of the time, expected at most -100%; .*batch_size=4", note)
    assert note in result.notes
