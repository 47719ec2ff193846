"""Networks of a user's own code: trained, resumed, measured and converted as ours are, refused where they do not fit.

Their code is tests/own_networks.py, which is importable as a user's module in the working folder is.
"""

import json
import shutil
from pathlib import Path

import own_networks
import pytest
import torch
from torch import nn
from train_helpers import (
    interrupt_at,
    same_weights,
    small_dataset,
    small_options,
    timeless_metrics,
)

import ferdata
from ferdata.errors import FerdataError, OptionError, TrainError
from ferdata.stream import Loader
from ferdata.training import TrainOptions, convert, load_run, train
from ferdata.training.nets.layers import freeze, keep_still, parameter_groups
from ferdata.training.nets.networks import build_network
from ferdata.training.nets.own import make_own

PLAIN, TWO_HEADS = "own_networks:Plain", "own_networks:TwoHeads"


def own(name: str, given: nn.Module | None = None, *, num_classes: int = 8, valence_arousal: bool = False) -> nn.Module:
    return make_own(name, given, size=(28, 28), num_classes=num_classes, channels=3, valence_arousal=valence_arousal)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an own network with both heads, whose dropout and batch normalisation are its own."""
    options = small_options(
        shards, tmp_path_factory.mktemp("runs"), name="whole", model=TWO_HEADS, valence_arousal=True
    )
    return Path(train(options).run)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(whole: Path, shards: str, tmp_path: Path) -> None:
    """Its own random layers and running statistics included."""
    options = small_options(shards, tmp_path, name="r", model=TWO_HEADS, valence_arousal=True)
    with pytest.raises(TrainError, match="stopped on request"):
        train(options, progress=interrupt_at(2))

    run = train(TrainOptions(resume=str(tmp_path / "r"))).run

    assert same_weights(whole, run) and same_weights(whole, run, "best.pt")
    assert timeless_metrics(whole) == timeless_metrics(run)


def test_a_checkpoint_gives_the_run_s_own_answers_wherever_a_run_is_taken(
    whole: Path, shards: str, tmp_path: Path
) -> None:
    """load_run, evaluate and convert import the code that the checkpoint names."""
    scores = json.loads((whole / "result.json").read_text())["scores"]["val"]

    evaluated = ferdata.evaluate(
        ferdata.EvaluateOptions(runs=[str(whole)], shards=shards, splits=("val",), num_workers=0)
    )
    written = convert(whole, tmp_path / "w.pt", to="weights")
    exported = convert(whole, tmp_path / "w.pt2")

    assert evaluated.splits["val"].scores.confusion == scores["confusion"]
    assert exported.outputs == ("probabilities", "valence_arousal")
    bare = own_networks.TwoHeads(8)
    bare.load_state_dict(torch.load(written.path, weights_only=True))
    images = torch.randint(0, 256, (3, 3, 28, 28), dtype=torch.uint8)
    trained = load_run(whole)
    normal = (images - torch.tensor(trained.mean).reshape(-1, 1, 1)) / torch.tensor(trained.std).reshape(-1, 1, 1)
    with torch.no_grad():
        assert torch.allclose(bare.eval()(normal)[0], trained(images), atol=1e-5)
        assert torch.allclose(bare(normal)[1], trained.valence_arousal(images), atol=1e-5)
    assert TWO_HEADS in (whole / "report.html").read_text()


def test_a_network_given_as_an_object_is_given_again_to_go_on(shards: str, tmp_path: Path) -> None:
    """To the same bits, with callbacks that see the very module; without it the error says what is missing."""
    seen: list[tuple[nn.Module, int, Path, bool]] = []
    torch.manual_seed(3)
    first = own_networks.Plain(8)
    start = {name: value.clone() for name, value in first.state_dict().items()}
    second = own_networks.Plain(8)
    second.load_state_dict(start)
    result = train(
        small_options(shards, tmp_path, name="whole", model=None),
        network=first,
        callbacks=[lambda network, epoch, run: seen.append((network, epoch, run, network.training))],
    )
    with pytest.raises(TrainError, match="stopped on request"):
        train(small_options(shards, tmp_path, name="r", model=None), network=second, progress=interrupt_at(5))
    run = tmp_path / "r"

    with pytest.raises(OptionError, match=r"model: network=Plain found, which was given as an object.*pass network="):
        train(TrainOptions(resume=str(run)))
    train(TrainOptions(resume=str(run)), network=own_networks.Plain(8))

    assert same_weights(result.run, run)
    assert result.model == "network=Plain" and seen == [(first, epoch, Path(result.run), False) for epoch in (0, 1)]
    with pytest.raises(OptionError, match=r"network=Plain found, which was given as an object"):
        load_run(run)
    loaded = load_run(run, network=own_networks.Plain(8))
    with Loader(shards, split="val", batch_size=21, shuffle="none", num_workers=0) as loader:
        batch = next(iter(loader))
        right = (loaded(batch.images).argmax(1) == batch.labels).sum()
    assert int(right) == sum(result.scores["val"].confusion[k][k] for k in range(8))
    assert convert(run, tmp_path / "w.pt", network=own_networks.Plain(8)).difference == 0
    options = ferdata.EvaluateOptions(runs=[str(run)], shards=shards, splits=("val",), num_workers=0)
    evaluated = ferdata.evaluate(options, networks={run: own_networks.Plain(8)})
    assert evaluated.splits["val"].scores.confusion == result.scores["val"].confusion
    with pytest.raises(TrainError, match="weights of another network found"):
        load_run(run, network=own_networks.TwoHeads(8))
    with pytest.raises(OptionError, match=r"network: one given beside model=basic1"):
        train(small_options(shards, tmp_path), network=own_networks.Plain(8))


def test_a_run_whose_code_is_gone_says_which_is_missing(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint names a module that only the user has."""
    monkeypatch.setitem(__import__("sys").modules, "own_networks", None)

    for use in (lambda: load_run(whole), lambda: train(TrainOptions(resume=str(whole)))):
        with pytest.raises(FerdataError, match=r"model own_networks:TwoHeads: no module own_networks.*PYTHONPATH"):
            use()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_such_module:make", r"model no_such_module:make: no module no_such_module found"),
        ("own_networks:absent", r"no absent in own_networks found, expected what makes the network"),
        ("own_networks:__all__", r"a list found, expected a class or a function"),
        ("own_networks:fixed", r"for images \[2, 3, 28, 28\] it gives \[2, 9\], expected logits \[2, 8\] or"),
        ("own_networks:steps_aside", r"TypeError in .*own_networks.py, line \d+: .*; try it alone in Python"),
        ("own_networks:asks_too_much", r"it asks for width, expected it to ask by name for some of num_classes, size"),
        ("own_networks:asks_nothing", r"it asks for nothing, expected"),
        ("torch.nn:ReLU", r"it gives \[2, 3, 28, 28\], expected logits"),
    ],
)
def test_code_that_gives_no_such_network_is_told_what_is_wrong(name: str, text: str) -> None:
    """Before the run has a folder; what a checkpoint names is called only if it asks for what networks ask for."""
    with pytest.raises(OptionError, match=text):
        own(name)


