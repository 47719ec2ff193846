"""Settings: what is refused, what goes to disk and back, what a resumed run may change; and the learning rate."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from ferdata.errors import OptionError, TrainError
from ferdata.training import TrainOptions
from ferdata.training.nets.networks import build_network
from ferdata.training.nets.optim import learning_rate, make_optimizer
from ferdata.training.run.resumption import resumed_options


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"model": "vgg"}, r"model: 'vgg' found"),
        ({"epochs": 0}, r"epochs: 0 found, expected at least 1"),
        ({"batch_size": 0}, r"batch_size: 0 found"),
        ({"lr": 0.0}, r"lr: 0.0 found, expected above 0"),
        ({"lr": math.nan}, r"lr: nan found"),
        ({"dropout": 1.0}, r"dropout: 1.0 found, expected 0 to 0.99"),
        ({"optimizer": "lion"}, r"optimizer: 'lion' found, expected adam, adamw or sgd"),
        ({"schedule": "step"}, r"schedule: 'step' found"),
        ({"amp": "fp8"}, r"amp: 'fp8' found"),
        ({"augment": ("flip", "flip")}, r"augment: flip, flip found"),
        ({"augment": ("blur",)}, r"augment: blur found, expected each of flip, crop, color"),
        ({"model": "basic1", "freeze": True}, r"freeze: .*stay random"),
        ({"lr_factors": ("backbone",)}, r"lr_factors: 'backbone' found, expected names and a factor above 0"),
        ({"lr_factors": ("body.*=0",)}, r"lr_factors: 'body.\*=0' found"),
        ({"model": "nets:make", "dropout": 0.5}, r"dropout=0.5: found with nets:make, expected a network of ours"),
        ({"model": "nets:make", "pretrained": True}, r"pretrained: found with nets:make"),
        ({"init_from": "a", "pretrained": True}, r"init_from and pretrained"),
        ({"limit": 0}, r"limit: 0 found"),
        ({"va_weight": 0.5}, r"va_weight: 0.5 found without a head that it weighs, expected valence_arousal= with it"),
        (
            {"model": "mod4", "pretrained": True},
            r"pretrained: the report's mod4 has no published weights, expected timm:<name>",
        ),
        (
            {"class_weights": True, "sampling": "balanced"},
            r"class_weights with sampling 'balanced': two remedies .* weigh them twice",
        ),
        ({"label_smoothing": -0.1}, r"label_smoothing"),
        ({"mixup": 0.2, "valence_arousal": True}, r"mixup: 0.2 found with valence_arousal=True, expected one of"),
        ({"ema": 1.0}, r"ema: 1.0 found, expected 0 to 0.999999"),
        ({"focal": -1.0}, r"focal: -1.0 found"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting: dict[str, object], text: str) -> None:
    """Before a folder is made or a weight drawn."""
    with pytest.raises(OptionError, match=text):
        TrainOptions(**setting)


def test_settings_come_back_from_json_as_they_went() -> None:
    """A resumed run reads its settings from the folder; a value that changes on the way would change the run."""
    options = TrainOptions(
        shards="s",
        model="mod3",
        sampling={"Happy": 1.0, "Fear": 2.5},
        augment=("color",),
        size=96,
        momentum=0.8,
        init_from="/a",
        freeze="body.0.*",
        lr_factors=("backbone=0.1",),
    )

    record = json.loads(json.dumps(options.to_json()))

    assert TrainOptions.from_json(record, "config.json") == options


def test_settings_of_another_version_are_refused_by_name() -> None:
    """Instead of a TypeError about a keyword."""
    with pytest.raises(TrainError, match=r"runs/a/config.json: .*'magic'.*expected the settings of this version"):
        TrainOptions.from_json({**TrainOptions().to_json(), "magic": 1}, "runs/a/config.json")


def test_a_resumed_run_takes_this_machine_s_settings_and_keeps_its_own() -> None:
    """Workers, device and length may change; what the steps compute may not."""
    saved = TrainOptions(shards="old", model="mod4", lr=0.01, epochs=4, num_workers=2)

    going_on = resumed_options(TrainOptions(resume="runs/a", shards="new", num_workers=1, epochs=8), saved, "runs/a")

    assert going_on == dataclasses.replace(saved, shards="new", num_workers=1, epochs=8, resume="runs/a")


def test_a_resumed_run_refuses_settings_that_would_change_it() -> None:
    """A learning rate that is silently ignored is worse than an error."""
    saved = TrainOptions(shards="old", lr=0.01)

    with pytest.raises(OptionError, match=r"runs/a: lr=0.5 found, expected lr=0.01; a resumed run keeps its settings"):
        resumed_options(TrainOptions(resume="runs/a", lr=0.5), saved, "runs/a")
    resumed_options(TrainOptions(resume="runs/a", lr=0.01), saved, "runs/a")


def test_settings_of_an_earlier_version_are_read_by_their_new_names() -> None:
    """``assign`` was once ``deal``, and a run that was begun then goes on."""
    record = TrainOptions(assign="windows").to_json()
    record["deal"] = record.pop("assign")

    assert TrainOptions.from_json(record, "runs/a/config.json") == TrainOptions(assign="windows")


def test_accumulate_may_change_unless_a_concordance_is_that_of_a_micro_batch() -> None:
    """Less memory is a matter of the machine; another loss is not."""
    going_on = TrainOptions(resume="runs/a", accumulate=2)

    assert resumed_options(going_on, TrainOptions(shards="old"), "runs/a").accumulate == 2
    with pytest.raises(OptionError, match=r"accumulate=2 found, expected accumulate=1"):
        resumed_options(going_on, TrainOptions(shards="old", valence_arousal=True), "runs/a")


def test_paths_are_made_whole_and_urls_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is gone on with from other folders than the one it was started in."""
    monkeypatch.chdir(tmp_path)

    assert TrainOptions(shards="a/b", init_from="runs/c").located() == TrainOptions(
        shards=str(tmp_path / "a" / "b"), init_from=str(tmp_path / "runs" / "c")
    )
    assert TrainOptions(shards="s3://a/b").located().shards == "s3://a/b"


