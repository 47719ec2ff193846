"""A run from its settings to its report: what is computed, what is written, and that figures are exact."""

import base64
import copy
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from make_dataset import expected_label
from PIL import Image
from sklearn.metrics import confusion_matrix, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional
from train_helpers import Recorder, same_weights, small_dataset, small_options, step_losses, timeless_metrics, weights
from webserver import serve

from ferdata.errors import OptionError, TrainError
from ferdata.format import read_index
from ferdata.stream import BatchContext, Loader
from ferdata.training import TrainResult, train
from ferdata.training.nets.augment import evaluation_transform, training_transform
from ferdata.training.nets.networks import FerNetwork, build_network
from ferdata.training.options import TrainOptions


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"), test=9)


@pytest.fixture(scope="module")
def full_run(shards: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, Recorder]:
    """One run with everything switched on, whose folder the tests look at."""
    progress = Recorder()
    settings = {"valence_arousal": True, "label_smoothing": 0.1, "class_weights": True, "dropout": 0.2}
    options = small_options(shards, tmp_path_factory.mktemp("runs"), name="full", epochs=3, **settings)
    return train(options, progress=progress), progress


def test_a_run_s_folder_holds_all_that_was_promised(full_run: tuple[TrainResult, Recorder]) -> None:
    """Settings, machine, metrics, events, pictures, page and checkpoints; nothing half-written."""
    run = Path(full_run[0].run)

    names = {path.name for path in run.iterdir()}

    assert names == {
        "config.json", "environment.json", "metrics.jsonl", "tensorboard", "curves.png", "confusion.png",
        "report.html", "result.json", "last.pt", "best.pt",
    }  # fmt: skip
    assert json.loads((run / "config.json").read_text())["label_smoothing"] == 0.1
    assert json.loads((run / "environment.json").read_text())["torch"] == torch.__version__
    assert json.loads((run / "result.json").read_text()) == full_run[0].to_json()
    for name in ("curves.png", "confusion.png"):
        with Image.open(run / name) as picture:
            assert min(picture.size) > 400


def test_the_page_shows_val_beside_test_either_way_round(full_run: tuple[TrainResult, Recorder]) -> None:
    """What is chosen on val is to be told from what holds on test too; the picture beside the page is val's by row."""
    run = Path(full_run[0].run)
    page = (run / "report.html").read_text()

    shown = [
        f"{split}, share of the {side}; {what} on the diagonal"
        for side, what in (("row", "recall"), ("column", "precision"))
        for split in ("val", "test")
    ]
    at = [page.index(text) for text in shown]
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)" alt="confusion', page)
    assert at == sorted(at) and len({*pictures}) == len(pictures) == 4
    assert base64.b64decode(pictures[0]) == (run / "confusion.png").read_bytes()


def test_result_json_has_the_keys_of_the_command_line_s_contract(full_run: tuple[TrainResult, Recorder]) -> None:
    """Scripts read these names."""
    record = full_run[0].to_json()

    assert {
        "model",
        "parameters",
        "accuracy",
        "balanced_accuracy",
        "confusion",
        "images_per_second",
        "data_wait_share",
        "run",
    } <= set(record)
    assert set(record["accuracy"]) == {"train", "val", "test"}
    assert record["parameters"] == sum(value.numel() for value in weights(full_run[0].run).values())
    assert np.array(record["confusion"]).shape == (8, 8)
    assert np.array(record["confusion"]).sum() == 21
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_figures_are_those_of_the_samples_one_by_one(
    full_run: tuple[TrainResult, Recorder], shards: str, split: str
) -> None:
    """70, 21 and 9 samples in batches of 16: the last, partial batch counts in full and its padding not at all."""
    result = full_run[0]
    loader = Loader(
        shards,
        split=split,
        batch_size=1,
        num_workers=0,
        shuffle="none",
        fields=("images", "labels", "valence", "arousal"),
    )
    network = build_network("basic1", size=(28, 28), num_classes=8, valence_arousal=True)
    network.load_state_dict(weights(result.run, "best.pt"))
    network.eval()
    transform = evaluation_transform(TrainOptions(), loader.index)
    context = BatchContext(seed=0, epoch=0, rank=0, positions=np.arange(1))
    logits, labels, feelings, truth = [], [], [], []
    with torch.no_grad():
        for batch in loader:
            out, values = network(transform(batch.images, context))
            assert values is not None
            (
                logits.append(out),
                labels.append(batch.labels),
                feelings.append(values),
                truth.append([batch.valence[0], batch.arousal[0]]),
            )
    predicted, actual = torch.cat(logits).argmax(1), torch.cat(labels)
    errors = torch.cat(feelings) - torch.tensor(truth)
    scores = result.scores[split]

    assert scores.confusion == confusion_matrix(actual, predicted, labels=range(8)).tolist()
    assert scores.accuracy == pytest.approx(float((predicted == actual).double().mean()))
    assert scores.balanced_accuracy == pytest.approx(
        recall_score(actual, predicted, labels=actual.unique(), average="macro")
    )
    assert scores.loss == pytest.approx(float(functional.cross_entropy(torch.cat(logits), actual)), rel=1e-5)
    for column, name in enumerate(("valence", "arousal")):
        assert scores.rmse[name] == pytest.approx(float(errors[:, column].double().square().nanmean().sqrt()), rel=1e-5)


