"""What a network looks at: a planted cue is found by every method, and the page holds all of it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import CUE, planted_dataset, small_checkpoint, small_dataset, small_options
from verbs import refusal, run_verb

import ferdata
from ferdata.training import train
from ferdata.training.explanation.layers import answer, last_maps, list_layers, spatial_convolutions
from ferdata.training.explanation.result import Explanation
from ferdata.training.nets.networks import build_network


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Noise in which only a patch says which class it is: the shards, and a run that has learned it."""
    root = tmp_path_factory.mktemp("planted")
    shards = planted_dataset(root)
    run = train(small_options(str(shards), root, name="run", epochs=3, lr=3e-3, augment=())).run
    return shards, Path(run)


@pytest.fixture(scope="module")
def found(planted: tuple[Path, Path]) -> Explanation:
    return ferdata.explain(ferdata.ExplainOptions(run=planted[1], grid=4, examples=5, num_workers=0, batch_size=16))


def test_covering_the_cue_costs_the_answer_and_nothing_else_does(found: Explanation) -> None:
    """By region as by cell, for each class, since grey is the mean of both shades."""
    assert found.accuracy > 0.9 and found.regions is not None
    assert found.regions.names == ("brows", "eyes", "nose", "mouth")
    lost = found.regions.lost_accuracy[-1]
    assert lost[3] > 0.3 and np.abs(lost[:3]).max() < 0.15
    by_cell = found.grid.lost_probability[-1]
    assert found.grid.names[by_cell.argmax()] == "row 3, column 2" and by_cell.max() > 0.2
    assert by_cell.max() > 5 * np.sort(by_cell)[-2]
    assert found.regions.probability[-1, 0] == pytest.approx(found.probabilities[np.arange(40), found.labels].mean())
    assert np.isnan(found.grid.accuracy[0]).all() and found.grid.samples.tolist() == [0, 20, 20, 0, 0, 0, 0, 0]


def test_heat_is_where_the_cue_is(found: Explanation) -> None:
    """Of the surest hits of both classes; gradients add up to what the image changed in the logit."""
    assert len(found.examples) == 10 and {each.actual for each in found.examples} == {1, 2}
    network = ferdata.load_run(found.run)
    for example in found.examples:
        rows, columns = np.unravel_index(example.cam.argmax(), example.cam.shape)
        assert abs(rows - 25) < 10 and abs(columns - 15) < 10, (rows, columns)
        strength = np.abs(example.gradients)
        assert strength[CUE].mean() > 5 * strength.mean()
        prepared = network.prepare(torch.from_numpy(example.image)[None])
        with torch.inference_mode():
            logits = [network.network(each)[0][0, example.predicted] for each in (prepared, torch.zeros_like(prepared))]
        assert example.gradients.sum() == pytest.approx(float(logits[0] - logits[1]), rel=0.1, abs=0.05)


def test_the_page_and_the_files_hold_it_all(planted: tuple[Path, Path], found: Explanation, tmp_path: Path) -> None:
    """In the run's folder unless another is named; every sample is on the map."""
    figures = json.loads((planted[1] / "explain" / "explanation.json").read_text())
    said = run_verb(
        "explain", planted[1], "--shards", planted[0], "--out", tmp_path / "o", "--grid", 2, "--limit", 10,
        "--examples", 0, "--workers", 0, "--json", tmp_path / "j.json",
    )  # fmt: skip

    page = Path(found.page).read_text()
    assert figures == found.to_json() and found.page == str(planted[1] / "explain" / "explanation.html")
    assert figures["regions"]["classes"]["Happy"]["accuracy"]["mouth"] == found.regions.accuracy[1, 4]
    for text in ("Mouth or eyes?", "Where covering hurts", "surest mistakes", "First filters", "body.3", "t-SNE"):
        assert text in page
    assert page.count("data:image/png") == 2 + 3 * 10 + 1 + 1 + 2  # covers, examples, map, filters, feature maps
    rows = list(csv.DictReader((planted[1] / "explain" / "embedding.csv").read_text().splitlines()))
    assert sorted(row["key"] for row in rows) == sorted(found.keys) and {row["actual"] for row in rows} == {
        "Happy",
        "Sad",
    }
    small = json.loads((tmp_path / "j.json").read_text())
    assert small["samples"] == 10 and small == json.loads((tmp_path / "o" / "explanation.json").read_text())
    assert "surest hits" not in (tmp_path / "o" / "explanation.html").read_text()
    assert "with a part covered, those that cost most first: mouth" in said and "explanation.html" in said


