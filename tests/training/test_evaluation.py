"""Runs on a data set, their own or another: the figures, the ensemble, and what is left in a folder."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from make_dataset import make_dataset
from PIL import Image
from torchmetrics.functional.classification import multiclass_calibration_error
from train_helpers import small_checkpoint, small_dataset, small_options
from verbs import refusal, run_verb

from ferdata.errors import OptionError
from ferdata.stream import ShardDataset
from ferdata.training import load_run, train
from ferdata.training.evaluation.ensemble import ClassMatch, Ensemble
from ferdata.training.evaluation.evaluate import evaluate
from ferdata.training.evaluation.options import EvaluateOptions
from ferdata.training.nets.networks import build_network
from ferdata.training.report.certainty import calibrate, intervals
from ferdata.training.run.result import TrainResult


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("data") / "s", test=17)


@pytest.fixture(scope="module")
def results(shards: str, tmp_path_factory: pytest.TempPathFactory) -> list[TrainResult]:
    out = tmp_path_factory.mktemp("runs")
    return [
        train(small_options(shards, out, epochs=1, name=f"r{seed}", seed=seed, valence_arousal=True))
        for seed in range(3)
    ]


def options_of(shards: str, results: list[TrainResult], **settings: object) -> EvaluateOptions:
    return EvaluateOptions(runs=[each.run for each in results], shards=shards, num_workers=0, **settings)


def test_a_run_on_its_own_data_has_the_figures_of_its_report(shards: str, results: list[TrainResult]) -> None:
    """Two ways to the same numbers, the second head's included, whatever the batch."""
    found = evaluate(options_of(shards, results[:1], batch_size=5))

    assert list(found.splits) == ["val", "test"] and not found.notes
    for split, each in found.splits.items():
        wanted = results[0].scores[split]
        assert each.scores.confusion == wanted.confusion and each.scores.accuracy == wanted.accuracy
        assert each.scores.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert each.scores.ccc == pytest.approx(wanted.ccc, rel=1e-4)
        low, high = each.intervals["accuracy"]
        assert low <= each.scores.accuracy <= high and low < high


def test_an_ensemble_is_the_mean_of_its_members_or_their_vote(shards: str, results: list[TrainResult]) -> None:
    """Beside it stands what each member comes to alone."""
    data = ShardDataset(shards, split="val")
    images = torch.stack([data[number].images for number in range(len(data))])
    labels = np.array([data[number].labels for number in range(len(data))])
    with torch.inference_mode():
        each = np.stack([load_run(one.run).answers(images)[0].numpy() for one in results])

    mean = evaluate(options_of(shards, results, splits=("val",))).splits["val"]
    vote = evaluate(options_of(shards, results, splits=("val",), vote=True)).splits["val"]

    np.testing.assert_allclose(mean.predictions.probabilities, each.mean(0), atol=1e-6)
    assert (mean.predictions.predicted == each.mean(0).argmax(1)).all()
    votes = np.stack([np.bincount(row, minlength=8) for row in each.argmax(2).T])
    chosen = votes[np.arange(len(labels)), vote.predictions.predicted]
    assert (chosen == votes.max(1)).all()
    assert list(mean.members.values()) == pytest.approx([(one.argmax(1) == labels).mean() for one in each])


def test_even_votes_go_to_the_likelier_class() -> None:
    """Of two classes with one vote each; a class without a vote never wins, however likely in the mean."""
    match = ClassMatch.of(("Neutral", "Happy", "Sad"), [("Neutral", "Happy", "Sad")] * 2, all_classes=False)

    class Fixed:
        def __init__(self, *row: float) -> None:
            self.row = torch.tensor([row])

        def answers(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.row,)

    networks = [Fixed(0.5, 0.05, 0.45), Fixed(0.0, 0.55, 0.45)]
    mean, chosen, _, _ = Ensemble(networks, match, vote=True)(
        [torch.zeros(1, 3, 8, 8, dtype=torch.uint8)] * len(networks)
    )

    assert mean[0].tolist() == pytest.approx([0.25, 0.3, 0.45]) and chosen.tolist() == [1]


def test_classes_meet_by_name(tmp_path: Path) -> None:
    """In another order, under other words, with some that only one side has: left out, said, and kept if asked for."""
    classes = ("Anger", "Contempt", "Happy", "Neutral")
    torch.manual_seed(0)
    network = build_network("basic1", size=(32, 32), num_classes=4)
    small_checkpoint(network, classes, size=32).write(tmp_path / "run.pt")
    make_dataset(tmp_path / "s", size=32, samples={"val": 24}, classes=("neutral", "Happiness", "Other", "angry"))
    asked = {"runs": [tmp_path / "run.pt"], "shards": tmp_path / "s", "num_workers": 0}

    found = evaluate(EvaluateOptions(**asked))
    kept = evaluate(EvaluateOptions(**asked, all_classes=True))

    assert found.classes == ("Neutral", "Happy", "Anger")
    predictions = found.splits["val"].predictions
    data = ShardDataset(tmp_path / "s", split="val")
    labels = [int(data[number].labels) for number in range(24)]
    assert predictions.actual.tolist() == [{0: 0, 1: 1, 2: -1, 3: 2}[label] for label in labels]
    assert found.splits["val"].scores.samples == sum(label != 2 for label in labels) < 24
    images = torch.stack([data[number].images for number in range(24)])
    with torch.inference_mode():
        raw = load_run(tmp_path / "run.pt").answers(images)[0].numpy()
    np.testing.assert_allclose(
        predictions.probabilities, raw[:, [3, 2, 0]] / raw[:, [3, 2, 0]].sum(1, keepdims=True), rtol=1e-5
    )
    assert kept.classes == ("Neutral", "Happy", "Anger", "Contempt")
    np.testing.assert_allclose(kept.splits["val"].predictions.probabilities, raw[:, [3, 2, 0, 1]], rtol=1e-5)
    assert any("No run knows Other" in note for note in found.notes)
    assert any("The data set has no Contempt" in note and "all_classes keeps" in note for note in found.notes)