def test_metrics_hold_every_step_and_epoch(full_run: tuple[TrainResult, Recorder]) -> None:
    """70 samples make 4 whole batches of 16; each step has its loss and rate, each epoch its val figures."""
    lines = timeless_metrics(full_run[0].run)

    assert [(line["epoch"], line["step"]) for line in lines if line["kind"] == "step"] == [
        (step // 4, step) for step in range(12)
    ]
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [3, 7, 11]
    assert all(
        {"accuracy", "balanced_accuracy", "ccc", "rmse"} <= set(line["val"])
        for line in lines
        if line["kind"] == "epoch"
    )
    assert lines[-1]["kind"] == "final"
    assert full_run[0].steps == 12


def test_tensorboard_shows_the_same_figures(full_run: tuple[TrainResult, Recorder]) -> None:
    """Its events are read back with its own reader."""
    events = EventAccumulator(str(Path(full_run[0].run) / "tensorboard"))
    events.Reload()

    assert [event.value for event in events.Scalars("step/loss")] == pytest.approx(
        step_losses(full_run[0].run), rel=1e-6
    )
    assert {"epoch/val/accuracy", "epoch/val/ccc/valence", "step/lr", "epoch/data_wait_share"} <= set(
        events.Tags()["scalars"]
    )


def test_the_report_is_one_page_that_needs_nothing_else(full_run: tuple[TrainResult, Recorder]) -> None:
    """It is mailed and archived: every picture is inside, and nothing is fetched."""
    page = (Path(full_run[0].run) / "report.html").read_text()

    assert re.findall(r"(?:src|href)=[\"'](?!data:)", page) == []
    assert "url(" not in page and "<script" not in page
    mistakes = sum(sum(row) for row in full_run[0].confusion) - sum(full_run[0].confusion[n][n] for n in range(8))
    assert page.count("<figcaption>") == min(27, mistakes)
    for text in ("label_smoothing", "Contempt", "valence CCC", f"{full_run[0].accuracy['val']:.1%}", torch.__version__):
        assert text in page


def test_progress_is_told_of_every_step_and_epoch(full_run: tuple[TrainResult, Recorder]) -> None:
    """Rate, loss and wait are live, and agree with the metrics."""
    progress = full_run[1]

    assert [status.step for status in progress.steps] == list(range(12))
    assert [status.loss for status in progress.steps] == step_losses(full_run[0].run)
    assert all(
        status.images_per_second > 0 and 0 <= status.data_wait_share <= 1 and status.total_steps == 12
        for status in progress.steps
    )
    assert [status.accuracy["val"] for status in progress.epochs] == [
        line["val"]["accuracy"] for line in timeless_metrics(full_run[0].run) if line["kind"] == "epoch"
    ]


def test_the_same_seed_gives_the_same_bits_whatever_the_workers(shards: str, tmp_path: Path) -> None:
    """And another seed other ones."""
    runs = {
        name: train(small_options(shards, tmp_path, name=name, epochs=1, **settings)).run
        for name, settings in {"a": {}, "b": {"num_workers": 2}, "c": {"seed": 1}}.items()
    }

    assert same_weights(runs["a"], runs["b"])
    assert timeless_metrics(runs["a"]) == timeless_metrics(runs["b"])
    assert not same_weights(runs["a"], runs["c"])


def test_micro_batches_make_the_step_of_the_whole_batch(shards: str, tmp_path: Path) -> None:
    """Four micro-batches of 4 are a batch of 16, with dropout, augmentation, weights and smoothing: less memory."""
    settings = {
        "epochs": 1,
        "optimizer": "sgd",
        "lr": 0.05,
        "dropout": 0.3,
        "class_weights": True,
        "label_smoothing": 0.1,
    }
    whole = train(small_options(shards, tmp_path, name="whole", **settings)).run
    cut = train(small_options(shards, tmp_path, name="cut", accumulate=4, **settings)).run

    assert step_losses(cut) == pytest.approx(step_losses(whole), rel=1e-5)
    for one, two in zip(weights(whole).values(), weights(cut).values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_a_summed_loss_is_the_mean_s_step_at_a_rate_as_many_times_higher(shards: str, tmp_path: Path) -> None:
    """That is all ``sum`` means; curves stay comparable because the mean is what is written down."""
    plain = {"epochs": 1, "optimizer": "sgd", "warmup": 0.0, "weight_decay": 0.0}
    mean = train(small_options(shards, tmp_path, name="mean", lr=0.016, **plain)).run
    total = train(small_options(shards, tmp_path, name="sum", lr=0.001, loss="sum", **plain)).run

    assert step_losses(total) == pytest.approx(step_losses(mean), rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "schedule": "constant"},
        {"amp": "bf16", "channels_last": True},
        {"size": 32, "augment": ("color", "crop", "flip")},
        {"model": "mod4", "size": 41, "limit": 16},
        {"sampling": {"Happy": 1.0, "Fear": 3.0}},
        {"sampling": "uniform", "augment": ()},
    ],
    ids=str,
)
def test_every_setting_trains(settings: dict[str, object], shards: str, tmp_path: Path) -> None:
    """One epoch each, with losses that are numbers."""
    result = train(small_options(shards, tmp_path, epochs=1, **settings))

    assert all(np.isfinite(step_losses(result.run)))
    assert (result.scores["val"].samples, result.scores["train"].samples) == (21, 16 if "limit" in settings else 70)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_drops_the_same_features(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler of torch 2.15 ended the process over the masks' arithmetic, which therefore stays outside of it."""
    network = FerNetwork(
        torch.nn.Flatten(), num_features=3 * 28 * 28, num_classes=8, dropout=0.4, valence_arousal=False
    )
    monkeypatch.setattr(
        "ferdata.training.nets.initial_weights.build_network", lambda *args, **settings: copy.deepcopy(network)
    )
    settings = {"epochs": 1, "optimizer": "sgd", "lr": 1e-4, "dropout": 0.4, "limit": 32, "augment": ()}
    plain = train(small_options(shards, tmp_path, name="plain", **settings)).run
    compiled = train(small_options(shards, tmp_path, name="compiled", compile=True, **settings)).run

    assert step_losses(compiled) == pytest.approx(step_losses(plain), rel=1e-4)


def test_images_are_resized_with_antialiasing_and_normalised(shards: str) -> None:
    """A pattern of single pixels becomes its mean, not one of its pixels."""
    index = Loader(shards, batch_size=1, num_workers=0).index
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 200

    inputs = evaluation_transform(TrainOptions(size=16), index)(
        stripes, BatchContext(seed=0, epoch=0, rank=0, positions=np.arange(1))
    )

    expected = (100 - torch.tensor(index.mean)) / torch.tensor(index.std)
    assert inputs.shape == (1, 3, 16, 16)
    torch.testing.assert_close(inputs[0, :, 4:12, 4:12], expected.view(3, 1, 1).expand(3, 8, 8), atol=0.05, rtol=0)


def test_only_training_augments(shards: str) -> None:
    """Evaluation sees every image as it is; training sees it as its place in the epoch says."""
    loader = Loader(shards, batch_size=4, num_workers=0)
    images = next(iter(loader)).images
    here, there = (BatchContext(seed=0, epoch=0, rank=0, positions=np.arange(4) + start) for start in (0, 4))
    plain, augmented = (
        evaluation_transform(TrainOptions(), loader.index),
        training_transform(TrainOptions(), loader.index),
    )

    assert torch.equal(plain(images, here), plain(images, there))
    assert torch.equal(augmented(images, here), augmented(images, here))
    assert not torch.equal(augmented(images, here), augmented(images, there))


def test_frozen_bodies_stay_as_they_were_and_heads_learn(shards: str, tmp_path: Path) -> None:
    """From another run's weights, as they are meant to be used."""
    first = train(small_options(shards, tmp_path, name="first", epochs=1)).run
    progress = Recorder()
    second = train(
        small_options(shards, tmp_path, name="second", epochs=1, init_from=first, freeze=True), progress=progress
    ).run

    before, after = weights(first, "best.pt"), weights(second)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("body."))
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert f"started from {first}/best.pt: head kept: the same 8 classes in the same order" in progress.notes