@pytest.mark.parametrize(
    ("size", "asked", "model"), [(224, None, "mod4"), (64, None, "basic1"), (224, 64, "basic1"), (64, 224, "mod4")]
)
def test_the_network_follows_the_image_size_where_none_is_chosen(size: int, asked: int | None, model: str) -> None:
    """mod4 on thumbnails is slow and no better; a choice is always kept."""
    assert TrainOptions(size=asked).resolved(size).model == model
    assert TrainOptions(size=asked, model="new1").resolved(size).model == "new1"


def test_the_rate_rises_linearly_and_falls_as_half_a_cosine() -> None:
    """It is a function of the step, so a resume needs no scheduler's state."""
    options = TrainOptions(lr=0.1, warmup=0.1, schedule="cosine")

    rates = [learning_rate(options, step, 100) for step in range(100)]

    assert rates[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.05)
    assert all(earlier > later for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[99] > 0


def test_a_constant_rate_without_warm_up_is_the_same_at_every_step() -> None:
    """The report's runs had no schedule."""
    options = TrainOptions(lr=1e-4, warmup=0.0, schedule="constant")

    assert {learning_rate(options, step, 7) for step in range(7)} == {1e-4}


def test_momentum_comes_from_the_design_for_sgd_and_is_adam_s_first_beta() -> None:
    """mod4 is new1 with momentum 0.9: chosen by name, it must really have it."""
    network = build_network("mod4", size=(41, 41), num_classes=2)
    cpu = torch.device("cpu")

    assert make_optimizer(network, TrainOptions(model="mod4", optimizer="sgd"), cpu).defaults["momentum"] == 0.9
    assert make_optimizer(network, TrainOptions(model="new1", optimizer="sgd"), cpu).defaults["momentum"] == 0.0
    assert (
        make_optimizer(network, TrainOptions(model="new1", optimizer="sgd", momentum=0.5), cpu).defaults["momentum"]
        == 0.5
    )
    assert make_optimizer(network, TrainOptions(model="new1", optimizer="adam", momentum=0.8), cpu).defaults[
        "betas"
    ] == (0.8, 0.999)
    assert isinstance(make_optimizer(network, TrainOptions(model="new1"), cpu), torch.optim.AdamW)
