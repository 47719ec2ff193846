"""Which images a run sees and how they weigh: a limit is one subset, and one remedy for rare classes is enough."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_dataset import expected_label, sample_number
from PIL import Image
from train_helpers import small_dataset, small_options

from ferdata.dataset.recode import recode
from ferdata.format import read_index
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.store import Store
from ferdata.stream.memory.resident import resident_bytes
from ferdata.training import TrainOptions, train
from ferdata.training.data import StepBatch, TrainData, held_splits
from ferdata.training.nets.networks import build_network
from ferdata.training.run.process_group import Ranks


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"), test=9)


def test_a_limit_is_one_stratified_subset_of_train(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same images every epoch, no others measured as train, each class with its share; val and test are whole."""
    trained: list[int] = []
    original = TrainData._own_part

    def noted(data: TrainData, batch: Any, step: int, epoch: int) -> StepBatch:
        trained.extend(map(sample_number, batch.images.numpy()))
        return original(data, batch, step, epoch)

    monkeypatch.setattr(TrainData, "_own_part", noted)
    result = train(small_options(shards, tmp_path, limit=32, epochs=6, sampling="uniform", name="limited"))

    assert result.steps == 6 * 2 and len(set(trained)) == 32
    assert {split: scores.samples for split, scores in result.scores.items()} == {"train": 32, "val": 21, "test": 9}
    assert (
        result.scores["train"].support
        == np.bincount([expected_label(number) for number in set(trained)], minlength=8).tolist()
    )
    every = np.bincount([expected_label(number) for number in range(70)], minlength=8)
    assert np.abs(np.array(result.scores["train"].support) - every * 32 / 70).max() <= 1
    assert any("trained on 32 of 70 train samples, stratified" in note for note in result.notes)
    assert "32 train, 21 val" in (tmp_path / "limited" / "report.html").read_text()


def test_what_a_limit_takes_depends_on_the_seed_alone(shards: str) -> None:
    """Not on batches, micro-batches or ranks; and a larger limit keeps what a smaller one took."""

    def chosen(**settings: Any) -> set[int]:
        options = TrainOptions(shards=shards, batch_size=8, num_workers=0, **settings)
        indices = TrainData(options, Ranks(rank=0, world_size=1, device=torch.device("cpu"))).indices
        assert indices is not None
        return set(indices.tolist())

    assert chosen(limit=24) == chosen(limit=24, accumulate=4, sampling="uniform")
    assert chosen(limit=24) != chosen(limit=24, seed=1)
    assert chosen(limit=16) < chosen(limit=48)


def test_what_is_resident_trains_the_same(shards: str, tmp_path: Path) -> None:
    """Where images lie is not part of what is computed."""
    compact = str(tmp_path / "compact")
    recode(shards, out=compact, codec="compact")
    ways = {"yes": {"resident": "yes"}, "no": {}, "auto": {"resident": "auto"}, "device": {"decode": "device"}}
    results = [
        train(small_options(compact, tmp_path, limit=32, epochs=1, name=name, **way)) for name, way in ways.items()
    ]

    assert all(result.scores["val"] == results[0].scores["val"] for result in results)
    assert [any("train and val are held in memory (cpu)" in note for note in result.notes) for result in results] == [
        True,
        False,
        False,
        False,
    ]


def test_auto_holds_what_leaves_half_of_a_devices_memory(shards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network, its gradients and its optimizer need room too; on a processor, memory is the page cache's."""
    index, cpu, cuda = read_index(Store(shards)), torch.device("cpu"), torch.device("cuda")
    train, val = resident_bytes(index, "train", 70), resident_bytes(index, "val", index.num_samples("val"))
    both, alone, nothing = ("train", "val"), ("train",), ()
    free = {2 * (train + val): both, 2 * (train + val) - 1: alone, 2 * train: alone, 2 * train - 1: nothing}

    for num_bytes, expected in (free | {None: nothing}).items():
        monkeypatch.setattr("ferdata.training.data.free_bytes", lambda device, found=num_bytes: found)
        assert held_splits("auto", index, 70, cuda) == expected
        assert held_splits("auto", index, 70, cpu) == held_splits("no", index, 70, cuda) == nothing
        wished = alone if num_bytes is None or 0.9 * num_bytes < train + val else both
        assert held_splits("yes", index, 70, cpu) == wished
    assert train > 70 / 35 * 0.9 * resident_bytes(index, "train", 35) and val > 0


def test_yes_holds_train_alone_where_val_does_not_fit_too(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than failing for the sake of a split that is read once an epoch; the run says so."""
    index = read_index(Store(shards))
    most = resident_bytes(index, "train", 32) + resident_bytes(index, "val", index.num_samples("val"))
    monkeypatch.setattr("ferdata.training.data.free_bytes", lambda device: most)

    result = train(small_options(shards, tmp_path, limit=32, epochs=1, resident="yes"))

    assert any(note.startswith("resident: train is held in memory (cpu); val is streamed") for note in result.notes)


def test_a_limit_beyond_the_split_takes_all_of_it_and_says_so(shards: str, tmp_path: Path) -> None:
    """Whoever asks for 10,000 of 70 has mistaken something."""
    result = train(small_options(shards, tmp_path, limit=100, epochs=1))

    assert result.scores["train"].samples == 70
    assert any("limit 100: train holds 70 samples" in note for note in result.notes)


def test_class_weights_take_the_place_of_balanced_draws(tmp_path: Path) -> None:
    """Both together weigh rare classes twice: a network that knows only the frequencies called nine of ten images sad.

    Images that tell nothing must get one half for each class, whichever of the two remedies is chosen.
    """
    source = tmp_path / "src"
    for split, name, count in (
        (split, name, count) for split in ("train", "val") for name, count in (("happy", 90), ("sad", 10))
    ):
        for number in range(count):
            path = source / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (128, 128, 128)).save(path)
    ingest(
        IngestOptions(
            source="folder",
            src=str(source),
            out=str(tmp_path / "s"),
            transform=TransformOptions(size=32),
            num_workers=1,
        )
    )
    settings = {"epochs": 6, "batch_size": 10, "augment": (), "lr": 0.003, "warmup": 0.0}
    for name, remedy in (("weights", {"class_weights": True}), ("draws", {})):
        run = train(small_options(str(tmp_path / "s"), tmp_path, name=name, **settings, **remedy)).run

        record = torch.load(Path(run) / "last.pt", weights_only=True)
        network = build_network("basic1", size=(32, 32), num_classes=len(record["classes"]))
        network.load_state_dict(record["model"])
        with torch.inference_mode():
            logits = network(torch.zeros(1, 3, 32, 32))[0][0]
        share = torch.softmax(logits[[record["classes"].index(name) for name in ("Happy", "Sad")]], 0)
        assert share.tolist() == pytest.approx([0.5, 0.5], abs=0.05), name
        assert json.loads((Path(run) / "config.json").read_text())["sampling"] == ("uniform" if remedy else "balanced")