def test_a_folder_holds_the_page_every_prediction_and_the_surest_mistakes(
    shards: str, results: list[TrainResult], tmp_path: Path
) -> None:
    """Written anew each time: pictures of an earlier evaluation would be believed to be of this one."""
    out = tmp_path / "out"
    run = results[0].run
    run_verb("evaluate", run, "--shards", shards, "--out", out, "--pictures", 9, "--workers", 0)
    said = run_verb(
        "evaluate", run, results[1].run, "--shards", shards, "--splits", "val", "--out", out, "--pictures", 3,
        "--workers", 0, "--json", tmp_path / "j.json",
    )  # fmt: skip

    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    figures = json.loads((tmp_path / "j.json").read_text())
    assert figures == json.loads((out / "evaluation.json").read_text())
    accuracy = sum(row["actual"] == row["predicted"] for row in rows) / len(rows)
    assert len(rows) == 21 and accuracy == figures["splits"]["val"]["scores"]["accuracy"]
    assert sum(float(rows[0][name]) for name in figures["classes"]) == pytest.approx(1, abs=1e-5)
    pictures = sorted(path.name for path in (out / "mistakes" / "val").iterdir())
    assert len(pictures) == 3
    key = pictures[0].rpartition("-is-")[2].split("-", 1)[1].removesuffix(".png")
    row = next(row for row in rows if key.endswith(row["key"]))
    with Image.open(out / "mistakes" / "val" / pictures[0]) as picture:
        assert picture.size == (28, 28)
    assert row["predicted"] in pictures[0] and row["actual"] != row["predicted"]
    page = (out / "evaluation.html").read_text()
    assert "2 runs, by the mean of their probabilities" in page and page.count("data:image/png") >= 6
    assert f"accuracy {accuracy:.1%}" in said and "alone" in said and "evaluation.html" in said


def test_what_cannot_be_measured_is_refused(shards: str, results: list[TrainResult], tmp_path: Path) -> None:
    """Before any image is read, with what there is instead."""
    run = results[0].run
    assert "some of train, val, test, which" in refusal("evaluate", run, "--shards", shards, "--splits", "dev")
    assert "vote: 1 run found, expected three or more" in refusal("evaluate", run, "--shards", shards, "--vote")
    assert "no best.pt or last.pt found" in refusal("evaluate", tmp_path, "--shards", shards)
    make_dataset(tmp_path / "s", size=32, samples={"val": 8}, classes=("cat", "dog"))
    with pytest.raises(OptionError, match=r"cat, dog found in the data set .* expected some in common"):
        evaluate(EvaluateOptions(runs=[run], shards=tmp_path / "s"))


def test_calibration_is_what_torchmetrics_makes_of_it() -> None:
    """Fifteen bins of equal width, weighted by their samples; a probability of 1 is in the last one."""
    generator = np.random.default_rng(3)
    confidence = np.append(generator.uniform(0.2, 1.0, 400).astype(np.float32), np.float32(1.0))
    is_right = generator.random(401) < confidence**2
    probabilities = torch.from_numpy(np.stack([confidence, 1 - confidence], 1))
    picked = np.where(confidence >= 0.5, confidence, 1 - confidence)
    labels = torch.from_numpy(np.where(is_right, confidence < 0.5, confidence >= 0.5).astype(np.int64))

    found = calibrate(picked, is_right)

    wanted = multiclass_calibration_error(probabilities, labels, num_classes=2, n_bins=15, norm="l1")
    assert found.error == pytest.approx(float(wanted), abs=1e-6) and sum(found.samples) == 401
    assert found.accuracy[0] is None


def test_intervals_have_the_width_that_the_number_of_samples_gives() -> None:
    """Of a share, near 1.96 standard errors either way; four times the samples halve it."""
    small, large = (intervals(np.array([[80, 20], [20, 80]]) * times)["accuracy"] for times in (1, 4))

    error = np.sqrt(0.8 * 0.2 / 200)
    assert small == pytest.approx((0.8 - 1.96 * error, 0.8 + 1.96 * error), abs=0.008)
    assert (large[1] - large[0]) / (small[1] - small[0]) == pytest.approx(0.5, abs=0.05)