def test_layers_are_told_in_order_with_their_shapes(found: Explanation) -> None:
    """Their parameters add up to the network's; maps are of every convolution."""
    network = ferdata.load_run(found.run).network
    first = found.layers[0]
    assert (first.name, first.kind, first.shape, first.parameters) == ("body.0", "Conv2d", (6, 36, 36), 456)
    assert found.layers[-1].name == "head" and sum(each.parameters for each in found.layers) == network.num_parameters
    assert [each.layer for each in found.maps] == ["body.0", "body.3"] and found.cam_layer == "body.4"
    assert found.maps[1].maps.shape == (4, 10, 8, 8) and found.maps[1].of == 16
    assert np.abs(found.filters - network.body[0].weight.detach().numpy()).max() == 0


def test_convolutions_are_found_by_type_wherever_they_are() -> None:
    """In bodies nested as timm's are; those on averages and layers that are never used do not count."""

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage = torch.nn.ModuleDict({"a": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())})
            self.squeeze, self.unused = torch.nn.Conv2d(4, 4, 1), torch.nn.Conv2d(3, 3, 3)
            self.token = torch.nn.Parameter(torch.zeros(5))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.stage["a"](images)
            return (maps * self.squeeze(maps.mean((2, 3), keepdim=True))).mean((2, 3)) + self.token[:4]

    network = build_network("basic1", size=(32, 32), num_classes=8)
    network.body, network.head = Body(), torch.nn.Linear(4, 8)
    image = torch.zeros(1, 3, 32, 32)

    assert [*spatial_convolutions(network, image)] == ["body.stage.a.0"]
    assert last_maps(network, image)[0] == "body.stage.a.1"
    logits, features = answer(network, image)
    assert features.shape == (1, 4) and torch.equal(network.head(features), logits)
    layers = list_layers(network, image)
    assert [each.name for each in layers][:3] == ["body.stage.a.0", "body.stage.a.1", "body.squeeze"]
    assert layers[-1].name == "others" and layers[-1].parameters == 5 + 84
    assert sum(each.parameters for each in layers) == network.num_parameters


def test_a_network_that_was_given_is_given_again(planted: tuple[Path, Path], tmp_path: Path) -> None:
    """What its last layer reads is found in it too."""

    def make() -> torch.nn.Module:
        layers = (
            torch.nn.Conv2d(3, 4, 3),
            torch.nn.ReLU(inplace=True),
            torch.nn.AdaptiveAvgPool2d(2),
            torch.nn.Flatten(),
        )
        return torch.nn.Sequential(*layers, torch.nn.Linear(16, 8))

    run = train(small_options(str(planted[0]), tmp_path, epochs=1, model=None), network=make()).run
    options = ferdata.ExplainOptions(run=run, limit=12, grid=2, examples=1, num_workers=0)

    found = ferdata.explain(options, network=make())

    assert found.cam_layer == "module.1" and found.layers[-1].name == "module.4" and found.layers[-1].shape == (8,)
    with pytest.raises(ferdata.OptionError, match="network="):
        ferdata.explain(options)


def test_other_data_and_what_cannot_be_explained(planted: tuple[Path, Path], tmp_path: Path) -> None:
    """Without landmarks a grid is left; a class that the run does not know is left out, and said."""
    shards = small_dataset(tmp_path / "s")
    torch.manual_seed(0)
    network = build_network("basic1", size=(32, 32), num_classes=2)
    small_checkpoint(network, ("Sad", "happiness")).write(tmp_path / "run.pt")
    options = ferdata.ExplainOptions(run=tmp_path / "run.pt", shards=shards, grid=2, num_workers=0)

    found = ferdata.explain(options)

    assert found.regions is None and set(found.labels.tolist()) == {0, 1} and 0 < len(found.keys) < 21
    assert [note.split(" ", 1)[1][:14] for note in found.notes] == ["samples are of", "sample has lan"]
    assert found.page == str(tmp_path / "explain" / "explanation.html")
    again = ferdata.explain(replace(options, batch_size=5))
    np.testing.assert_allclose(again.grid.probability, found.grid.probability, rtol=1e-5)
    assert "split: dev found, expected one of train, val" in refusal(
        "explain", tmp_path / "run.pt", "--shards", shards, "--split", "dev"
    )
    assert "expected the folder of its run" in refusal("explain", tmp_path / "run.pt")
