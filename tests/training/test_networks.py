"""The report's networks: their layers, what they derive from the image size, and what they say when it does not fit."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from train_helpers import small_checkpoint

from ferdata.errors import OptionError
from ferdata.training.nets.designs import MODEL_NAMES, feature_map, find_design, smallest_size
from ferdata.training.nets.networks import build_network
from ferdata.training.run.checkpoint import Checkpoint
from ferdata_bench.studies.network_table import network_table

REPORT = {"basic1": 8464, "basic2": 6400, "mod1": 6400, "mod2": 6400, "mod3": 6400, "new1": 84672, "mod4": 84672}


def _layers(name: str, kind: type[nn.Module], size: int = 224) -> list[nn.Module]:
    with torch.device("meta"):
        network = build_network(name, size=(size, size), num_classes=8)
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_linear_input_at_224_px_is_the_report_s(name: str) -> None:
    """A network with another linear input is another network than the one whose accuracy was reported."""
    first = _layers(name, nn.Linear)[0]

    assert math.prod(feature_map(name, (224, 224))) == REPORT[name]
    assert isinstance(first, nn.Linear)
    assert first.in_features == REPORT[name]


@pytest.mark.parametrize(
    ("name", "channels", "pool", "linear"),
    [
        ("basic1", [3, 6, 16], 3, [8464, 120, 84, 8]),
        ("basic2", [3, 64, 64, 64, 64], 2, [6400, 512, 8]),
        ("mod1", [3, 64, 64, 64, 64], 2, [6400, 512, 8]),
        ("mod2", [3, 64, 64, 64, 64], 2, [6400, 512, 512, 8]),
        ("mod3", [3, 64, 64, 64, 64], 2, [6400, 512, 8]),
        ("new1", [3, 64, 128, 192, 192], 3, [84672, 8]),
        ("mod4", [3, 64, 128, 192, 192], 3, [84672, 8]),
    ],
)
def test_every_layer_is_the_report_s(name: str, channels: list[int], pool: int, linear: list[int]) -> None:
    """Widths, kernels and poolings, written out a second time."""
    convolutions = _layers(name, nn.Conv2d)
    linears = _layers(name, nn.Linear)

    assert [layer.in_channels for layer in convolutions] + [convolutions[-1].out_channels] == channels
    assert all(
        layer.kernel_size == (5, 5) and layer.padding == (0, 0) and layer.stride == (1, 1) for layer in convolutions
    )
    assert {layer.kernel_size for layer in _layers(name, nn.MaxPool2d)} == {pool}
    assert [layer.in_features for layer in linears] + [linears[-1].out_features] == linear


def test_designs_carry_how_the_report_trained_them() -> None:
    """mod1 and mod2 sum the loss, mod3 and mod4 drop features out, mod4 has momentum: that is all they differ in."""
    designs = {name: find_design(name) for name in MODEL_NAMES}

    assert {name for name, design in designs.items() if design.loss == "sum"} == {"mod1", "mod2"}
    assert {name: design.dropout for name, design in designs.items() if design.dropout} == {"mod3": 0.5, "mod4": 0.1}
    assert {name: design.momentum for name, design in designs.items() if design.momentum} == {"mod4": 0.9}


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("extra", [(0, 0), (1, 0), (5, 40), (51, 17)])
def test_a_network_of_any_size_takes_images_of_that_size(name: str, extra: tuple[int, int]) -> None:
    """The derived linear input is checked against what the layers really give, also for images that are not square."""
    size = (smallest_size(name) + extra[0], smallest_size(name) + extra[1])
    with torch.device("meta"):
        network = build_network(name, size=size, num_classes=5, valence_arousal=True)
        logits, values = network(torch.zeros(2, 3, *size))

    assert logits.shape == (2, 5)
    assert values is not None
    assert values.shape == (2, 2)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_network_trains_and_comes_back_from_disk(name: str, tmp_path: Path) -> None:
    """One step lowers the loss on the same batch, and the saved weights give the same answers in a fresh network."""
    size = smallest_size(name) + 1
    torch.manual_seed(0)
    network = build_network(name, size=(size, size), num_classes=3, dropout=0.0)
    images, labels = torch.randn(2, 3, size, size), torch.tensor([0, 2])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    before = nn.functional.cross_entropy(network(images)[0], labels)
    before.backward()
    optimizer.step()

    small_checkpoint(network, ("a", "b", "c")).write(tmp_path / "w.pt")
    other = build_network(name, size=(size, size), num_classes=3, dropout=0.0)
    other.load_state_dict(Checkpoint.read(tmp_path / "w.pt").model)

    with torch.no_grad():
        assert nn.functional.cross_entropy(network(images)[0], labels) < before.detach()
        assert torch.equal(network(images)[0], other(images)[0])


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_an_image_that_is_too_small_is_refused_with_the_size_that_fits(name: str) -> None:
    """A convolution's own error, about kernels and padded inputs, tells nobody what to change."""
    least = smallest_size(name)

    with pytest.raises(
        OptionError,
        match=rf"model {name}: images of {least - 1} x 300 found, expected at least {least} x {least}.*size=",
    ):
        build_network(name, size=(least - 1, 300), num_classes=8)
    build_network(name, size=(least, least), num_classes=8)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """A typing error must not end in a KeyError."""
    with pytest.raises(OptionError, match=r"model: 'mod5' found, expected one of basic1, .*mod4, or timm:<name>"):
        build_network("mod5", size=(224, 224), num_classes=8)


def test_published_weights_are_refused_for_networks_that_have_none() -> None:
    """A run that believes it started from published weights and did not would be compared wrongly."""
    with pytest.raises(OptionError, match=r"pretrained: the report's mod4 has no published weights.*init_from="):
        build_network("mod4", size=(224, 224), num_classes=8, pretrained=True)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_timm_network_without_timm_says_what_to_install() -> None:
    """The extra is named, and not an ImportError's traceback shown."""
    with pytest.raises(
        OptionError, match=r"model timm:resnet18: the package timm is not installed.*pip install 'ferdata\[timm\]'"
    ):
        build_network("timm:resnet18", size=(64, 64), num_classes=8)


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_a_timm_network_gets_our_heads() -> None:
    """Whatever the backbone, expression and valence and arousal are read off its features."""
    network = build_network("timm:resnet10t", size=(64, 64), num_classes=7, valence_arousal=True)

    logits, values = network(torch.zeros(2, 3, 64, 64))

    assert logits.shape == (2, 7)
    assert values is not None
    assert values.shape == (2, 2)


def test_the_documentation_s_table_is_the_one_that_is_counted() -> None:
    """Parameters and arithmetic in the docs come from the networks themselves."""
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()

    assert network_table() in page