def test_without_a_val_split_the_last_weights_are_the_best(tmp_path: Path) -> None:
    """RAF-DB has train and test only; choosing by test would be peeking. It is said, and test stands for the run."""
    progress = Recorder()
    result = train(small_options(small_dataset(tmp_path / "s", val=0, test=20), tmp_path), progress=progress)

    assert result.main_split == "test"
    assert result.best_epoch == 1
    assert same_weights(result.run, result.run, "best.pt")
    assert any(
        "no val split" in note and "ferdata shard folder --src DIR" in note and "--val 0.1" in note
        for note in progress.notes
    )


def test_a_name_that_is_taken_is_refused(shards: str, tmp_path: Path) -> None:
    """A run must never write into another one's folder."""
    train(small_options(shards, tmp_path, name="mine", epochs=1))

    with pytest.raises(TrainError, match=r"mine: a run of this name is there already.*resume="):
        train(small_options(shards, tmp_path, name="mine", epochs=1))


def test_what_cannot_be_trained_is_refused_before_a_folder_is_made(shards: str, tmp_path: Path) -> None:
    """A folder without a run in it would be taken for one."""
    out = tmp_path / "runs"
    for settings, text in (
        (
            {"batch_size": 15, "accumulate": 2},
            r"batch_size: 15 found, expected a multiple of 1 ranks x 2 micro-batches.*use 14",
        ),
        ({"amp": "fp16"}, r"amp: fp16 found on a CPU"),
        ({"model": "basic2"}, r"model basic2: images of 28 x 28 found, expected at least 76 x 76"),
        ({"batch_size": 128}, r"70 samples found, expected at least batch_size"),
        ({"device": "tpu"}, r"device: 'tpu' found"),
    ):
        with pytest.raises(OptionError, match=text):
            train(small_options(shards, out, **settings))
    with pytest.raises(OptionError, match=r"shards: none found"):
        train(TrainOptions())
    assert not out.exists()


def test_labels_in_the_data_are_what_the_network_is_asked(shards: str) -> None:
    """The formula of the data set's labels, against what a loader hands to the trainer."""
    loader = Loader(
        shards, split="val", batch_size=21, num_workers=0, shuffle="none", fields=("images", "labels", "indices")
    )
    batch = next(iter(loader))

    assert batch.labels.tolist() == [expected_label(70 + number) for number in batch.indices.tolist()]


def test_a_run_asks_for_its_index_once(tmp_path: Path) -> None:
    """Loaders of every split are opened, some of them again for the report: of one set, whose index is far away."""
    small_dataset(tmp_path / "set", test=9)
    with serve(tmp_path) as web:
        train(small_options(f"{web.url}/set", tmp_path / "runs", epochs=1))
        assert [path for _, path, _ in web.asked].count("/set/index.json") == 1
        read_index(f"{web.url}/set")  # it may be another by now
        assert [path for _, path, _ in web.asked].count("/set/index.json") == 2
