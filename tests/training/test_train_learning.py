"""Training learns: from pictures on disk to an accuracy, and what a start from another data set's run is worth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from train_helpers import Recorder, small_options

from ferdata.dataset.builtin import builtin_shards
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.training import TrainOptions, train
from ferdata.training.first_run import BUILTIN_SETTINGS
from ferdata.training.run.folder import read_metrics
from ferdata_bench.studies.pretraining import StudyOptions, draw_study, run_study
from ferdata_bench.studies.waiting import measure_throughput

CLASSES = ("amused", "bored", "calculating", "dreamy", "eager", "furious", "glad", "hurt")
"""Classes of our own: class folders are numbered in alphabetical order, so without the first all others move."""


def _banded(name: str, number: int) -> np.ndarray:
    """Return uint8 ``[32, 32, 3]``: noise with a bright band whose height is the class, the same in every data set."""
    rng = np.random.default_rng((CLASSES.index(name), number))
    pixels = rng.integers(0, 90, (32, 32, 3))
    first = 4 * CLASSES.index(name)
    pixels[first : first + 4] += rng.integers(90, 165)
    return pixels.astype(np.uint8)


def _shards(root: Path, classes: tuple[str, ...], *, per_class: int, start: int) -> str:
    """Write class folders of banded pictures and shard them."""
    for split, count in (("train", per_class), ("val", 8)):
        for name in classes:
            folder = root / "tree" / split / name.lower()
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(_banded(name, start + number + 1000 * (split == "val"))).save(folder / f"{number}.png")
    ingest(
        IngestOptions(
            source="folder",
            src=str(root / "tree"),
            out=str(root / "shards"),
            transform=TransformOptions(size=32),
            num_workers=1,
        )
    )
    return str(root / "shards")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _shards(tmp_path_factory.mktemp("full"), CLASSES, per_class=24, start=0)


@pytest.fixture(scope="module")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that learned six of the classes, each of which has another number there."""
    shards = _shards(tmp_path_factory.mktemp("other"), CLASSES[1:7], per_class=32, start=500)
    result = train(
        small_options(shards, tmp_path_factory.mktemp("runs"), name="other", epochs=12, lr=2e-3, augment=("flip",))
    )
    assert result.classes == CLASSES[1:7]
    assert result.accuracy["val"] > 0.85
    return result.run


def test_a_network_learns_from_pictures_on_disk(full: str, tmp_path: Path) -> None:
    """The whole way: files, shards, stream, steps, figures. Labels shifted anywhere on it would leave an eighth."""
    result = train(small_options(full, tmp_path, epochs=14, lr=2e-3, augment=("flip",)))

    assert result.accuracy["val"] > 0.85
    assert result.balanced_accuracy > 0.85


def test_a_start_from_another_data_set_s_run_knows_its_classes_at_once(
    full: str, other_run: str, tmp_path: Path
) -> None:
    """Head rows at the wrong classes would be worse than fresh ones, and one epoch at a small rate cannot mend that."""
    settings = {"epochs": 1, "lr": 1e-5, "augment": ()}
    progress = Recorder()

    started = train(small_options(full, tmp_path, name="started", init_from=other_run, **settings), progress=progress)
    scratch = train(small_options(full, tmp_path, name="scratch", **settings))

    assert scratch.accuracy["val"] < 0.3
    recalls = started.scores["val"].recall
    assert min(value for value in recalls[1:7] if value is not None) > 0.5
    assert recalls[0] == recalls[7] == 0
    assert any("6 rows permuted by name; renewed: amused, hurt" in note for note in progress.notes)


def test_the_study_s_command_gives_figures_and_a_picture(tmp_path: Path) -> None:
    """At its smallest; the real one is measured for the documentation."""
    options = StudyOptions(
        rafdb_images=80, affectnet_images=80, size=32, pretrain_epochs=1, epochs=2, batch_size=8, seeds=1, num_workers=1
    )

    record = run_study(options, tmp_path, say=lambda text: None)

    assert {way: np.array(runs).shape for way, runs in record["curves"].items()} == dict.fromkeys(
        record["curves"], (1, 2)
    )
    assert record["head"] == "head: 7 rows kept by name; renewed: Contempt"
    assert draw_study(record).startswith(b"\x89PNG")


def test_throughput_is_measured_against_one_resident_batch(full: str) -> None:
    """Both rates, their ratio and the wait; more steps than an epoch has."""
    options = TrainOptions(
        shards=full, model="basic1", batch_size=16, num_workers=1, device="cpu", memory_bytes=1 << 24
    )

    found = measure_throughput(options, steps=15, rounds=2)

    assert len(found.loader_rounds) == len(found.resident_rounds) == 2
    assert found.ratio == pytest.approx(found.loader / found.resident)
    assert 0 <= found.data_wait_share < 1
    assert found.conditions["model"] == "basic1"


@pytest.mark.slow
def test_the_built_in_run_reaches_three_quarters_in_three_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``python cli.py train`` does on a fresh clone, with the settings it uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shards = builtin_shards(count=6000, size=64)

    result = train(TrainOptions(shards=shards, out=str(tmp_path / "runs"), **BUILTIN_SETTINGS))

    assert result.accuracy["val"] >= 0.75
    assert sum(line["seconds"] for line in read_metrics(Path(result.run)) if line["kind"] == "epoch") < 180