def test_valence_and_arousal_are_trained_only_where_they_are_asked_for() -> None:
    """A network without them is refused; one that gives them unasked is used without."""
    with pytest.raises(OptionError, match=r"it gives \[2, 8\], expected \(logits \[2, 8\], valence and arousal"):
        own(PLAIN, valence_arousal=True)
    unasked = own(TWO_HEADS)

    assert unasked(torch.zeros(2, 3, 28, 28))[1] is None and unasked.gives_more


def test_frozen_parts_stay_and_other_parts_have_rates_of_their_own(shards: str, tmp_path: Path) -> None:
    """Running statistics of what is frozen as a whole stay too; the first pattern that matches counts."""
    network = own_networks.Plain(8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    options = small_options(
        shards,
        tmp_path,
        model=None,
        epochs=1,
        freeze="backbone",
        optimizer="sgd",
        lr_factors=("fc.bias=0.5", "fc.*=1e-30"),
    )

    train(options, network=network)

    after = network.state_dict()
    assert {name for name in after if not torch.equal(before[name], after[name])} == {"fc.bias"}
    ours = build_network("basic1", size=(28, 28), num_classes=8)
    freeze(ours, "body.0.*, body.3.weight")
    keep_still(ours.train())
    assert [name for name, each in ours.named_parameters() if not each.requires_grad] == [
        "body.0.weight",
        "body.0.bias",
        "body.3.weight",
    ]
    assert not ours.body[0].training and ours.body[3].training and ours.dropout.training
    groups = parameter_groups(ours, ["backbone=0.1"])
    assert [group["factor"] for group in groups] == [0.1, 1.0]
    assert [len(group["params"]) for group in groups] == [5, 2]
    with pytest.raises(OptionError, match=r"freeze: 'encoder.\*' found, which matches no parameter.*such as body.0\*"):
        freeze(ours, "encoder.*")
    with pytest.raises(OptionError, match=r"freeze: backbone found, but this network's last layers are no"):
        freeze(own("own_networks:convolutional"), "backbone")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"freeze: \* found, which matches every parameter"):
        freeze(ours, "*")


def test_code_in_the_working_folder_is_found_by_an_installed_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with any program that is given a module's name."""
    shutil.copy(own_networks.__file__, tmp_path / "my_own_networks.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))

    assert type(own("my_own_networks:Plain").bare).__name__ == "Plain"
